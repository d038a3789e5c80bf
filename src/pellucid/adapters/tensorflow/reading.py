"""How a model is read: traces made on demand and kept, or eager calls where tracing fails."""

import contextlib
import copy
import functools
import inspect
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf

from pellucid.adapters.keras.layers import LayerTree, structure_key
from pellucid.adapters.keras.state import LayerLooks, State
from pellucid.adapters.tensorflow.eager import EagerModel
from pellucid.adapters.tensorflow.functions import Functions
from pellucid.adapters.tensorflow.layers import children
from pellucid.adapters.tensorflow.library import LibraryModel
from pellucid.adapters.tensorflow.segments import Chains
from pellucid.adapters.tensorflow.state import described, frozen, plain_state
from pellucid.adapters.tensorflow.trace import Trace, no_retracing_warnings
from pellucid.errors import ModelError
from pellucid.types import Leaves

KEPT = 8
"""Traces per model: one for each shape of one sample, and for each change of structure."""

_TRACING = threading.RLock()

Call = Callable[[Sequence[Any]], Any]


@dataclass(frozen=True, eq=False)
class TracedModel:
    """A trace with its compiled pieces; `fixed` where it serves one batch size only."""

    trace: Trace
    chains: Chains
    fixed: bool
    compiled: dict[Hashable, Any] = field(default_factory=dict)
    """Functions compiled around the trace, by what they compute."""
    functions: Functions = field(default_factory=Functions)
    """Functions compiled of its operations."""


Reading = TracedModel | EagerModel


class Looked:
    """What a look at a model found, as a key whose hash is worked out once."""

    def __init__(self, found: tuple[Any, ...]) -> None:
        self._found, self._hash = found, hash(found)

    @classmethod
    def again(cls, found: tuple[Any, ...], last: "list[Looked]") -> "Looked":
        """The key of `last` where nothing has changed, so that keys are equal at a glance."""
        if not last or last[0]._found != found:
            last[:] = [cls(found)]
        return last[0]

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Looked) and self._found == other._found)

    def __hash__(self) -> int:
        return self._hash


