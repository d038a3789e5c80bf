"""Gradients as one compiled function around a trace: forward, score and backward in one graph."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from pellucid.adapters.protocol import Scores
from pellucid.adapters.tensorflow.segments import Piece
from pellucid.adapters.tensorflow.trace import Trace, no_retracing_warnings
from pellucid.types import Array, Leaves, Outputs

Gradients = Callable[[Leaves, tuple[Array, ...]], tuple[Leaves, ...]]


_AT_ONCE = 384 * 1024
"""Bytes of input in one step of the loop: what is computed from them then stays in the cache."""
_FEWEST = 32
"""Rows that a step takes at least."""
_TOGETHER = 2
"""Steps that may run at the same time."""


def compiled_gradients(trace: Trace, scores: Scores, peel: bool) -> Gradients:
    """A function of `(leaves, arguments)`: the gradients of each score, for any batch size.

    A large batch goes through the model in steps of a loop inside the function: a fifth faster on
    a small CNN than all rows at once, or a call for each step. Arguments have a row for each row.
    """

    def at_once(leaves: Leaves, arguments: tuple[Array, ...]) -> list[list[tf.Tensor]]:
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

    def traced(leaves: Leaves, arguments: tuple[Array, ...]) -> list[list[tf.Tensor]]:
        size = _rows_of_a_step(trace, leaves)
        if size is None:
            return at_once(leaves, arguments)
        return _in_steps(at_once, leaves, arguments, size)

    # Without XLA, which is slower on the CPU.
    function = tf.function(traced, autograph=False, reduce_retracing=True)

    def gradients(leaves: Leaves, arguments: tuple[Array, ...]) -> tuple[Leaves, ...]:
        with no_retracing_warnings():
            results: Any = function(leaves, arguments)
        return tuple(_with_zeros(leaves, found) for found in results)

    return gradients


def _rows_of_a_step(trace: Trace, leaves: Leaves) -> int | None:
    """None where there is but one: few rows, or a trace for one batch size."""
    shapes = [a.shape[1:] for a in leaves]
    if not all(s.is_fully_defined() for s in shapes) or any(s.shape[0] for s in trace.specs):
        return None
    row = sum(s.num_elements() * a.dtype.size for s, a in zip(shapes, leaves, strict=True))
    size = max(_FEWEST, _AT_ONCE // max(row, 1))
    rows = leaves[0].shape[0]
    return None if rows is not None and rows <= size else size


def _in_steps(
    gradients: Callable[[Leaves, tuple[Array, ...]], list[list[tf.Tensor]]],
    leaves: Leaves,
    arguments: tuple[Array, ...],
    size: int,
) -> list[list[tf.Tensor]]:
    """`gradients` of `size` rows after the other, those of one leaf joined again."""
    rows = tf.shape(leaves[0])[0]
    steps = (rows + size - 1) // size
    floats = [a for a in leaves if _is_real(a)]
    scores: list[int] = []

    def step(i: tf.Tensor, kept: list[tf.TensorArray]) -> tuple[tf.Tensor, list[tf.TensorArray]]:
        part = slice(i * size, (i + 1) * size)
        found = gradients(tuple(a[part] for a in leaves), tuple(a[part] for a in arguments))
        scores.append(len(found))
        by_leaf = zip(*found, strict=True)
        return i + 1, [a.write(i, tf.stack(g, axis=1)) for a, g in zip(kept, by_leaf, strict=True)]

    empty = [
        tf.TensorArray(
            a.dtype, size=steps, infer_shape=False, element_shape=[None, None, *a.shape[1:]]
        )
        for a in floats
    ]
    _, kept = tf.while_loop(lambda i, _: i < steps, step, (0, empty), parallel_iterations=_TOGETHER)
    joined = [a.concat() for a in kept]
    return [[g[:, k] for g in joined] for k in range(scores[0])]


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
