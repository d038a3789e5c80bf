"""Inputs of a JAX model: into arrays of its float type, and what it is seen to expect."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pellucid.adapters.protocol import InputSpec
from pellucid.errors import InputError


def as_array(a: Any, dtype: Any, *, wants_floats: bool) -> jax.Array:
    """One input, its numbers in the weights' float type; integers for lookups stay."""
    if isinstance(a, jax.Array):
        array = a
    else:
        try:
            given = np.array(a)  # a copy: what the user does to it later is not seen
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Expected arrays of numbers for a JAX model, got {type(a).__name__}: {error}"
            ) from error
        if given.dtype.kind not in "fiubc" and given.dtype.name != "bfloat16":
            raise InputError(
                f"Expected arrays of numbers for a JAX model, got {type(a).__name__} of"
                f" {given.dtype}."
            )
        array = jnp.asarray(given)
    if dtype is not None and (wants_floats or jnp.issubdtype(array.dtype, jnp.floating)):
        return array if array.dtype == dtype else array.astype(dtype)
    return array


def float_type(arrays: tuple[Any, ...]) -> Any:
    """The float type of the first weights that have one; None where there are none."""
    return next((a.dtype for a in arrays if jnp.issubdtype(a.dtype, jnp.floating)), None)


def channel_axis_of(modules: tuple[tuple[str, Any], ...], leaves: tuple[Any, ...]) -> int:
    """1 where the first Equinox convolution, whose channels come first, fits an input; else -1.

    An input whose last axis alone has that many channels is turned round by the model itself.
    """
    for _, module in modules:
        channels = getattr(module, "in_channels", None)
        space = getattr(module, "num_spatial_dims", None)
        if not type(module).__module__.startswith("equinox") or channels is None or space is None:
            continue
        shapes = [leaf.shape for leaf in leaves if leaf.ndim == space + 2]
        return 1 if any(shape[1] == channels for shape in shapes) else -1
    return -1


def guess_inputs(modules: tuple[tuple[str, Any], ...]) -> tuple[InputSpec, ...] | None:
    """The shape that the first layer of an NNX module takes, where its kind says so.

    Modules come by name, not in the order in which they are called: where one looks words up,
    inputs may be whole numbers.
    """
    if any(type(module).__name__ == "Embed" for _, module in modules):
        return None
    for _, module in modules:
        size = getattr(module, "in_features", None)
        kind = type(module).__name__
        if not type(module).__module__.startswith("flax.nnx"):
            continue
        if kind == "Linear" and isinstance(size, int):
            return (InputSpec("input", (size,), None, certain=False),)
        if kind == "Conv" and isinstance(size, int):
            space = len(module.kernel_size)
            return (InputSpec("input", (*(None,) * space, size), None, certain=False),)
        if kind not in {"Dropout", "Sequential", "List", "Dict"}:
            return None
    return None