class Readings:
    """The readings of one model, by structure, shapes and types of the inputs."""

    def __init__(self, model: Any, tree: Callable[[], LayerTree]) -> None:
        self._model, self._tree = model, tree
        self._keras = isinstance(model, keras.layers.Layer)
        self._made: OrderedDict[Any, Reading] = OrderedDict()
        self._notes: dict[str, None] = {}
        self._lock = threading.RLock()
        self._own: set[str] = set()
        self._looks = LayerLooks()
        self._last: list[Looked] = []
        self._state: State = {}
        self._ran: weakref.WeakSet[Reading] = weakref.WeakSet()
        self._looks_once = False
        self._looked: tuple[int, Looked] | None = None

    def for_one_explanation(self) -> "Readings":
        """The same readings, found by one look at the model's attributes, which stay as they are.

        A look takes 7 ms for the 157 layers of a MobileNetV2, and every verb asks for one.
        """
        found = copy.copy(self)
        found._looks_once, found._looked = True, None
        return found

    def look(self) -> "Looked":
        """A key for all a trace holds on to: layers, their attributes, what functions hold."""
        with self._lock:
            known = self._looked
            if self._looks_once and known is not None and known[0] == len(self._own):
                return known[1]
            return self._look_again()

    def _look_again(self) -> "Looked":
        self._state = _state_of(self._model, self._looks)
        found = Looked.again((self._structure(), frozen(self._state, self._own)), self._last)
        self._looked = len(self._own), found
        return found

    def _structure(self) -> tuple[Any, ...]:
        if isinstance(self._model, LibraryModel):
            return self._model.structure_key()
        return structure_key([self._model] if self._keras else children(self._model))

    def described(self) -> str:
        """What the model's functions and modules hold, when last looked at."""
        return described(self._state, self._own)

    @property
    def own(self) -> frozenset[str]:
        """Attributes the model changes itself when it runs: counters, which say nothing."""
        return frozenset(self._own)

    def ran(self, reading: "Reading", x: Leaves, nest: Any) -> None:
        """After the first run of a reading: what has changed meanwhile the model changes itself."""
        if reading in self._ran:
            return
        with self._lock:
            self._ran.add(reading)
            self._leave_out(self._state, x, nest, reading)

    def _leave_out(self, before: State, x: Leaves, nest: Any, reading: "Reading") -> None:
        now = _state_of(self._model, self._looks)
        places = before.keys() | now.keys()
        changed = {p for p in places if before.get(p) != now.get(p)}
        if changed - self._own:
            self._own |= changed
            self._store(reading, x, nest)

    def _store(self, reading: "Reading", x: Leaves, nest: Any) -> None:
        # A trace for one batch size alone is found again by that size.
        key = self._key(x, nest)
        if isinstance(reading, TracedModel) and reading.fixed:
            key = (*key, tuple(a.shape[:1] for a in x))
        self._made[key] = reading
        while len(self._made) > KEPT:
            self._made.popitem(last=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """Which readings were used, and why."""
        return tuple(self._notes)

    def note(self, text: str) -> None:
        """Say one thing more of how the model is read."""
        self._notes[text] = None

    def get(self, x: Leaves, nest: Any) -> Reading:
        """The reading for inputs like `x`, which the model takes nested like `nest`."""
        with self._lock:
            key = self._key(x, nest)
            sizes = tuple(a.shape[:1] for a in x)
            for candidate in (key, (*key, sizes)):
                found = self._made.get(candidate)
                if found is not None:
                    self._made.move_to_end(candidate)
                    return found
            self._look_again()
            call = self._call_with(nest)
            if self._keras and not all(a.built for a in self._model._flatten_layers()):
                _build(call, x)
                self._look_again()
            before = self._state
            found = self._read(call, x)
            self._leave_out(before, x, nest, found)
            self._store(found, x, nest)
            return found

    def _key(self, x: Leaves, nest: Any) -> tuple[Any, ...]:
        shapes = tuple((tuple(a.shape[1:]), a.dtype.name) for a in x)
        return self.look(), repr(nest), shapes

    def _call_with(self, nest: Any) -> Call:
        """The model as a function of leaves, in inference mode."""
        model = self._model
        if isinstance(model, LibraryModel):
            return functools.partial(model.run, nest)
        takes = () if self._keras else _parameters(model)
        training = {"training": False} if self._keras or "training" in takes else {}
        positions = [name for name in takes if name != "training"]

        def call(leaves: Sequence[Any]) -> Any:
            packed = tf.nest.pack_sequence_as(nest, list(leaves))
            if isinstance(packed, dict) and positions and set(packed) <= set(positions):
                return model(**packed, **training)
            if isinstance(packed, tuple) and len(positions) >= len(packed) > 1:
                return model(*packed, **training)
            return model(packed, **training)

        return call

    def _read(self, call: Call, x: Leaves) -> Reading:
        tree, errors = self._tree(), []
        exact = [tf.TensorSpec(a.shape, a.dtype) for a in x]
        tries = [exact]
        if all(a.shape.rank for a in x):
            tries.insert(0, [tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in x])
        for specs in tries:
            try:
                with _TRACING:
                    trace = Trace(call, tree, specs)
            except Exception as error:
                errors.append(error)
                continue
            fixed = specs is exact
            size = f" for batches of {x[0].shape[0]}" if fixed and x[0].shape.rank else ""
            self._notes[f"compiled trace{size}"] = None
            return TracedModel(trace, Chains(trace.program), fixed)
        reason = f"{type(errors[-1]).__name__}: {str(errors[-1]).strip().partition(chr(10))[0]}"

        def noted(leaves: Sequence[Any]) -> Any:
            outputs = call(leaves)  # what it raises is the model's own error, and no reading
            self._notes[f"eager fall-back, which is slow: {reason}"] = None
            return outputs

        return EagerModel(noted, tree, reason)


def _state_of(model: Any, looks: LayerLooks) -> State:
    return model.state() if isinstance(model, LibraryModel) else plain_state(model, looks)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether TensorFlow or Python ran out of memory."""
    return isinstance(error, tf.errors.ResourceExhaustedError | MemoryError)


def _build(call: Call, x: Leaves) -> None:
    """Have the layers make their weights, the way a first call would: traced, or else called."""
    if all(a.shape.rank for a in x):
        specs = [tf.TensorSpec([None, *a.shape[1:]], a.dtype) for a in x]
        with contextlib.suppress(Exception), _TRACING, no_retracing_warnings():
            tf.function(lambda *leaves: call(leaves), autograph=False).get_concrete_function(*specs)
            return
    try:
        call(x)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"The model raised {type(error).__name__}: {error}") from error


def _parameters(model: Any) -> tuple[str, ...]:
    """Names of the positional parameters the model is called with."""
    try:
        signature = inspect.signature(model)
    except (TypeError, ValueError):
        return ()
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return tuple(
        name
        for name, p in signature.parameters.items()
        if p.kind in plain or (p.kind is keyword and name == "training")
    )
