"""Which inputs of a model each call of a layer depends on, by changing one after the other."""

from collections.abc import Sequence

import numpy as np

from pellucid.adapters.derived import numbered
from pellucid.adapters.protocol import LAYERS_ONLY, LayerInfo, Operation
from pellucid.methods.inside.receptive import changed_rows, drawn_like, with_rounding
from pellucid.running.outputs import model_errors
from pellucid.task import Task
from pellucid.types import Array

_PURPOSE = 72


def inputs_reaching(
    task: Task, calls: Sequence[LayerInfo], *, draws: int = 3
) -> dict[str, tuple[int, ...]]:
    """Of each call, by path, the numbers of the inputs that change what it returns.

    In each draw of `default_rng([seed, 72, draw])` all inputs are random in the range of the data,
    and one after the other is drawn anew, four times as wide; an input reaches a call if its output
    changes by more than rounding in any draw. A model of one input is not run. Cost otherwise:
    `draws` forwards for each input, and one more a draw.
    """
    parts = len(task.batch.arrays)
    if parts == 1:
        return {call.path: (0,) for call in calls}
    reached = {call.path: np.zeros(parts, bool) for call in calls}
    for draw in range(draws):
        for path, changed in _one_draw(task, tuple(reached), draw).items():
            reached[path] |= changed
    return {path: tuple(map(int, np.flatnonzero(found))) for path, found in reached.items()}


def _one_draw(task: Task, paths: tuple[str, ...], draw: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([task.seed, _PURPOSE, draw])
    own = task.batch.arrays
    given = []
    for part, array in enumerate(own):
        rows = np.repeat(drawn_like(rng, array, array.shape[1:], 1.0)[None], len(own) + 1, axis=0)
        rows[part + 1] = drawn_like(rng, array, array.shape[1:], 4.0)
        given.append(rows)
    found: dict[str, np.ndarray] = {}

    def see(op: Operation) -> Array:
        value = op()
        if op.kind == "layer" and numbered(op) in paths:
            found[numbered(op)] = changed_rows(*with_rounding(task, value), ())[:, 0]
        return value

    leaves = task.in_own_type(tuple(task.asarray(rows) for rows in given))
    with model_errors(task.model, leaves, task.model.adapter, np.zeros(len(own) + 1, int)):
        task.model.run(leaves, intercept=see, layers=paths, kinds=LAYERS_ONLY)
    return found
