"""How long what each token adds to another is: the norms of an attention's weighted values."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pellucid.adapters.attention import AttentionCall
from pellucid.adapters.protocol import Operation
from pellucid.types import Array

if TYPE_CHECKING:
    from pellucid.task import Task

_TO_PROJECTION = frozenset({"softmax", "mul", "linear", "route"})


def contribution_norms(task: "Task", rows: np.ndarray, call: AttentionCall) -> np.ndarray:
    """‖Σ_h A_hij v_hj W_h‖ for each sample, query i and key j, `(n, queries, keys)` float64.

    The product of weights and values, and all up to the projection above it, is done again for
    one key at a time.
    """
    leaves = task.take(task.x, rows)
    path: list[tuple[Operation, Array]] = []
    indices = {call.product, *call.routes, call.projection}
    norms: list[np.ndarray] = []

    def watch(op: Operation) -> Array:
        out = op()
        if op.index in indices and op.kind != "softmax":
            path.append((op, out))
            if op.index == (call.product if call.projection is None else call.projection):
                norms.append(_norms(task, call, path, len(rows)))
        return out

    with task.naming_samples(leaves, rows):
        task.model.run(leaves, intercept=watch, kinds=_TO_PROJECTION)
    return norms[0]


def _norms(
    task: "Task", call: AttentionCall, path: Sequence[tuple[Operation, Array]], rows: int
) -> np.ndarray:
    xp, to_numpy = task.xp, task.to_numpy
    (product, _), *_ = path
    weights, values = product.inputs[call.place], product.inputs[1 - call.place]
    shape = tuple(int(s) for s in weights.shape)
    keys_axis = len(shape) - (len(call.shape) - call.keys)
    keys, queries = shape[keys_axis], call.shape[call.queries] if call.queries is not None else 1

    def through(weighing: Array, worth: Array) -> np.ndarray:
        given = [weighing, worth] if call.place == 0 else [worth, weighing]
        out = product(inputs=tuple(given))
        for (_, before), (op, _) in pairwise(path):
            swapped = tuple(out if a is before else a for a in op.inputs)
            out = op(inputs=swapped, bias=False)
        return to_numpy(out).astype(np.float64)

    size = tuple(int(s) for s in values.shape)
    uneven = (1.5 + np.cos(np.arange(np.prod(size)))).reshape(size).astype(np.float32)
    worth = xp.astype(task.asarray(uneven), values.dtype)
    plain = through(xp.ones_like(weights), worth)
    clearest = np.abs(plain).argmax(axis=-1)[..., None]

    def marked(axis: int, count: int) -> np.ndarray:
        """Which sample or query each row of the last result belongs to, sent through itself.

        Weights that are k times as large for all keys make k times the result, whatever is summed.
        """
        marks = np.zeros((rows * call.shape[call.samples], *_others(call)))
        marks = np.moveaxis(marks, 0, call.samples)
        line = np.arange(marks.shape[axis]) // (marks.shape[axis] // count) + 1.0
        marks += line.reshape(-1, *[1] * (marks.ndim - axis - 1))
        marks = marks.reshape(shape).astype(np.float32)
        code = through(xp.astype(task.asarray(marks), weights.dtype), worth)
        times = np.take_along_axis(code, clearest, -1) / np.take_along_axis(plain, clearest, -1)
        return np.rint(times.ravel()).astype(int) - 1

    samples = marked(call.samples, rows)
    asking = np.zeros_like(samples) if call.queries is None else marked(call.queries, queries)
    squares = np.zeros((rows, queries, keys))
    one = np.zeros(keys, dtype=np.float32)
    for key in range(keys):
        one[:] = 0
        one[key] = 1
        chosen = task.asarray(one.reshape(-1, *[1] * (len(shape) - keys_axis - 1)))
        out = through(weights * xp.astype(chosen, weights.dtype), values)
        np.add.at(squares[..., key], (samples, asking), (out**2).sum(axis=-1).ravel())
    return np.sqrt(squares)


def _others(call: AttentionCall) -> tuple[int, ...]:
    return tuple(s for axis, s in enumerate(call.shape) if axis != call.samples)
