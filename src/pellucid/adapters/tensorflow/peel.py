"""Finding the softmax or sigmoid a model ends in, by one walk back from its output."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from pellucid.adapters import final
from pellucid.adapters.tensorflow.operations import CALLS, FINAL, PASS
from pellucid.adapters.tensorflow.raw import performer


@dataclass(frozen=True)
class Ending:
    """What an output ends in. `inside` is set where it is in the body of a called function."""

    activation: str | None = None
    logits: tf.Tensor | None = None
    inside: bool = False
    certain: bool = True
    """False where only numbers show that the activation of the logits is the output: a softmax
    whose axes are moved or merged afterwards."""
    peeled: dict[Any, tf.Tensor] = field(default_factory=dict)
    """Tensors between the activation and the output -> the same with the logits in their place."""


def ending_of(output: tf.Tensor) -> Ending:
    """Walk back from a symbolic output, in the graph that is being traced.

    What lies between the activation and the output (casts, reshapes, transposes) is applied to
    the logits as well, so they have the output's shape and axes.
    """
    chain: list[tf.Operation] = []
    tensor = output
    while True:
        operation = tensor.op
        if operation.type in FINAL:
            logits, peeled = operation.inputs[0], {}
            for step in reversed(chain):
                logits = performer(step)([logits, *step.inputs[1:]])[0]
                peeled[step.outputs[0].ref()] = logits
            kind = FINAL[operation.type]
            return Ending(kind, logits, certain=_is_certain(kind, operation, chain), peeled=peeled)
        if operation.type in CALLS:
            return Ending(inside=True)
        if operation.type not in PASS or tensor is not operation.outputs[0]:
            return Ending()
        chain.append(operation)
        tensor = operation.inputs[0]


def _is_certain(activation: str, operation: tf.Operation, chain: Sequence[tf.Operation]) -> bool:
    """Whether what follows the activation leaves it the activation of the logits."""
    types = [t.dtype for step in (operation, *chain) for t in step.outputs[:1]]
    if not all(dtype.is_floating for dtype in types):
        return False
    if activation == "sigmoid":
        return True
    rank = operation.inputs[0].shape.rank
    return rank is not None and rank > 1 and all(step.type in IN_PLACE for step in chain)


IN_PLACE = frozenset(
    {
        "Identity",
        "IdentityN",
        "StopGradient",
        "PreventGradient",
        "Snapshot",
        "EnsureShape",
        "Cast",
        "CheckNumerics",
    }
)
"""Operations that leave every number where it is."""


def confirmed(activation: str, logits: Any, output: Any) -> bool:
    """Whether applying the activation to the logits gives the output, on a batch."""
    half = any(t.dtype in (tf.float16, tf.bfloat16) for t in (logits, output))
    z, y = np.asarray(logits, np.float64), np.asarray(output, np.float64)
    return final.confirmed(activation, z, y, half=half)
