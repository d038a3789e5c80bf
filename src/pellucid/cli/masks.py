"""Masks of the command line: where the object is in each picture."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pellucid.errors import InputError, LoadError

_LIGHT = 128


def read_masks(path: Path, pictures: Sequence[Path], height: int, width: int) -> np.ndarray:
    """`(n, height, width)` booleans: a .npy of them, or a folder with a picture for each picture.

    A picture of a folder has the name of what it is the mask of, whatever its ending, and is cut
    and resized as that is; the object is what is light. Raises `LoadError` for what is missing or
    cannot be read, `InputError` for another shape.
    """
    if path.is_dir():
        return np.stack([_of_picture(path, picture, height, width) for picture in pictures])
    if not path.is_file():
        raise LoadError(f"--masks: no file or folder {path}.")
    try:
        masks = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise LoadError(f"--masks {path} is no array of NumPy: {error}.") from error
    wanted = (len(pictures), height, width)
    if not isinstance(masks, np.ndarray) or masks.shape != wanted:
        found = masks.shape if isinstance(masks, np.ndarray) else "several arrays"
        raise InputError(f"--masks {path}: expected an array of shape {wanted}, got {found}.")
    return masks


def _of_picture(folder: Path, picture: Path, height: int, width: int) -> np.ndarray:
    from pellucid.inputs.image import fit_image, read_image

    found = sorted(p for p in folder.iterdir() if p.stem == picture.stem and p.is_file())
    if len(found) != 1:
        word = "no mask" if not found else f"{len(found)} masks"
        raise LoadError(f"--masks: {folder} has {word} of the name {picture.stem}.")
    return fit_image(read_image(found[0]), height, width).mean(axis=2) >= _LIGHT
