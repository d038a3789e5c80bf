"""One trace of a model: the compiled function, and where each layer call ended in it."""

import contextlib
import functools
import logging
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import tensorflow as tf

from pellucid.adapters.keras.calls import CallStack, watched_calls
from pellucid.adapters.keras.layers import LayerTree, numbered
from pellucid.adapters.protocol import LayerInfo
from pellucid.adapters.tensorflow.graph import Program, Step
from pellucid.adapters.tensorflow.interpret import interpret, plan, read_program, with_relus
from pellucid.adapters.tensorflow.layers import first_tensor, masked_like
from pellucid.adapters.tensorflow.log_sums import with_log_sums
from pellucid.adapters.tensorflow.peel import Ending, confirmed, ending_of
from pellucid.adapters.tensorflow.raw import Perform
from pellucid.types import Leaves, Outputs

Call = Callable[[Sequence[Any]], Any]
"""The user's model as a function of leaves."""


@dataclass(frozen=True, eq=False)
class Mark:
    """The identity operation a layer call's output was passed through, this call's alone."""

    path: str
    call: int
    kind: str
    parameters: int
    tensor: tf.Tensor

    @property
    def name(self) -> str:
        return numbered(self.path, self.call)


@dataclass
class Intervals:
    """Which operations of each graph were made during which layer call.

    Counted by positions in the list of operations: version numbers of the graph differ from
    them, and give the last operation of a layer, its activation, to the next one.
    """

    events: dict[Any, list[tuple[int, str, int]]] = field(default_factory=dict)

    def note(self, path: str, call: int) -> None:
        """From here on operations belong to this call."""
        graph: Any = tf.compat.v1.get_default_graph()
        events = self.events.setdefault(graph, [(0, "", 1)])
        events.append((len(graph.get_operations()), path, call))

    def where(self, graph: Any, position: int) -> tuple[str, int]:
        events = self.events.get(graph)
        if events is None:
            return "", 1
        at = bisect_right(events, position, key=lambda event: event[0]) - 1
        return events[at][1], events[at][2]


