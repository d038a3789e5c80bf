"""ReLUs under other names in a traced model: a maximum with zero, a choice by the sign.

Whatever it is written as, it makes max(x, 0) of any x: the steps between are performed on a few
numbers, and what they make is seen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from pellucid.adapters.relu_probes import LONGEST, PROBES

if TYPE_CHECKING:
    from pellucid.adapters.tensorflow.graph import Program, Step

_BENDS = frozenset(
    "Greater GreaterEqual Less LessEqual Abs Sign Sqrt Minimum Maximum ClipByValue".split()
)
_ENDS = frozenset(
    "Mul MulNoNan RealDiv Div Add AddV2 Sub Neg Minimum Maximum ClipByValue Select SelectV2"
    " LeakyRelu".split()
)
"""Operations that may be the last one of a ReLU that is written out."""

_FOLLOWED = (
    _BENDS | _ENDS
    | frozenset(
        "LogicalNot LogicalAnd LogicalOr Cast Identity StopGradient PreventGradient Snapshot"
        " EnsureShape Square Pow Exp Expm1 Elu".split()
    )
)  # fmt: skip
"""Operations that make each number of the numbers in the same place."""

_SAME = frozenset({"Identity", "BroadcastTo", "Reshape", "EnsureShape", "StopGradient", "Cast"})

Performer = Callable[["Step"], Callable[[Sequence[Any]], list[Any]]]


class Rectified(NamedTuple):
    """The form of a step that is a ReLU ("relu", "relu6"), and the value that it is of."""

    form: str
    of: int

    def perform(self, inputs: Sequence[Any]) -> list[Any]:
        """The step again, on another value."""
        return [tf.nn.relu(inputs[0]) if self.form == "relu" else tf.nn.relu6(inputs[0])]


def rectifiers(program: "Program", performer_of: Performer) -> Mapping[int, Rectified]:
    """The steps that are ReLUs and not called so, by their index."""
    found: dict[int, Rectified] = {}
    for step in program.steps:
        if step.type in _ENDS and step.outputs[0] in program.live:
            makers = [program.producer.get(v) for v in _around(program, step, found)]
            bends = step.type == "LeakyRelu" or any(m and m.type in _BENDS for m in makers)
            form = _of_some(program, step, found, performer_of) if bends else None
            if form is not None:
                found[step.index] = form
    return found


def _around(program: "Program", step: "Step", ends: Mapping[int, Any]) -> Iterator[int]:
    """The values that a step makes numbers of one by one, the nearest first, and its own."""
    todo, met = [(step.outputs[0], 0)], set[int]()
    while todo:
        value, depth = todo.pop(0)
        if value in met:
            continue
        met.add(value)
        yield value
        maker = program.producer.get(value)
        follows = maker is not None and maker.type in _FOLLOWED and maker.index not in ends
        if maker is not None and follows and depth < LONGEST:
            todo += [(v, depth + 1) for v in maker.inputs]


def _of_some(
    program: "Program", step: "Step", ends: Mapping[int, Any], performer_of: Performer
) -> Rectified | None:
    shape = program.tensors[step.outputs[0]].shape.as_list
    for value in list(_around(program, step, ends))[1:]:
        tensor = program.tensors[value]
        if value not in program.live or not tensor.dtype.is_floating:
            continue
        if tensor.shape.rank is None or tensor.shape.as_list() != shape():
            continue
        with tf.init_scope():
            probes = tf.constant(PROBES, tensor.dtype)
            y = _made(program, step.outputs[0], {value: probes}, ends, performer_of)
            form = None if y is None or y.dtype != tensor.dtype else _form(probes, y)
        if form is not None:
            return Rectified(form, value)
    return None


def _form(x: Any, y: Any) -> str | None:
    made = {"relu": tf.nn.relu(x), "relu6": tf.nn.relu6(x)}
    same = y.shape == x.shape
    return next((n for n, w in made.items() if same and bool(tf.reduce_all(w == y))), None)


def _made(
    program: "Program",
    value: int,
    known: dict[int, Any],
    ends: Mapping[int, Any],
    performer_of: Performer,
) -> Any:
    """What a value is for numbers in the place of another; None where something else has a say."""
    if value not in known:
        known[value] = None
        step = program.producer.get(value)
        constant = _number(program, value)
        if constant is not None:
            number = tf.constant(constant, program.tensors[value].dtype)
            known[value] = tf.fill((len(PROBES),), number)
        elif step is not None and step.type in _FOLLOWED and step.index not in ends:
            inputs = [_made(program, v, known, ends, performer_of) for v in step.inputs]
            if all(a is not None for a in inputs):
                known[value] = _performed(step, inputs, performer_of)
    return known[value]


def _performed(step: "Step", inputs: Sequence[Any], performer_of: Performer) -> Any:
    """What a step makes of a few numbers; None where it takes none of their shape or kind."""
    if step.type == "EnsureShape":  # the shape of the model's own numbers
        return inputs[0]
    try:
        return performer_of(step)(inputs)[0]
    except (tf.errors.InvalidArgumentError, ValueError):
        return None


def _number(program: "Program", value: int) -> Any:
    """The one number that all of a constant is; None where it is none."""
    if value in program.live:
        return None
    held = program.captures.get(value)
    if held is not None:
        return None if held.dtype == tf.resource else _only(tf.get_static_value(held))
    known = tf.get_static_value(program.tensors[value])
    if known is not None:
        return _only(known)
    step = program.producer.get(value)
    if step is None:
        return None
    if step.type in {"ZerosLike", "OnesLike"}:
        return 0 if step.type == "ZerosLike" else 1
    if step.type == "Fill":
        return _number(program, step.inputs[1])
    return _number(program, step.inputs[0]) if step.type in _SAME else None


def _only(known: Any) -> Any:
    array = np.asarray(known)
    flat = array.reshape(-1)
    same = flat.size and array.dtype.kind in "biuf" and bool(np.all(flat == flat[0]))
    return flat[0] if same else None
