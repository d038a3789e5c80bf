"""A layer in the place of the inputs: its values are the leaves, the part above is the model."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pellucid.counting import CountedCut
from pellucid.errors import LayerError
from pellucid.inputs.batch import Batch
from pellucid.inputs.layout import input_dims
from pellucid.running.outputs import model_errors
from pellucid.task import Task
from pellucid.types import Array, Leaves, Outputs

_ROWS_KEPT = 64


class OpenedLayer:
    """The part of a model above one layer, for any rows of a batch.

    The part below runs once for a group of samples that are wanted together; what goes round the
    layer (a skip connection, another input) always comes from the sample itself.
    """

    def __init__(self, origin: Task, layer: str) -> None:
        self.origin, self.layer = origin, layer
        self._cuts: OrderedDict[tuple[int, ...], CountedCut] = OrderedDict(
            (tuple(range(start, stop)), cut) for start, stop, cut in origin.cuts
        )
        self._limit = sum(map(len, self._cuts)) + _ROWS_KEPT

    def cut(self, inputs: Leaves) -> CountedCut:
        """The model opened at the layer on other inputs."""
        return self.origin.model.cut(inputs, self.layer)

    def run(self, value: Array, rows: np.ndarray) -> Outputs:
        """The model's outputs where the layer returns `value`, one row a row of samples `rows`."""
        parts, start = [], 0
        for samples, variants in _groups(rows):
            stop = start + len(samples) * variants
            parts.append(self._cut_of(samples).run(value[start:stop]))
            start = stop
        return self.origin.join(parts)

    def _cut_of(self, samples: tuple[int, ...]) -> CountedCut:
        if samples not in self._cuts:
            inputs = self.origin.take(self.origin.x, np.array(samples))
            self._cuts[samples] = self.cut(inputs)
            while sum(map(len, self._cuts)) > max(self._limit, len(samples)):
                self._cuts.popitem(last=False)
        self._cuts.move_to_end(samples)
        return self._cuts[samples]

    def values(self, inputs: tuple[np.ndarray, ...]) -> np.ndarray:
        """What the layer returns for other inputs; run once where all rows are the same."""
        task = self.origin
        shared = all(bool((a == a[:1]).all()) for a in inputs)
        count = 1 if shared else len(inputs[0])

        def evaluate(start: int, stop: int) -> np.ndarray:
            leaves = tuple(task.asarray(a[start:stop]) for a in inputs)
            rows = np.arange(start, stop)
            with model_errors(task.model, leaves, task.model.adapter, rows, "reference inputs"):
                return _as_float32(task, self.cut(task.in_own_type(leaves)).value)

        parts = [v for _, _, v in task.schedule.run(count, evaluate, key="forward")]
        found = np.concatenate(parts)
        return np.broadcast_to(found, (len(inputs[0]), *found.shape[1:])) if shared else found


def _groups(rows: np.ndarray) -> Iterator[tuple[tuple[int, ...], int]]:
    """`(samples, variants of each)` for consecutive rows, as a cut takes them.

    >>> list(_groups(np.array([0, 0, 1, 1, 2])))
    [((0, 1), 2), ((2,), 1)]
    """
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    counts = np.diff(np.append(starts, len(rows)))
    samples: list[int] = []
    variants = 0
    for sample, count in zip(rows[starts].tolist(), counts.tolist(), strict=True):
        if samples and (count != variants or sample in samples):
            yield tuple(samples), variants
            samples = []
        samples.append(sample)
        variants = count
    if samples:
        yield tuple(samples), variants


def _as_float32(task: Task, value: Array) -> np.ndarray:
    return np.asarray(task.to_numpy(value)).astype(np.float32)


def at_layer(origin: Task, layer: str) -> Task:
    """The task whose leaves are what `layer` returned for the batch; see `predict_by_cut`.

    Raises `LayerError` for a layer that returns no real numbers.
    """
    value = origin.join([cut.value for _, _, cut in origin.cuts])
    array = np.asarray(origin.to_numpy(value))
    if array.dtype.kind != "f":
        raise LayerError(
            f"Expected {layer} to return real numbers, got {array.dtype}: there is no gradient at"
            " it.\n  `model.layers(x)` lists the layers."
        )
    dims = input_dims(array.ndim, origin.wrapped.adapter.channel_axis_of(array.ndim))
    batch = Batch(
        leaves=(value,),
        arrays=(array.astype(np.float32),),
        names=(layer,),
        dims=(tuple("unit" if d == "feature" else d for d in dims),),
        display=(None,),
        columns=None,
        categories=None,
        batched=origin.batch.batched,
        structure=0,
    )
    task = Task(
        replace(origin.wrapped, feature_names=None), batch, origin.model, seed=origin.seed,
        schedule=origin.schedule, opened=OpenedLayer(origin, layer),
    )  # fmt: skip
    task.outputs = origin.outputs
    task.set_target(*origin.targets)
    return task
