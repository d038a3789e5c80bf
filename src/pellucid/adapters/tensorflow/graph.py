"""A traced model as a straight list of steps: calls opened, each value numbered.

After this nothing depends on TensorFlow's graph classes: what is needed for an output, what
depends on the inputs, and what crosses a cut are questions about small integers.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from pellucid.adapters.tensorflow.gradients import CustomGradient, custom_gradients
from pellucid.adapters.tensorflow.operations import (
    CALLS,
    READS,
    SCATTERED,
    SHAPES,
    STOPS,
    kind_of,
)
from pellucid.adapters.tensorflow.raw import Perform, function_graph, gradient_name

Where = Callable[[Any, int], tuple[str, int]]
"""From a graph and the position of an operation in it to the layer path and call number."""


@dataclass(frozen=True, eq=False)
class Step:
    """One operation with its calls' arguments resolved: numbers of values in and out."""

    index: int
    operation: tf.Operation
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    path: str
    call: int
    gradient: str | None
    """Name of a gradient somebody attached to this operation."""
    scope: dict[Any, int] = field(repr=False)
    """Numbers of the symbolic tensors of this operation's graph, for what gradients capture."""
    by_xla: bool = False
    """Whether it stood in a function that was to be compiled by XLA."""
    perform: Perform | None = field(default=None, repr=False)
    """How to perform it again, once somebody has."""

    @property
    def type(self) -> str:
        return str(self.operation.type)


@dataclass
class Program:
    """Steps in an order in which they can be performed, from inputs and captures to outputs."""

    steps: list[Step] = field(default_factory=list)
    tensors: list[tf.Tensor] = field(default_factory=list)
    """The symbolic tensor of each value: its static shape and dtype."""
    inputs: tuple[int, ...] = ()
    captures: dict[int, Any] = field(default_factory=dict)
    """Value number -> the tensor outside the graph: handles of variables, captured arrays."""
    outputs: tuple[int, ...] = ()
    numbers: dict[Any, int] = field(default_factory=dict)
    """Number of a symbolic tensor; of its first use where it is in a body called twice."""
    rectified: Mapping[int, str] = field(default_factory=dict)
    """The form of steps that are ReLUs and were something else in the graph, by step index."""
    log_sums: Mapping[int, Any] = field(default_factory=dict)
    """The steps that are ln Σ exp(x), or a softmax by it, and were more in the graph, by index."""

    def new(self, tensor: tf.Tensor) -> int:
        self.numbers.setdefault(tensor.ref(), len(self.tensors))
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    @functools.cached_property
    def producer(self) -> dict[int, Step]:
        return {value: step for step in self.steps for value in step.outputs}

    def needed(self, values: Iterable[int], stop: Iterable[int] = ()) -> set[int]:
        """Indices of the steps that compute `values`, not looking behind the values in `stop`."""
        halted, found = set(stop), set[int]()
        waiting = [v for v in values if v not in halted]
        while waiting:
            step = self.producer.get(waiting.pop())
            if step is not None and step.index not in found:
                found.add(step.index)
                waiting += [v for v in self.reads(step) if v not in halted]
        return found

    def reads(self, step: Step) -> tuple[int, ...]:
        """What must be known to perform the step and to differentiate it."""
        custom = self.custom.get(step.index)
        return step.inputs if custom is None else step.inputs + custom.remembered

    @functools.cached_property
    def custom(self) -> dict[int, CustomGradient]:
        """The gradients attached to single steps, by step index."""
        return custom_gradients(self.steps)

    @functools.cached_property
    def used(self) -> frozenset[int]:
        """Values that some step reads or that are outputs."""
        return frozenset(self.outputs).union(*(self.reads(step) for step in self.steps))

    @functools.cached_property
    def touched(self) -> frozenset[int]:
        """Values that depend on the model's inputs in any way, shapes included."""
        reached = set(self.inputs)
        for step in self.steps:
            if any(v in reached for v in step.inputs):
                reached.update(step.outputs)
        return frozenset(reached)

    @functools.cached_property
    def live(self) -> frozenset[int]:
        """Values through which the model's inputs can matter to the output, shapes excluded.

        Whole numbers are live only where they are tokens: inputs of whole numbers, or inputs of
        another type (Keras declares float32 by default) that are cast to whole numbers at once.
        """
        reached = set(self.inputs)
        unchanged = set(self.inputs)
        for step in self.steps:
            sources = [self.tensors[v].dtype for v in step.inputs if v in reached]
            if not sources or step.type in SHAPES:
                continue
            if step.type in ("Cast", "Identity") and step.inputs[0] in unchanged:
                unchanged.update(step.outputs)
            tokens = all(dtype.is_integer for dtype in sources) or step.outputs[0] in unchanged
            for value in step.outputs:
                dtype = self.tensors[value].dtype
                if dtype == tf.string or dtype.is_bool or (dtype.is_integer and not tokens):
                    continue
                reached.add(value)
        return frozenset(reached)

    @functools.cached_property
    def chosen(self) -> frozenset[int]:
        """Values without derivatives, such as masks and places, that live real numbers decide."""
        reached = {v for v in self.live if self.tensors[v].dtype.is_floating}
        for step in self.steps:
            if step.type not in SHAPES and any(v in reached for v in step.inputs):
                reached.update(step.outputs)
        return frozenset(reached - self.live)

    @functools.cached_property
    def weight_of(self) -> dict[int, Any]:
        """Value number of a read variable (also through casts and reshapes) -> its handle."""
        handles = dict(self.captures)
        found: dict[int, Any] = {}
        for step in self.steps:
            if not step.inputs:
                continue
            first = step.inputs[0]
            if step.type == "Identity" and first in handles:
                handles[step.outputs[0]] = handles[first]
            elif step.type in READS and first in handles:
                found[step.outputs[0]] = handles[first]
            elif step.type in _SAME_NUMBERS and first in found:
                found[step.outputs[0]] = found[first]
        return found

    @functools.cached_property
    def handle_of(self) -> dict[int, Any]:
        """Value number of a variable's handle, also where passed on, -> the handle."""
        handles = dict(self.captures)
        for step in self.steps:
            if step.type == "Identity" and step.inputs[0] in handles:
                handles[step.outputs[0]] = handles[step.inputs[0]]
        return handles

    def kind(self, step: Step) -> str:
        if step.index in self.custom:
            return "custom_gradient"
        if step.index in self.log_sums:
            return "softmax"
        if step.index in self.rectified:
            return "activation"
        if step.type in STOPS and step.inputs[0] in self.live:
            return "detached" if self._hides(step) else "route"
        where = SCATTERED.get(step.type)
        if where is not None and step.inputs[where] in self.chosen:
            return "other"
        return kind_of(step.type, self.liveness(step))

    def _hides(self, step: Step) -> bool:
        """Whether a stopped gradient would be missed: not where nothing real is made of the value.

        Nor where it is the mean that squares are averaged around, as in moments: their average
        does not change with it.
        """
        return any(not self._varies(step, reader) for reader in self._live_readers(step))

    def _live_readers(self, step: Step) -> list[Step]:
        readers = [s for s in self.steps if step.outputs[0] in s.inputs]
        return [s for s in readers if any(v in self.live for v in s.outputs)]

    def _varies(self, stop: Step, reader: Step) -> bool:
        """Whether the reader squares what is left of x without its mean, for an average alone."""
        mean = self.producer.get(stop.inputs[0])
        if mean is None or mean.type != "Mean" or reader.type != "SquaredDifference":
            return False
        averages = self._live_readers(reader)
        return (
            bool(mean.operation.get_attr("keep_dims"))
            and mean.inputs[0] in reader.inputs
            and reader.outputs[0] not in self.outputs
            and bool(averages)
            and all(s.type == "Mean" and self._same_axes(s, mean) for s in averages)
        )

    def _same_axes(self, one: Step, other: Step) -> bool:
        known = [self.axes(s.inputs[1]) for s in (one, other)]
        return one.inputs[1] == other.inputs[1] or (known[0] is not None and known[0] == known[1])

    def axes(self, value: int) -> tuple[int, ...] | None:
        """The axes that a value holds; None where the trace does not tell."""
        known = tf.get_static_value(self.tensors[value])
        return None if known is None else tuple(int(a) for a in known.reshape(-1))

    def maximum_behind(self, value: int) -> Step | None:
        """The maximum that a value is, also where it is put aside while that is infinite."""
        maker = self.producer.get(value)
        while maker is not None and maker.type in _SAME_NUMBERS | {"Select", "SelectV2"}:
            held = [v for v in maker.inputs if v in self.live]
            maker = self.producer.get(held[0]) if held else None
        return maker if maker is not None and maker.type in {"Max", "Maximum"} else None

    def liveness(self, step: Step) -> tuple[bool, ...]:
        return tuple(v in self.live for v in step.inputs)


