"""Random numbers that are the same for every framework, whatever its memory layout."""

import hashlib
from collections.abc import Callable

import numpy as np


def draw_normal(
    generator: np.random.Generator, shape: tuple[int, ...], dims: tuple[str, ...]
) -> np.ndarray:
    """Standard normal float32 numbers for one sample of `shape` with axes `dims`.

    Drawn channels last and moved into place, so that a channels-first model sees the same
    numbers at the same pixels.
    """
    return _channels_last(lambda s: generator.standard_normal(s, dtype=np.float32), shape, dims)


def draw_uniform(
    generator: np.random.Generator, low: float, high: float, shape: tuple[int, ...],
    dims: tuple[str, ...],
) -> np.ndarray:  # fmt: skip
    """Numbers between `low` and `high` for one sample of `shape`, drawn as `draw_normal` does."""
    return _channels_last(lambda s: generator.uniform(low, high, s), shape, dims)


def _channels_last(
    draw: Callable[[tuple[int, ...]], np.ndarray], shape: tuple[int, ...], dims: tuple[str, ...]
) -> np.ndarray:
    if "channel" not in dims or dims[-1] == "channel":
        return draw(shape)
    axis = dims.index("channel")
    return np.moveaxis(draw((*shape[:axis], *shape[axis + 1 :], shape[axis])), -1, axis)


def seed_of(sample: np.ndarray, dims: tuple[str, ...]) -> int:
    """A number that depends on a sample's content only, not on its layout or its batch."""
    if "channel" in dims:
        sample = np.moveaxis(sample, dims.index("channel"), -1)
    raw = np.ascontiguousarray(sample.astype(np.float32)).tobytes()
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