class Trace:
    """The model as one compiled function of its leaves, and the same as a program of steps."""

    def __init__(self, call: Call, tree: LayerTree, specs: Sequence[tf.TensorSpec]) -> None:
        self.specs = tuple(specs)
        self._marks: list[Mark] = []
        self._intervals = Intervals()
        self._endings: list[Ending] = []
        self._nest: Any = None
        self._confirmed: tuple[str | None, ...] | None = None
        self._concrete = self._compile(functools.partial(self._traced, call, tree))
        self.program = self._read()
        if any(ending.inside for ending in self._endings):
            self._open_calls()
            self.program = self._read()

    def _compile(self, function: Callable[..., list[tf.Tensor]]) -> Any:
        with no_retracing_warnings():
            return tf.function(function, autograph=False).get_concrete_function(*self.specs)

    def _traced(self, call: Call, tree: LayerTree, *leaves: tf.Tensor) -> list[tf.Tensor]:
        stack = CallStack()
        mark = functools.partial(self._mark, stack, tree)
        with watched_calls(tree, mark, stack, on_enter=self._intervals.note):
            outputs = call(leaves)
        self._nest = tf.nest.map_structure(lambda _: 0, outputs)
        return self._with_logits([tf.convert_to_tensor(t) for t in tf.nest.flatten(outputs)])

    def _with_logits(self, outputs: list[tf.Tensor]) -> list[tf.Tensor]:
        self._endings = [ending_of(t) for t in outputs]
        return outputs + [e.logits for e in self._endings if e.logits is not None]

    def _mark(
        self, stack: CallStack, tree: LayerTree, path: str, call: int, layer: Any, output: Any
    ) -> Any:
        marked = tf.nest.map_structure(_marked, output)
        tensor = first_tensor(marked)
        if tensor is not None and not hasattr(tensor, "numpy"):
            kind = type(layer).__name__
            self._marks.append(Mark(path, call, kind, tree.parameters(layer), tensor))
        # What follows belongs to the layer that called this one.
        self._intervals.note(*stack.around())
        return marked

    def _open_calls(self) -> None:
        """Trace once more with called bodies opened: the last activation is inside of one."""
        program, marks = self.program, dict[int, Mark]()
        for mark in self._marks:
            if mark.tensor.ref() in program.numbers:
                marks[program.numbers[mark.tensor.ref()]] = mark
        todo = plan(program, program.outputs[: len(self._endings)])
        self._marks, self._intervals = [], Intervals()

        def step_by_step(
            step: Step, inputs: Sequence[tf.Tensor], perform: Perform
        ) -> list[tf.Tensor]:
            self._intervals.note(step.path, step.call)
            outputs = perform(inputs)
            mark = marks.get(step.outputs[0])
            if mark is not None:
                self._marks.append(replace(mark, tensor=outputs[0]))
            return outputs

        def again(*leaves: tf.Tensor) -> list[tf.Tensor]:
            given = dict(zip(program.inputs, leaves, strict=True))
            return self._with_logits(interpret(program, todo, given, on_step=step_by_step))

        self._concrete = self._compile(again)

    def _read(self) -> Program:
        return read_program(self._concrete.graph, self._intervals.where)

    @functools.cached_property
    def for_rules(self) -> Program:
        """The program in which ReLUs and log-sums are what they are, however they are written."""
        return with_log_sums(with_relus(self.program))

    @functools.cached_property
    def marks(self) -> dict[str, tuple[Mark, int]]:
        """Layer calls the outputs depend on, in the order they return, with their values."""
        program = self.program
        reaching = program.needed(program.outputs)
        found: dict[str, tuple[Mark, int]] = {}
        for mark in self._marks:
            value = program.numbers.get(mark.tensor.ref())
            if value is not None and program.producer[value].index in reaching:
                found[mark.name] = (mark, value)
        return dict(sorted(found.items(), key=lambda item: item[1][1]))

    @functools.cached_property
    def mark_values(self) -> frozenset[int]:
        """Values of all the identities that are no operations of the user's."""
        found = {self.program.numbers.get(mark.tensor.ref(), -1) for mark in self._marks}
        for ending in self._endings:
            for mark in self._marks:
                peeled = ending.peeled.get(mark.tensor.ref())
                if peeled is not None:
                    found.add(self.program.numbers[peeled.ref()])
        return frozenset(found)

    def value_of(self, name: str, leaves: Leaves, peel: bool) -> int:
        """The value number at the exit of a layer call: logits for a last layer that is peeled."""
        mark, value = self.marks[name]
        if peel and any(mark.tensor.ref() in ending.peeled for ending in self._endings):
            for ending, activation in zip(self._endings, self.activations(leaves), strict=True):
                peeled = ending.peeled.get(mark.tensor.ref())
                if activation is not None and peeled is not None:
                    return self.program.numbers[peeled.ref()]
        return value

    def infos(self) -> tuple[LayerInfo, ...]:
        infos = []
        for order, (name, (mark, _)) in enumerate(self.marks.items()):
            shape = mark.tensor.shape
            known = (None, *shape.as_list()[1:]) if shape.rank else None
            infos.append(LayerInfo(name, mark.kind, known, mark.parameters, order))
        return tuple(infos)

    def run(self, leaves: Leaves, peel: bool) -> Outputs:
        """The model's outputs by the compiled function."""
        return self.chosen(self._concrete(*leaves), peel)

    def chosen(self, results: Sequence[Any], peel: bool) -> Outputs:
        """Of the outputs and logits of a run those asked for; the run settles what is peeled."""
        if not peel:
            return self.nested(results[: len(self._endings)])
        return self.nested(self._choose(results, self._settle(results)))

    def _choose(self, results: Sequence[Any], peeled: Sequence[str | None]) -> list[Any]:
        """Of all results (or of their numbers) one an output: the logits where peeled."""
        logits = iter(results[len(self._endings) :])
        chosen = []
        for output, ending, activation in zip(results, self._endings, peeled, strict=False):
            below = next(logits) if ending.logits is not None else None
            chosen.append(output if activation is None else below)
        return chosen

    def open_ended(self, peel: bool) -> tuple[tuple[int, ...], Callable[[Any], Outputs]]:
        """The value numbers a run in pieces must find, and what makes the outputs of them.

        Outputs and logits both, where this run will be the one to tell what is peeled.
        """
        if peel and self._known is None:
            return tuple(self.program.outputs), functools.partial(self.chosen, peel=True)
        peeled = (self._known or ()) if peel else (None,) * len(self._endings)
        return tuple(self._choose(self.program.outputs, peeled)), self.nested

    def wanted(self, leaves: Leaves, peel: bool) -> tuple[int, ...]:
        """The value numbers of the outputs."""
        peeled = self.activations(leaves) if peel else (None,) * len(self._endings)
        return tuple(self._choose(self.program.outputs, peeled))

    def nested(self, flat: Sequence[Any]) -> Outputs:
        return tf.nest.pack_sequence_as(self._nest, list(flat))

    @property
    def _known(self) -> tuple[str | None, ...] | None:
        """The final activation of each output, where the graph or an earlier run tells."""
        if self._confirmed is None and all(e.certain for e in self._endings):
            self._confirmed = tuple(e.activation for e in self._endings)
        return self._confirmed

    def _settle(self, results: Sequence[Any]) -> tuple[str | None, ...]:
        """The final activation of each output, checked on the first run there was."""
        if self._known is not None:
            return self._known
        found = tuple(ending.activation for ending in self._endings)
        if not tf.executing_eagerly():
            return found
        logits = self._choose(results, found)
        self._confirmed = tuple(
            e.activation if e.activation and (e.certain or confirmed(e.activation, z, y)) else None
            for e, z, y in zip(self._endings, logits, results, strict=False)
        )
        return self._confirmed

    def activations(self, leaves: Leaves) -> tuple[str | None, ...]:
        """The final activation of each output; runs one row where nothing tells it yet."""
        if self._known is not None:
            return self._known
        if not tf.executing_eagerly():
            return tuple(ending.activation for ending in self._endings)
        free = all(s.shape.rank and s.shape[0] is None for s in self.specs)
        return self._settle(self._concrete(*(a[:1] if free else a for a in leaves)))


def _marked(value: Any) -> Any:
    return masked_like(tf.identity(value), value) if tf.is_tensor(value) else value


@contextlib.contextmanager
def no_retracing_warnings() -> Iterator[None]:
    """TensorFlow counts functions of one name, and warns of retracing where each is traced once."""
    me = threading.get_ident()

    def quiet(record: logging.LogRecord) -> bool:
        return record.thread != me or "retracing" not in record.getMessage()

    logger = tf.get_logger()
    logger.addFilter(quiet)
    try:
        yield
    finally:
        logger.removeFilter(quiet)
