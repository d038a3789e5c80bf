"""What an interceptor gets: one operation of a traced model, or the exit of a layer."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import tensorflow as tf

from pellucid.adapters.facts import INSIDE
from pellucid.adapters.protocol import Intercept, Operation
from pellucid.adapters.sliding import Sliding
from pellucid.adapters.tensorflow.graph import Program, Step
from pellucid.adapters.tensorflow.interpret import (
    OnStep,
    Overrides,
    interpret,
    performer_of,
    plan,
    with_relus,
)
from pellucid.adapters.tensorflow.log_sums import with_log_sums
from pellucid.adapters.tensorflow.loops import Loop
from pellucid.adapters.tensorflow.operations import LOOPS, form_of
from pellucid.adapters.tensorflow.raw import Perform, arguments
from pellucid.adapters.tensorflow.sliding import sliding_of
from pellucid.errors import CapabilityError, InputError


class LayerExit(Operation):
    """A layer call that has just returned `value`."""

    def __init__(self, path: str, call: int, name: str, value: Any, index: int = -1) -> None:
        self.kind, self.name, self.path, self.call, self.index = "layer", name, path, call, index
        self.live, self.inputs = (True,), (value,)
        self.weights, self.arguments = {}, {}

    def __call__(
        self,
        *,
        inputs: tuple[Any, ...] | None = None,
        weights: Mapping[str, Any] | None = None,
        bias: bool = True,
    ) -> Any:
        if inputs is not None or weights is not None or not bias:
            raise CapabilityError(
                "At the exit of a layer its value is given; only operations can be done again."
            )
        return self.inputs[0]


def like(changed: Any, value: Any) -> Any:
    """What an interceptor returned, as a tensor that can stand in for the layer's."""
    tensor = changed if tf.is_tensor(changed) else tf.convert_to_tensor(changed)
    return tensor if tensor.dtype == value.dtype else tf.cast(tensor, value.dtype)


class TracedOperation(Operation):
    """One step of a program, ready to be performed.

    Where more than the first output is in use (a split), it returns the list of all of them.
    """

    def __init__(
        self,
        program: Program,
        step: Step,
        inputs: Sequence[Any],
        perform: Perform,
        names: Mapping[int, str],
        marks: frozenset[int],
    ) -> None:
        self.kind, self.name = program.kind(step), step.type
        self.path, self.call, self.index = step.path, step.call, step.index
        self.live, self.inputs = program.liveness(step), tuple(inputs)
        self.form = program.rectified.get(step.index) or form_of(step.type, self.kind, self.live)
        if self.kind == "detached" and program.maximum_behind(step.inputs[0]):
            self.form = "detached_maximum"
        self.sources = tuple(maker_of(program, v, marks) for v in step.inputs)
        self._perform, self._single = perform, single_output(program, step)
        self._places: dict[str, int] = {}
        for place, value in enumerate(step.inputs):
            handle = program.weight_of.get(value)
            handle = program.handle_of.get(value) if handle is None else handle
            name = names.get(id(handle)) if handle is not None else None
            if name is not None:
                self._places[name] = place
        self.weights = {name: self.inputs[place] for name, place in self._places.items()}
        self.arguments = arguments(step.operation)
        if self.form in ("softmax", "log_softmax"):
            self.arguments = {**self.arguments, "axis": -1}
        log_sum = program.log_sums.get(step.index)
        if log_sum is not None:
            axes = log_sum.axes
            self.form, self.name = (
                log_sum.form,
                {"softmax": "Softmax"}.get(log_sum.form, "LogSumExp"),
            )
            self.arguments = {"axis": axes[0] if len(axes) == 1 else axes}

    def __call__(
        self,
        *,
        inputs: tuple[Any, ...] | None = None,
        weights: Mapping[str, Any] | None = None,
        bias: bool = True,
    ) -> Any:
        given = list(self.inputs if inputs is None else inputs)
        if len(given) != len(self.inputs):
            raise InputError(
                f"{self.name} has {len(self.inputs)} inputs, but {len(given)} were given."
            )
        for name, weight in (weights or {}).items():
            if name not in self._places:
                raise InputError(f"{self.name} uses no weight {name!r}, only {list(self._places)}.")
            given[self._places[name]] = weight
        if not bias and self.kind == "bias":
            given = [t if a else tf.zeros_like(t) for t, a in zip(given, self.live, strict=True)]
        outputs = self._perform(given)
        return outputs[0] if self._single else outputs

    def sliding(self) -> Sliding | None:
        return sliding_of(self.name, self.arguments, self.inputs)


