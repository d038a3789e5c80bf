"""Random numbers that are the same for every framework, whatever its memory layout."""

import hashlib

import numpy as np


def draw_normal(
    generator: np.random.Generator, shape: tuple[int, ...], dims: tuple[str, ...]
) -> np.ndarray:
    """Standard normal float32 numbers for one sample of `shape` with axes `dims`.

    Drawn channels last and moved into place, so that a channels-first model sees the same
    numbers at the same pixels.
    """
    if "channel" not in dims or dims[-1] == "channel":
        return generator.standard_normal(shape, dtype=np.float32)
    axis = dims.index("channel")
    last = (*shape[:axis], *shape[axis + 1 :], shape[axis])
    return np.moveaxis(generator.standard_normal(last, dtype=np.float32), -1, axis)


def seed_of(sample: np.ndarray, dims: tuple[str, ...]) -> int:
    """A number that depends on a sample's content only, not on its layout or its batch."""
    if "channel" in dims:
        sample = np.moveaxis(sample, dims.index("channel"), -1)
    raw = np.ascontiguousarray(sample.astype(np.float32)).tobytes()
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")
