"""What several rules ask of an operation: itself at other values, and an attention's settings."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pellucid.adapters.protocol import Operation
from pellucid.errors import CoverageError
from pellucid.types import Array


def at(op: Operation, places: Sequence[int]) -> Callable[..., Any]:
    """The operation as a function of its inputs at some places."""

    def function(*arrays: Array) -> Any:
        inputs = list(op.inputs)
        for place, array in zip(places, arrays, strict=True):
            inputs[place] = array
        return op(inputs=tuple(inputs))

    return function


class Settings(NamedTuple):
    """How a scaled dot-product attention turns its scores into weights."""

    scale: float
    mask: Array | None
    causal: bool

    def masked(self, xp: Any, scores: Array) -> Array:
        """Scores `(..., queries, keys)` without those that the mask hides."""
        mask = self.mask
        if self.causal:
            mask = xp.tril(xp.ones(tuple(scores.shape[-2:]), dtype=xp.bool))
        if mask is None:
            return scores
        if mask.dtype == xp.bool:
            return xp.where(mask, scores, xp.full_like(scores, -1e30))
        return scores + mask


def settings_of(op: Operation, method: str) -> Settings:
    """The settings of an attention.

    Raises `CoverageError` where its heads are shared by groups, or it has no query, key and value.
    """
    given = op.arguments
    if len(op.inputs) < 3 or given.get("enable_gqa"):
        raise CoverageError(
            f"{method} knows attention with a query, key and value of equal heads only.\n"
            "  integrated_gradients needs no rules."
        )
    mask = given.get("attn_mask")
    if mask is None and len(op.inputs) > 3:
        mask = op.inputs[3]
    scale = given.get("scale") or int(op.inputs[0].shape[-1]) ** -0.5
    return Settings(scale, mask, bool(given.get("is_causal")))
