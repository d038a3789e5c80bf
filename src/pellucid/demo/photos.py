"""The eight photos the demo explains: what each shows, and where it comes from."""

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from pellucid.demo.weights import ASSETS, IMAGE_SIZE, imagenet_class_names
from pellucid.inputs.image import fit_image, read_image

_CORAL = "github.com/google-coral/test_data"
_CORAL_LICENCE = "Apache-2.0"
_COCO = "COCO 2017, github.com/lightly-ai/coco128_yolo"
_COCO_LICENCE = "CC BY 2.0"


@dataclass(frozen=True)
class Photo:
    """One photo, what a person sees in it, and the ImageNet class that is."""

    name: str
    path: Path
    description: str
    class_index: int
    class_name: str
    attribution: str
    source: str
    licence: str


def demo_photos() -> tuple[Photo, ...]:
    """List the photos; on each, the demo network's first guess is `class_index`."""
    return (
        _coral("chickadee", 19, "a black-capped chickadee on a branch", "bird.bmp", "cropped"),
        _coco("school_bus", 779, "a yellow school bus", "48/124140140_1fcfaec779", farm=1),
        _coral(
            "macaw", 88, "a red-and-green macaw on a stump", "parrot.jpg", "cropped and resized"
        ),
        _coco("brown_bear", 294, "a brown bear on grass", "7434/9138147604_c6225224b8", farm=8),
        _coral("dragonfly", 319, "a blue dragonfly on a dry leaf", "dragonfly.bmp"),
        _coral(
            "samoyed", 258, "the head of a white Samoyed", "dog_segmentation_256.bmp", "cropped"
        ),
        _coral("hot_dog", 934, "a hot dog with mustard, relish and onions", "hot_dog.jpg"),
        _coco("pizza", 963, "a pizza with basil on a plate", "5098/5569738713_e926850eb0", farm=6),
    )


def load_photo(path: str | PathLike[str], size: int = IMAGE_SIZE) -> np.ndarray:
    """Read a photo as uint8 `(size, size, 3)`: its central square, resized."""
    return fit_image(read_image(path), size, size)


def _coral(
    name: str, class_index: int, description: str, original: str, change: str = "resized"
) -> Photo:
    attribution = f"{original} of {_CORAL} ({_CORAL_LICENCE}), {change}"
    return _photo(
        "photos-apache", name, class_index, description, attribution, _CORAL, _CORAL_LICENCE
    )


def _coco(name: str, class_index: int, description: str, flickr: str, *, farm: int) -> Photo:
    address = f"http://farm{farm}.staticflickr.com/{flickr}_z.jpg"
    attribution = f"{address} ({_COCO_LICENCE}), resized"
    return _photo("photos-ccby", name, class_index, description, attribution, _COCO, _COCO_LICENCE)


def _photo(
    folder: str,
    name: str,
    class_index: int,
    description: str,
    attribution: str,
    source: str,
    licence: str,
) -> Photo:
    return Photo(
        name=name,
        path=Path(str(ASSETS / folder / f"{name}.jpg")),
        description=description,
        class_index=class_index,
        class_name=imagenet_class_names()[class_index],
        attribution=attribution,
        source=source,
        licence=licence,
    )
