"""An operation with weights, to be done again with others."""

from pellucid.adapters.protocol import Operation
from pellucid.errors import CoverageError
from pellucid.types import Array

_EPSILON = 'Only the rule epsilon fits it; name it in the composite: {{"{}": "epsilon"}}.'


class Weighted:
    """An operation with weights as a function of its input and its weights."""

    def __init__(self, op: Operation, instead: str = "") -> None:
        self._op = op
        self._place = op.live.index(True)
        self.x: Array = op.inputs[self._place]
        others = [
            i
            for i, (a, live) in enumerate(zip(op.inputs, op.live, strict=True))
            if not live and "float" in str(a.dtype)
        ]
        self._named = op.weights.get("weight") is not None and not others
        if not self._named and len(others) != 1:
            raise CoverageError(
                f"Found {len(others)} arrays of weights in {op.name} at {op.path or 'the model'},"
                f" expected one.\n  {instead or _EPSILON.format(op.path or '*')}"
            )
        self._other = -1 if self._named else others[0]
        self.weight: Array = op.weights["weight"] if self._named else op.inputs[self._other]

    def __call__(self, x: Array, weight: Array) -> Array:
        inputs = list(self._op.inputs)
        inputs[self._place] = x
        if self._named:
            return self._op(inputs=tuple(inputs), weights={"weight": weight}, bias=False)
        inputs[self._other] = weight
        return self._op(inputs=tuple(inputs), bias=False)