_SAME_NUMBERS = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "ExpandDims", "EnsureShape"})


def read_graph(graph: Any, where: Where | None = None) -> Program:
    """The program of a traced function's graph."""
    program = Program()
    external = [(inner, outer) for outer, inner in graph.captures]
    captured = {inner.ref() for inner, _ in external}
    scope: dict[Any, int] = {}
    arguments = [t for t in graph.inputs if t.ref() not in captured]
    for tensor in arguments:
        scope[tensor.ref()] = program.new(tensor)
    for inner, outer in external:
        scope[inner.ref()] = number = program.new(inner)
        program.captures[number] = outer
    program.inputs = tuple(scope[t.ref()] for t in arguments)
    _read_into(program, graph, scope, where, ("", 1))
    program.outputs = tuple(scope[t.ref()] for t in graph.outputs)
    return program


def _read_into(
    program: Program,
    graph: Any,
    scope: dict[Any, int],
    where: Where | None,
    around: tuple[str, int],
    by_xla: bool = False,
) -> None:
    for position, operation in enumerate(graph.get_operations()):
        outputs = operation.outputs
        if not outputs or outputs[0].ref() in scope:  # inputs are numbered already
            continue
        here = where(graph, position) if where is not None else ("", 1)
        here = here if here[0] else around
        inputs = tuple(scope[t.ref()] for t in operation.inputs)
        if operation.type in CALLS:
            body = function_graph(graph, operation.get_attr("f").name)
            inner = {t.ref(): v for t, v in zip(body.inputs, inputs, strict=True)}
            _read_into(program, body, inner, where, here, by_xla or _for_xla(operation))
            for tensor, returned in zip(outputs, body.outputs, strict=True):
                scope[tensor.ref()] = inner[returned.ref()]
            continue
        numbers = tuple(program.new(t) for t in outputs)
        scope.update((t.ref(), v) for t, v in zip(outputs, numbers, strict=True))
        gradient = gradient_name(operation)
        index = len(program.steps)
        program.steps.append(
            Step(index, operation, inputs, numbers, *here, gradient, scope, by_xla=by_xla)
        )


def _for_xla(operation: tf.Operation) -> bool:
    try:
        return bool(operation.get_attr("_XlaMustCompile"))
    except ValueError:
        return False
