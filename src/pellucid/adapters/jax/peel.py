"""Finding the softmax or sigmoid a model ends in, by one walk back from its output."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pellucid.adapters.jax.operations import PASS, function_name
from pellucid.adapters.jax.program import Mark, Program, Step, Value

_STABLE = PASS | {"max", "select_n", "is_finite"}
BESIDE = frozenset({"stop_gradient", "broadcast_in_dim", "reshape", "transpose", "max"})
"""What may stand between the maximum of the logits and its subtraction."""


@dataclass(frozen=True)
class Ending:
    """An output's last activation, the value it was applied to, and the steps that follow it."""

    activation: str
    logits: int
    chain: tuple[int, ...]


def ending_of(program: Program, output: Value) -> Ending | None:
    """Walk back from an output over steps that change no number."""
    chain: list[int] = []
    value = output
    while isinstance(value, int) and value in program.producer:
        position = program.producer[value]
        step = program.steps[position]
        found = _activation(program, step)
        if found is not None:
            return Ending(*found, tuple(reversed(chain)))
        if step.name not in PASS or len(step.outputs) != 1 or not step.inputs:
            return None
        chain.append(position)
        value = step.inputs[0]
    return None


def _activation(program: Program, step: Step) -> tuple[str, int] | None:
    if step.name == "logistic":
        return _named("sigmoid", step.inputs[0])
    if step.name in {"jit", "pjit"} and function_name(step.name, step.params) == "log_softmax":
        return _named("log_softmax", step.inputs[0])
    if step.name == "exp":
        inner = _producer(program, step.inputs[0])
        found = None if inner is None else _activation(program, inner)
        return ("softmax", found[1]) if found and found[0] == "log_softmax" else None
    if step.name == "div":
        return _softmax(program, step)
    if step.name == "sub":
        return _log_softmax(program, step)
    return None


def softmax_logits(program: Program, step: Step) -> int | None:
    """What a softmax or log-softmax that ends in this step was applied to."""
    found = _softmax(program, step) if step.name == "div" else _log_softmax(program, step)
    return None if found is None else found[1]


def log_sum_logits(program: Program, step: Step) -> tuple[str, int] | None:
    """The name "logsumexp" and x for log Σ e^x, "softmax" and x for the power of x less that."""
    if step.name == "add":
        return _log_sum(program, step)
    shifted = _producer(program, step.inputs[0]) if step.name == "exp" else None
    if shifted is None or shifted.name != "sub":
        return None
    logits, normal = shifted.inputs
    total = _back(program, normal)
    found = None if total is None or total.name != "add" else _log_sum(program, total)
    return _named("softmax", logits) if found and found[1] == logits else None


def _log_sum(program: Program, step: Step) -> tuple[str, int] | None:
    """The logarithm of Σ e^(x − m), plus m: the maximum of x along the same axes, cut off."""
    for first, shift in (step.inputs, step.inputs[::-1]):
        logarithm = _producer(program, first)
        if logarithm is None or logarithm.name != "log":
            continue
        summed = _back(program, logarithm.inputs[0], PASS | {"abs"})
        raised = _producer(program, summed.inputs[0]) if summed is not None else None
        if summed is None or summed.name != "reduce_sum" or raised is None or raised.name != "exp":
            continue
        logits = _unshifted(program, raised.inputs[0])
        highest = _back(program, shift, _STABLE)
        if logits == raised.inputs[0] or highest is None or highest.name != "reduce_max":
            continue
        if highest.inputs[0] == logits and highest.params["axes"] == summed.params["axes"]:
            return _named("logsumexp", logits)
    return None


def _named(name: str, value: Value) -> tuple[str, int] | None:
    return (name, value) if isinstance(value, int) else None


def _producer(program: Program, value: Value) -> Step | None:
    position = program.producer.get(value) if isinstance(value, int) else None
    return None if position is None else program.steps[position]


def _back(program: Program, value: Value, crossing: frozenset[str] = PASS) -> Step | None:
    """The step behind `value`, without the reshapes and casts in between."""
    step = _producer(program, value)
    while step is not None and step.name in crossing:
        numbered = [v for v in step.inputs if isinstance(v, int)]
        if step.name == "select_n":
            numbered = numbered[-1:]
        if not numbered:
            return None
        step = _producer(program, numbered[0])
    return step


