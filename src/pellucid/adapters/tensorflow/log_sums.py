"""ln Σ exp(x) in a traced model, and a softmax by it, which TensorFlow and Keras write out.

They subtract a maximum without a derivative, of which the whole is independent and its parts are
not. So rules see one operation of x.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import tensorflow as tf

from pellucid.adapters.tensorflow.graph import Program, Step


class LogSum(NamedTuple):
    """The form of a step ("logsumexp", "softmax"), the value that it is of, and along what."""

    form: str
    of: int
    axes: tuple[int, ...]
    keeps: bool

    def perform(self, inputs: Sequence[Any]) -> list[Any]:
        """The step again, on another value."""
        (x,) = inputs
        total = tf.reduce_logsumexp(x, self.axes, keepdims=self.keeps or self.form == "softmax")
        return [total if self.form == "logsumexp" else tf.exp(x - total)]


def with_log_sums(program: Program) -> Program:
    """The program for rules, in which each of these is one step."""
    found: dict[int, LogSum] = {}
    for step in program.steps:
        if step.type in {"Add", "AddV2"}:
            made = _log_sum(program, step)
        else:
            made = _share(program, step, found) if step.type == "Exp" else None
        if made is not None:
            found[step.index] = made
    if not found:
        return program
    steps = list(program.steps)
    for index, one in found.items():
        steps[index] = replace(steps[index], inputs=(one.of,), perform=one.perform)
    return replace(program, steps=steps, log_sums=found)


def _maker(program: Program, value: int, kind: str) -> Step | None:
    step = program.producer.get(value)
    return step if step is not None and step.type == kind else None


def _log_sum(program: Program, step: Step) -> LogSum | None:
    """The logarithm of Σ exp(x − m), plus m."""
    for first, shift in (step.inputs, step.inputs[::-1]):
        logarithm = _maker(program, first, "Log")
        summed = None if logarithm is None else _maker(program, logarithm.inputs[0], "Sum")
        raised = None if summed is None else _maker(program, summed.inputs[0], "Exp")
        shifted = None if raised is None else _maker(program, raised.inputs[0], "Sub")
        if summed is None or shifted is None:
            continue
        x, subtracted = shifted.inputs
        stopped = [_stopped(program, value) for value in (shift, subtracted)]
        highest = None if stopped[0] is None else program.maximum_behind(stopped[0].inputs[0])
        axes = program.axes(summed.inputs[1])
        if highest is None or axes is None or stopped[0] is not stopped[1]:
            continue
        if highest.inputs[0] == x and program.axes(highest.inputs[1]) == axes:
            keeps = bool(summed.operation.get_attr("keep_dims"))
            return LogSum("logsumexp", x, axes, keeps)
    return None


def _share(program: Program, step: Step, sums: dict[int, LogSum]) -> LogSum | None:
    """exp(x − ln Σ exp(x))."""
    shifted = _maker(program, step.inputs[0], "Sub")
    if shifted is None:
        return None
    x, total = shifted.inputs
    maker = program.producer.get(total)
    known = None if maker is None else sums.get(maker.index)
    if known is None or known.of != x or known.form != "logsumexp" or not known.keeps:
        return None
    return known._replace(form="softmax")


def _stopped(program: Program, value: int) -> Step | None:
    step = program.producer.get(value)
    while step is not None and step.type in {"Reshape", "Identity", "Squeeze"}:
        step = program.producer.get(step.inputs[0])
    return step if step is not None and step.type == "StopGradient" else None