def single_output(program: Program, step: Step) -> bool:
    """Whether nothing reads more than the first output."""
    return not any(v in program.used for v in step.outputs[1:])


def maker_of(program: Program, value: int, marks: frozenset[int]) -> int:
    """The index of the step that made a value, behind the identities in `marks`; -1 for none."""
    step = program.producer.get(value)
    while step is not None and step.outputs[0] in marks:
        step = program.producer.get(step.inputs[0])
    return -1 if step is None else step.index


def intercepting(
    program: Program,
    intercept: Intercept,
    kinds: frozenset[str] | None,
    exits: Mapping[int, Callable[[Any], LayerExit]],
    names: Mapping[int, str],
    marks: frozenset[int],
    *,
    overrides: Overrides | None = None,
    around: str = "",
    first: int = 0,
) -> Callable[[Step, Sequence[Any], Perform], list[Any]]:
    """An `on_step` that hands live operations, and the exits of chosen layers, to `intercept`.

    Inside a loop `around` is the layer that the loop is in, and operations count from `first`.
    """
    opens = kinds is not None and bool(kinds & INSIDE)

    def on_step(step: Step, inputs: Sequence[Any], perform: Perform) -> list[Any]:
        number = step.outputs[0]
        if number in marks:  # an identity pellucid put there
            (value,) = perform(inputs)
            wanted = number in exits and (kinds is None or "layer" in kinds)
            return [intercept(exits[number](value)) if wanted else value]
        if not any(v in program.live for v in step.outputs):
            return perform(inputs)
        loop = performer_of(step) if opens and step.type in LOOPS else None
        if isinstance(loop, Loop):
            inside = partial(
                intercepting, intercept=intercept, kinds=kinds, exits={}, names=names,
                marks=frozenset(), overrides=overrides, around=step.path or around,
            )  # fmt: skip
            return _unrolled(loop, program, step, inputs, inside, overrides, first)
        if kinds is not None and program.kind(step) not in kinds:
            return perform(inputs)
        op = TracedOperation(program, step, inputs, perform, names, marks)
        op.path, op.index = op.path or around, op.index + first
        if first:  # what a body is given comes from somewhere outside of it: -2, not the inputs
            op.sources = tuple(-2 if s < 0 else s + first for s in op.sources)
        result = intercept(op)
        if single_output(program, step):
            return [result, *[None] * (len(step.outputs) - 1)]
        if tf.is_tensor(result) or len(result) != len(step.outputs):
            raise InputError(
                f"{step.type} has {len(step.outputs)} outputs in use; return a list of as many."
            )
        return list(result)

    return on_step


_TURN, _LOOP = 10**5, 10**9
"""How far apart the numbers of operations are from turn to turn, and from loop to loop."""


def _unrolled(
    loop: Loop,
    program: Program,
    step: Step,
    inputs: Sequence[Any],
    inside: Callable[..., OnStep],
    overrides: Overrides | None,
    first: int,
) -> list[Any]:
    """A loop turn by turn, the operations of every turn shown."""
    held = {place: program.handle_of.get(value) for place, value in enumerate(step.inputs)}
    handles = {place: handle for place, handle in held.items() if handle is not None}
    body = loop.body_for_rules(
        program.liveness(step), handles, lambda turn: with_log_sums(with_relus(turn))
    )
    todo = plan(body, body.outputs)
    values, turn = list(inputs), 0
    while loop.goes_on(values):
        number = first + (step.index + 1) * _LOOP + turn * _TURN
        values = interpret(
            body, todo, loop.given(values),
            overrides=overrides, on_step=inside(body, first=number),
        )  # fmt: skip
        turn += 1
    return values