def _softmax(program: Program, step: Step) -> tuple[str, int] | None:
    """e^z / Σ e^z."""
    power, total = step.inputs
    summed, raised = _back(program, total), _producer(program, power)
    if summed is None or raised is None or summed.name != "reduce_sum" or raised.name != "exp":
        return None
    if summed.inputs[0] != power:
        return None
    return _named("softmax", _unshifted(program, raised.inputs[0]))


def _log_softmax(program: Program, step: Step) -> tuple[str, int] | None:
    """Z − log Σ e^z."""
    shifted, normal = step.inputs
    logarithm = _back(program, normal)
    if logarithm is None or logarithm.name != "log":
        return None
    summed = _back(program, logarithm.inputs[0])
    if summed is None or summed.name != "reduce_sum":
        return None
    raised = _producer(program, summed.inputs[0])
    if raised is None or raised.name != "exp" or raised.inputs[0] != shifted:
        return None
    return _named("log_softmax", _unshifted(program, shifted))


def _unshifted(program: Program, value: Value) -> Value:
    """The logits themselves, where their maximum was subtracted from them."""
    step = _producer(program, value)
    if step is None or step.name != "sub":
        return value
    logits, shift = step.inputs
    highest = _back(program, shift, _STABLE)
    directly = highest is not None and highest.name == "reduce_max" and highest.inputs[0] == logits
    return logits if directly or is_shift_beside(program, logits, shift) else value


def is_shift_beside(program: Program, logits: Value, value: Value) -> bool:
    """Whether a value is the maximum of logits, without a derivative, taken in another layout.

    So Keras's attention has it: the logits are transposed once for their maximum and once more
    for the softmax, which does not depend on what is subtracted from all of a row.
    """
    detached, step = False, _producer(program, value)
    while step is not None and step.name in BESIDE and step.reads:
        detached = detached or step.name == "stop_gradient"
        step = _producer(program, step.reads[-1])
    return (
        detached
        and step is not None
        and step.name == "reduce_max"
        and step.inputs[0] != logits
        and _before_transposes(program, step.inputs[0]) == _before_transposes(program, logits)
    )


def is_of_maximum(program: Program, value: Value) -> bool:
    """Whether a value is a maximum, or what is put in its place where that is infinite."""
    step = _producer(program, value)
    while step is not None and step.name in BESIDE | _STABLE and step.reads:
        step = _producer(program, step.reads[-1])
    return step is not None and step.name == "reduce_max"


def _before_transposes(program: Program, value: Value) -> Value:
    step = _producer(program, value)
    while step is not None and step.name == "transpose":
        value = step.inputs[0]
        step = _producer(program, value)
    return value


def peeled(program: Program, endings: Sequence[Ending | None]) -> Program:
    """The program whose outputs are logits, what followed the activation applied to them.

    Layers that end in the activation, or come after it, then return logits as well.
    """
    numbers = itertools.count(max(program.avals) + 1)
    steps, avals, marks = list(program.steps), dict(program.avals), list(program.marks)
    outputs = list(program.outputs)
    for k, ending in enumerate(endings):
        if ending is None:
            continue
        value = ending.logits
        for position in ending.chain:
            step = program.steps[position]
            made = next(numbers)
            avals[made] = avals[step.outputs[0]]
            steps.append(replace(step, inputs=(value, *step.inputs[1:]), outputs=(made,)))
            marks = [_moved(mark, step, value, made, len(steps) - 1) for mark in marks]
            value = made
        outputs[k] = value
    marks.sort(key=lambda mark: mark.position)
    return replace(
        program, steps=tuple(steps), avals=avals, marks=tuple(marks), outputs=tuple(outputs)
    )


def _moved(mark: Mark, step: Step, source: int, value: int, position: int) -> Mark:
    if step.primitive is not None or mark.value != step.outputs[0]:
        return mark
    return replace(mark, source=source, value=value, position=position)
