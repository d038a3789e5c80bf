"""Performing a program step by step: eagerly, or inside a new trace.

Eagerly every operation is a real one in Python, so a callback may look at it, replace it, and a
tape outside sees all of it. Inside a trace the same code builds compiled parts of a model.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from pellucid.adapters.tensorflow.gradients import CustomGradient, perform_with_gradient
from pellucid.adapters.tensorflow.graph import Program, Step, Where, read_graph
from pellucid.adapters.tensorflow.loops import Body, Loop
from pellucid.adapters.tensorflow.operations import BRANCHES, LOOPS, READS
from pellucid.adapters.tensorflow.raw import Perform, function_graph, performer
from pellucid.adapters.tensorflow.rectifiers import rectifiers
from pellucid.errors import CapabilityError

Overrides = Mapping[int, tf.Tensor]
"""Weights to use instead of the model's own, by the id of the variable's handle."""

OnStep = Callable[[Step, Sequence[tf.Tensor], Perform], list[tf.Tensor]]


@dataclass(frozen=True)
class Plan:
    """Which steps to perform for some values, and which values are done with after each."""

    steps: tuple[Step, ...]
    wanted: tuple[int, ...]
    finished: tuple[tuple[int, ...], ...]


def plan(program: Program, wanted: Sequence[int], given: Iterable[int] = ()) -> Plan:
    """The shortest way to `wanted` when the values in `given` are known already."""
    chosen = [program.steps[i] for i in sorted(program.needed(wanted, given))]
    last: dict[int, int] = {}
    for at, step in enumerate(chosen):
        last.update(dict.fromkeys(program.reads(step), at))
        for value in step.outputs:
            last.setdefault(value, at)
    finished: list[list[int]] = [[] for _ in chosen]
    for value, at in last.items():
        if value not in wanted:
            finished[at].append(value)
    return Plan(tuple(chosen), tuple(wanted), tuple(map(tuple, finished)))


def interpret(
    program: Program,
    todo: Plan,
    given: Mapping[int, Any],
    *,
    overrides: Overrides | None = None,
    on_step: OnStep | None = None,
) -> list[tf.Tensor]:
    """The values `todo` wants, from the values `given`; captures are the model's own."""
    values: dict[int, Any] = {**program.captures, **given}
    for step, finished in zip(todo.steps, todo.finished, strict=True):
        if all(v in values for v in step.outputs):
            continue
        inputs = [values[v] for v in step.inputs]
        perform = _perform(program, step, values, overrides)
        outputs = perform(inputs) if on_step is None else on_step(step, inputs, perform)
        for number, tensor in zip(step.outputs, outputs, strict=True):
            values.setdefault(number, tensor)
        for number in finished:
            values.pop(number, None)
    return [values[v] for v in todo.wanted]


def _perform(
    program: Program, step: Step, values: Mapping[int, Any], overrides: Overrides | None
) -> Perform:
    if overrides:
        replaced = _replaced_weight(program, step, overrides)
        if replaced is not None:
            return replaced
    perform = performer_of(step)
    custom = program.custom.get(step.index)
    if custom is None:
        return perform
    remembered = [
        outer if place is None else values[place]
        for place, outer in zip(custom.places, custom.backward.remembered, strict=True)
    ]
    return lambda inputs: perform_with_gradient(
        perform, inputs, custom.backward.given, lambda dy: _differentiate(custom, dy, remembered)
    )


def _differentiate(
    custom: CustomGradient, cotangents: Sequence[tf.Tensor], remembered: Sequence[Any]
) -> list[tf.Tensor]:
    """Run a traced gradient function on values of this run."""
    program = custom.backward.program
    given = dict(zip(program.inputs, cotangents, strict=True))
    given.update(zip(program.captures, remembered, strict=True))
    return interpret(program, plan(program, program.outputs), given)


