"""Gradients as one compiled function around a trace: forward, score and backward in one graph."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from pellucid.adapters.protocol import Scores
from pellucid.adapters.tensorflow.segments import Piece
from pellucid.adapters.tensorflow.trace import Trace, no_retracing_warnings
from pellucid.types import Array, Leaves, Outputs

Gradients = Callable[[Leaves, tuple[Array, ...]], tuple[Leaves, ...]]


def compiled_gradients(trace: Trace, scores: Scores, peel: bool) -> Gradients:
    """A function of `(leaves, arguments)`: the gradients of each score, for any batch size."""

    def traced(leaves: Leaves, arguments: tuple[Array, ...]) -> list[list[tf.Tensor]]:
        leaves = tuple(tf.identity(a) for a in leaves)
        floats = [a for a in leaves if _is_real(a)]
        found = scores(trace.run(leaves, peel), arguments)
        # No tape: what a persistent one sees of a called function is made for higher derivatives
        # too, and a fifth slower.
        zero = tf.UnconnectedGradients.ZERO
        return [
            [tf.convert_to_tensor(g) for g in tf.gradients(s, floats, unconnected_gradients=zero)]
            for s in found
        ]

    # Without XLA, which is slower on the CPU.
    function = tf.function(traced, autograph=False, reduce_retracing=True)

    def gradients(leaves: Leaves, arguments: tuple[Array, ...]) -> tuple[Leaves, ...]:
        with no_retracing_warnings():
            results: Any = function(leaves, arguments)
        return tuple(_with_zeros(leaves, found) for found in results)

    return gradients


def compiled_gradient(
    above: Piece, stop: int, nested: Callable[[Any], Outputs], scores: Scores
) -> Callable[[Sequence[Array], tuple[Array, ...]], Array]:
    """A function of what `above` is given and arguments: the first score's gradient at `stop`."""
    place = above.given.index(stop)

    def traced(given: Sequence[Array], arguments: tuple[Array, ...]) -> tf.Tensor:
        value = tf.identity(given[place])
        outputs = nested(above.function(*given[:place], value, *given[place + 1 :]))
        (score,) = scores(outputs, arguments)
        zero = tf.UnconnectedGradients.ZERO
        (found,) = tf.gradients(score, [value], unconnected_gradients=zero)
        return tf.convert_to_tensor(found)

    return tf.function(traced, autograph=False, reduce_retracing=True)


def _is_real(a: tf.Tensor) -> bool:
    return a.dtype.is_floating or a.dtype.is_complex


def _with_zeros(leaves: Leaves, found: Sequence[tf.Tensor]) -> Leaves:
    given = iter(found)
    return tuple(next(given) if _is_real(a) else tf.zeros_like(a) for a in leaves)
