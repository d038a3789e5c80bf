"""Whether what a traced model computes above a layer is an affine function of the layer's value."""

from collections.abc import Iterable, Sequence

import jax.numpy as jnp

from pellucid.adapters.jax.program import Program, Step, Value

SUMS: frozenset[str] = frozenset(
    (
        "mark reshape transpose squeeze expand_dims broadcast_in_dim concatenate pad slice rev copy"
        " convert_element_type reduce_sum reduce_window_sum add sub add_any neg split"
    ).split()
)
"""Affine in all of their arguments together."""

PRODUCTS: dict[str, tuple[int, ...]] = {
    "mul": (0, 1),
    "div": (0,),
    "dot_general": (0, 1),
    "conv_general_dilated": (0,),
}
"""Affine in one of the arguments at these places, where no other depends on the layer."""


def is_affine(program: Program, steps: Sequence[Step], start: int, wanted: Iterable[Value]) -> bool:
    """Whether the values `wanted` that `steps` make are known to be affine in the value `start`."""
    affine, bent = {start}, set[int]()
    for step in steps:
        if any(v in bent for v in step.reads):
            bent.update(step.outputs)
        elif any(v in affine for v in step.reads):
            (affine if _keeps(program, step, affine) else bent).update(step.outputs)
    return all(isinstance(v, int) and v in affine for v in wanted)


def _keeps(program: Program, step: Step, affine: set[int]) -> bool:
    """Whether a step's results are affine in the layer's value if those of its inputs are."""
    if not all(jnp.issubdtype(program.avals[v].dtype, jnp.floating) for v in step.outputs):
        return False
    if step.name in SUMS:
        return True
    at = [i for i, v in enumerate(step.inputs) if isinstance(v, int) and v in affine]
    return len(at) == 1 and at[0] in PRODUCTS.get(step.name, ())
