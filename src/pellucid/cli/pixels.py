"""From picture files to one batch of pixels, and from pixels to what the model takes."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.cli.parameters import PREPROCESS, Preprocess
from pellucid.errors import InputError, PellucidError

if TYPE_CHECKING:
    from pellucid.model import Model

_LUMA = np.array((0.299, 0.587, 0.114), np.float32)


@dataclass(frozen=True)
class Pictures:
    """The pictures that could be read, uint8 `(n, height, width, 3)`, and why others could not."""

    paths: tuple[Path, ...]
    pixels: np.ndarray
    unreadable: dict[str, str]


def input_layout(model: "Model", size: tuple[int, int] | None) -> tuple[int, int, int]:
    """Height, width and channels of the pictures the model takes; `size` overrides the first two.

    Raises `InputError` where neither the model nor the user says the size, or where the model
    takes something other than one picture.
    """
    specs = model.inputs
    shape = specs[0].shape if specs is not None and len(specs) == 1 else None
    if specs is not None and len(specs) > 1:
        names = ", ".join(spec.name for spec in specs)
        raise InputError(
            f"the model takes {len(specs)} inputs ({names}); the command line gives it one "
            "picture.\n  Use pellucid.explain in Python for it."
        )
    if shape is not None and len(shape) != 3:
        raise InputError(f"the model takes {len(shape)} axes per sample, {shape}, not a picture.")
    height = width = None
    channels = 3
    if shape is not None:
        *sides, depth = (*shape[1:], shape[0]) if model.adapter.channel_axis == 1 else shape
        height, width = sides
        channels = depth or 3
    if size is not None:
        height, width = size
    if height is None or width is None:
        raise InputError(
            "the model does not say what size its pictures have: add --size HEIGHTxWIDTH, "
            "such as --size 224x224."
        )
    if channels not in (1, 3):
        raise InputError(f"the model takes {channels} channels; picture files have 3 (or 1).")
    return height, width, channels


def find_unreadable(paths: Sequence[Path]) -> dict[str, str]:
    """Which pictures cannot be read, and why; needs no model."""
    from pellucid.inputs.image import read_image

    bad: dict[str, str] = {}
    for path in paths:
        try:
            read_image(path)
        except (PellucidError, OSError) as error:
            bad[str(path)] = str(error)
    return bad


def read_pictures(
    paths: Sequence[Path], height: int, width: int, unreadable: Mapping[str, str] | None = None
) -> Pictures:
    """Every readable picture, fitted to one size; those that are not are named, not fatal.

    `unreadable` are others that were tried before.
    """
    from pellucid.inputs.image import fit_image, read_image

    read: list[np.ndarray] = []
    good: list[Path] = []
    bad = dict(unreadable or {})
    for path in paths:
        try:
            read.append(fit_image(read_image(path), height, width))
            good.append(path)
        except (PellucidError, OSError) as error:
            bad[str(path)] = str(error)
    pixels = np.stack(read) if read else np.zeros((0, height, width, 3), np.uint8)
    return Pictures(tuple(good), pixels, bad)


def with_preprocess(
    model: "Model", preprocess: Preprocess | None, name: str | None, channels: int
) -> "Model":
    """The model taking uint8 pictures `(n, height, width, 3)`, so that plots show them as they are.

    Ways known by name give the model its own channels and layout; a function of the user's
    returns exactly what the model takes.
    """
    if preprocess is None:
        if model.preprocess is not None:
            return model
        preprocess, name = PREPROCESS["none"], "none"
    if name in PREPROCESS:
        preprocess = _in_layout(preprocess, channels, model.adapter.channel_axis)
    return dataclasses.replace(model, preprocess=preprocess)


def _in_layout(preprocess: Preprocess, channels: int, channel_axis: int) -> Preprocess:
    def prepare(pixels: Any) -> np.ndarray:
        values = preprocess(np.asarray(pixels))
        if channels == 1:
            values = values @ _LUMA[:, None]
        return np.ascontiguousarray(np.moveaxis(values, -1, 1) if channel_axis == 1 else values)

    return prepare
