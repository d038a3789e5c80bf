"""Names for the axes of an input, read from its rank and the model's channel axis."""

from collections.abc import Sequence

import numpy as np

_SPATIAL = {3: ("step",), 4: ("height", "width"), 5: ("depth", "height", "width")}

SPACE = frozenset({"step", "depth", "height", "width"})

KINDS = ("image", "series", "volume", "table", "array")
"""What `modality` calls inputs."""


def input_dims(rank: int, channel_axis: int) -> tuple[str, ...]:
    """`("sample", "height", "width", "channel")` and its like for an input of this rank.

    >>> input_dims(4, channel_axis=1)
    ('sample', 'channel', 'height', 'width')
    >>> input_dims(2, channel_axis=-1)
    ('sample', 'feature')
    """
    if rank == 1:
        return ("sample",)
    if rank == 2:
        return ("sample", "feature")
    if rank not in _SPATIAL:
        return ("sample", *(f"axis_{i}" for i in range(1, rank)))
    space = _SPATIAL[rank]
    return ("sample", "channel", *space) if channel_axis == 1 else ("sample", *space, "channel")


def space_axes(dims: tuple[str, ...]) -> tuple[int, ...]:
    """The positions of the spatial (or time) axes."""
    return tuple(i for i, name in enumerate(dims) if name in SPACE)


def modality(dims: tuple[str, ...]) -> str:
    """The kind of input: "image", "series", "volume", "table" or "array"."""
    space = tuple(name for name in dims if name in SPACE)
    known = {
        ("height", "width"): "image",
        ("step",): "series",
        ("depth", "height", "width"): "volume",
    }
    if space in known:
        return known[space]
    return "table" if "feature" in dims else "array"


def are_columns(names: Sequence[str], array: np.ndarray) -> bool:
    """Whether there is a name for each column of a table."""
    return array.ndim == 2 and len(names) == array.shape[1]
