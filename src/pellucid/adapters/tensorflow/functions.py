"""Whole computations with an intercepted model as compiled functions, kept with its trace."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import tensorflow as tf

from pellucid.adapters.tensorflow.trace import no_retracing_warnings
from pellucid.errors import PellucidError

KEPT = 16
"""Functions kept for each trace: one for each thing computed, and shape of what it is given."""
_OFTEN = 4
"""The time that a function is asked for at which it is compiled.

On a MobileNetV2 that took as long as three to nine runs step by step, after which a run takes a
fifth of them.
"""
_REMEMBERED = 256
"""How many that were asked for less often are known."""

Compiled = Callable[[tuple[Any, ...]], tuple[Any, Any]]
"""Of the arguments: arrays in their nesting, and the fact found while tracing."""


class Functions:
    """Compiled functions by form and shapes, each made when it has been asked for often.

    To trace one takes as long as to run it step by step some times, so that who explains a few
    inputs does not wait for it.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[Hashable, Compiled | None] = OrderedDict()
        self._asked: OrderedDict[Hashable, int] = OrderedDict()
        self._lock = threading.RLock()

    def run(
        self,
        function: Callable[..., tuple[Any, Any]],
        arguments: tuple[Any, ...],
        form: Hashable,
        note: Callable[[str], None],
    ) -> tuple[Any, Any] | None:
        """See `Adapter.compiled`; `note` is told why a function could not be compiled."""
        compiled = self._get(function, arguments, form, note)
        return None if compiled is None else compiled(arguments)

    def _get(
        self,
        function: Callable[..., tuple[Any, Any]],
        arguments: tuple[Any, ...],
        form: Hashable,
        note: Callable[[str], None],
    ) -> Compiled | None:
        """The compiled function; None where it was asked for seldom, or cannot be made."""
        flat = tf.nest.flatten(arguments)
        nest = repr(_without_arrays(arguments))
        key = (form, nest, tuple((tuple(a.shape), a.dtype.name) for a in flat))
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
            times = self._asked.pop(key, 0) + 1
            if times < _OFTEN:
                self._asked[key] = times
                while len(self._asked) > _REMEMBERED:
                    self._asked.popitem(last=False)
                return None
            self._made[key] = self._make(function, arguments, note)
            while len(self._made) > KEPT:
                self._made.popitem(last=False)
            return self._made[key]

    def _make(
        self,
        function: Callable[..., tuple[Any, Any]],
        arguments: tuple[Any, ...],
        note: Callable[[str], None],
    ) -> Compiled | None:
        try:
            return _compiled(function, arguments)
        except PellucidError:
            return None  # which is raised again where the same is done step by step
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            note(
                "rules done operation by operation, which is slow:"
                f" {type(error).__name__}: {reason}"
            )
            return None


def _without_arrays(nested: Any) -> Any:
    return tf.nest.map_structure(lambda _: 0, nested)


def _compiled(function: Callable[..., tuple[Any, Any]], arguments: tuple[Any, ...]) -> Compiled:
    specs = [tf.TensorSpec(a.shape, a.dtype) for a in tf.nest.flatten(arguments)]
    nest, found = _without_arrays(arguments), []

    def traced(*tensors: tf.Tensor) -> list[tf.Tensor]:
        results, fact = function(*tf.nest.pack_sequence_as(nest, tensors))
        found[:] = [_without_arrays(results), fact]
        return tf.nest.flatten(results)

    with no_retracing_warnings():
        # A concrete function does not keep what it was traced from.
        concrete = tf.function(traced, autograph=False).get_concrete_function(*specs)
    results, fact = found

    def run(given: tuple[Any, ...]) -> tuple[Any, Any]:
        return tf.nest.pack_sequence_as(results, concrete(*tf.nest.flatten(given))), fact

    return run