def _replaced_weight(program: Program, step: Step, overrides: Overrides) -> Perform | None:
    handle = program.handle_of.get(step.inputs[0]) if step.inputs else None
    weight = overrides.get(id(handle)) if handle is not None else None
    if weight is None:
        return None
    if step.type in READS:
        return lambda inputs: [weight]
    if step.type == "ResourceGather":
        return lambda inputs: [tf.gather(weight, inputs[1])]
    if step.type == "ResourceGatherNd":
        return lambda inputs: [tf.gather_nd(weight, inputs[1])]
    if step.type == "Identity":
        return None
    raise CapabilityError(
        f"A weight cannot be replaced for one run where {step.type} ({step.operation.name!r}) uses"
        " it, such as inside a loop.\n  Use a method that does not replace weights."
    )


def performer_of(step: Step) -> Perform:
    """The step's performer, made once and kept with it."""
    if step.perform is None:
        # The step is frozen for its readers; this is a cache.
        object.__setattr__(step, "perform", _make_performer(step))
    assert step.perform is not None
    return step.perform


def with_relus(program: Program) -> Program:
    """The program for rules: each ReLU that is written out, a ReLU of the value that it is of."""
    found = rectifiers(program, performer_of)
    if not found:
        return program
    steps = list(program.steps)
    for index, relu in found.items():
        steps[index] = replace(steps[index], inputs=(relu.of,), perform=relu.perform)
    return replace(program, steps=steps, rectified={i: relu.form for i, relu in found.items()})


def _make_performer(step: Step) -> Perform:
    if step.type in LOOPS:
        return _loop(step.operation)
    if step.type in BRANCHES:
        return _branch(step.operation)
    if any(a.type in ("func", "list(func)") for a in step.operation.op_def.attr):
        raise CapabilityError(
            f"The traced model holds {step.type} ({step.operation.name!r}), which pellucid cannot"
            " open.\n  Use a method that needs gradients only."
        )
    perform = performer(step.operation)
    if step.by_xla and step.type.startswith("Conv"):
        # Keras compiles grouped convolutions: on a CPU only XLA knows them with an activation.
        return _compiled(step.operation, perform, by_xla=True)
    return perform


def read_program(graph: Any, where: Where | None = None) -> Program:
    """The program of a traced graph, loops and branches in it read as well.

    At once: TensorFlow rewrites a loop in place when somebody differentiates the function.
    """
    program = read_graph(graph, where)
    for step in program.steps:
        if step.type in LOOPS | BRANCHES:
            performer_of(step)
    return program


def _body(operation: tf.Operation, attribute: str) -> Body:
    """A function graph of a control-flow operation."""
    graph = function_graph(operation.graph, operation.get_attr(attribute).name)
    program = read_program(graph)
    # What the body captured are arguments here: the operation hands it in.
    return program, tuple(program.numbers[t.ref()] for t in graph.inputs)


def _of_body(body: Body) -> Callable[[Sequence[Any]], list[tf.Tensor]]:
    """The body as a Python function of its inputs."""
    program, arguments = body
    todo = plan(program, program.outputs)
    return lambda inputs: interpret(program, todo, dict(zip(arguments, inputs, strict=True)))


def _loop(operation: tf.Operation) -> Perform:
    condition, body = _body(operation, "cond"), _body(operation, "body")
    return Loop(
        _of_body(condition), _of_body(body), body, lambda run: _compiled(operation, run), operation
    )


def _branch(operation: tf.Operation) -> Perform:
    then, otherwise = (_of_body(_body(operation, a)) for a in ("then_branch", "else_branch"))

    def perform(inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        condition, *rest = inputs
        return list(
            tf.cond(tf.cast(condition, tf.bool), lambda: then(rest), lambda: otherwise(rest))
        )

    return perform


def _compiled(operation: tf.Operation, perform: Perform, *, by_xla: bool = False) -> Perform:
    """`perform` as one function when called eagerly, so that loops do not run in Python."""
    specs = [tf.TensorSpec(t.shape, t.dtype) for t in operation.inputs]
    made: list[Any] = []

    def run(inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        if not tf.executing_eagerly() and not by_xla:
            return perform(inputs)
        if not made:
            # Made outside of a trace that may be going on, so that it can be kept.
            traced = tf.function(
                lambda *given: perform(given), autograph=False, jit_compile=by_xla or None
            )
            with tf.init_scope():
                made.append(traced.get_concrete_function(*specs))
        return list(made[0](*inputs))

    return run
