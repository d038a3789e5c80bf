"""What a layer returns over a data set, gathered in micro-batches, one vector a sample."""

from dataclasses import dataclass
from math import prod

import numpy as np

from pellucid.adapters.protocol import LAYERS_ONLY, Operation
from pellucid.errors import CapabilityError, InputError, LayerError
from pellucid.inputs.layout import space_axes
from pellucid.inputs.map_layout import read_map
from pellucid.methods.inside.layers import dims_of, operations_for, unit_axis
from pellucid.running.outputs import check_outputs, model_errors, single_output
from pellucid.task import Task
from pellucid.types import Array, shape_of

MOST_BYTES = 2 * 2**30
"""What the vectors of all samples may take."""

POOLING = ("mean", "max", "flatten")

INPUT, OUTPUT = "input", "output"
"""Words for what is not inside: the data as it comes, and what the model makes of it."""


@dataclass(frozen=True)
class LayerValues:
    """`vectors (n, d)` float32 of one layer, and the model's `outputs (n, classes)` or None.

    `how` says in words what was made of the layer's own shape.
    """

    vectors: np.ndarray
    outputs: np.ndarray | None
    layer: str
    how: str


def channel_axis(task: Task, layer: str, shape: tuple[int, ...]) -> int:
    """The axis of the channels in what a layer returned, batch axis counted.

    That of a feature map over an input; otherwise the last, as of tokens and units. Which of the
    two an output of three axes is, `dims_of` says.
    """
    if len(shape) == 3 and layer not in {INPUT, OUTPUT}:
        return unit_axis(dims_of(task, layer, shape, operations_for(task, [shape])))
    for array, dims in zip(task.batch.arrays, task.batch.dims, strict=True):
        size = tuple(array.shape[a] for a in space_axes(dims))
        if size and len(shape) == len(size) + 2:
            layout = read_map(shape, size, task.wrapped.adapter.channel_axis_of(len(shape)))
            if layout is not None:
                return layout.channel
    return len(shape) - 1


def layer_below_output(task: Task) -> str:
    """The last layer that returns something else than as many numbers as the model does.

    As a rule what the classifier at the top reads. The inputs where a model shows no layers.
    """
    try:
        calls = sorted(task.layer_calls(), key=lambda call: call.order)
    except CapabilityError:
        return INPUT
    sizes = [None if c.shape is None else c.shape[1:] for c in calls]
    if not calls or sizes[-1] is None:
        return INPUT
    for call, size in zip(reversed(calls), reversed(sizes), strict=True):
        if size and None not in size and size != sizes[-1]:
            return call.path
    return INPUT


def layer_values(task: Task, layer: str, rows: np.ndarray, *, pooling: str = "mean") -> LayerValues:
    """What `layer` returns for the samples `rows` of the task, one vector a sample.

    Maps `(positions, channels)` are averaged over their positions (`pooling="mean"`), reduced to
    the largest value of each channel ("max"), or laid out as they are ("flatten"). `layer` is a
    full path, "input" or "output".

    Raises `InputError` for a pooling that there is not, for more numbers than memory should hold,
    and for NaN in the input where that is asked for; `LayerError` for a layer that a run does not
    reach or that returns no real numbers.
    """
    if pooling not in POOLING:
        raise InputError(f"Expected pooling to be one of {POOLING}, got {pooling!r}.")
    gathered = _Gathered(task, layer, pooling, len(rows))

    def evaluate(start: int, stop: int) -> tuple[np.ndarray, np.ndarray | None]:
        return gathered.of(rows[start:stop])

    parts = [found for _, _, found in task.schedule.run(len(rows), evaluate, key="layer")]
    outputs = [o for _, o in parts if o is not None]
    return LayerValues(
        vectors=np.concatenate([v for v, _ in parts]),
        outputs=np.concatenate(outputs) if len(outputs) == len(parts) else None,
        layer=layer,
        how=gathered.how,
    )


class _Gathered:
    """Vectors of one micro-batch after the other."""

    def __init__(self, task: Task, layer: str, pooling: str, count: int) -> None:
        self.task, self.layer, self.pooling, self.count = task, layer, pooling, count
        self.how = ""
        self._axes: dict[tuple[int, ...], int] = {}

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        task, held = self.task, []
        leaves, adapter = task.take(task.x, rows), task.model.adapter

        def keep(op: Operation) -> Array:
            value = op()
            held.append(value)
            return value

        inner = self.layer not in {INPUT, OUTPUT}
        asked = {"intercept": keep, "layers": (self.layer,), "kinds": LAYERS_ONLY} if inner else {}
        with model_errors(task.model, leaves, adapter, rows):
            outputs = task.model.run(leaves, **asked)
        check_outputs(outputs, len(rows), adapter, rows)
        outputs = _matrix(task, single_output(outputs))
        if self.layer == INPUT:
            values = [np.asarray(task.to_numpy(a)) for a in leaves]
        elif self.layer == OUTPUT:
            if outputs is None:
                raise LayerError(
                    "The model returns several arrays, or arrays of more axes: name a layer."
                )
            values = [outputs]
        else:
            values = [task.to_numpy(self._one(held, len(rows)))]
        return self._vectors(values, rows), outputs

    def _one(self, held: list[Array], count: int) -> Array:
        """The value of the call asked for: the first, where `#2` does not ask for another."""
        if not held:
            raise LayerError(f"The layer {self.layer!r} is not called in a run of these inputs.")
        value = held[0]
        if shape_of(value)[:1] != (count,):
            raise LayerError(
                f"The layer {self.layer!r} returns shape {shape_of(value)}: expected one row for"
                f" each of the {count} samples."
            )
        return value

    def _vectors(self, values: list[np.ndarray], rows: np.ndarray) -> np.ndarray:
        vectors = np.concatenate([self._vector(v) for v in values], axis=1)
        if vectors.dtype.kind not in "fiub":
            raise LayerError(f"{self.layer} returns {vectors.dtype}: expected real numbers.")
        if vectors.shape[1] * self.count * 4 > MOST_BYTES:
            raise InputError(
                f"{self.count} samples of {vectors.shape[1]} numbers each are more than"
                f" {MOST_BYTES // 2**30} GiB.\n  pooling='mean' takes one number a channel;"
                " at_most= draws a sample of the rows."
            )
        vectors = vectors.astype(np.float32)
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all() and self.layer == INPUT:
            raise InputError(
                f"The input holds NaN or infinity in the rows {rows[~finite][:20].tolist()}, so it"
                " cannot be laid out as it is.\n  Fill in what is missing, leave these rows out, or"
                ' name a layer ("output" always is one); of a pipeline that fills in by itself'
                " embed_vectors takes what its first steps make, pipeline[:-1].transform(x)."
            )
        if not finite.all():
            raise LayerError(
                f"{self.layer} returns NaN or infinity for the rows {rows[~finite][:20].tolist()}."
            )
        return vectors

    def _vector(self, value: np.ndarray) -> np.ndarray:
        if value.ndim < 3 or self.pooling == "flatten":
            flat = value.reshape(len(value), -1)
            if value.ndim >= 3:
                self.how = f"all {' × '.join(map(str, value.shape[1:]))} values"
            else:
                self.how = f"all {flat.shape[1]} values"
            return flat
        shape = value.shape[1:]
        if shape not in self._axes:
            self._axes[shape] = channel_axis(self.task, self.layer, value.shape)
        axis = self._axes[shape]
        others = tuple(a for a in range(1, value.ndim) if a != axis)
        positions = prod(value.shape[a] for a in others)
        self.how = f"{self.pooling} over {positions} positions of {value.shape[axis]} channels"
        if self.pooling == "max":
            return value.max(axis=others)
        return value.mean(axis=others, dtype=np.float64)


def _matrix(task: Task, outputs: object) -> np.ndarray | None:
    """The outputs as `(n, classes)`, where that is what they are."""
    shape = shape_of(outputs)
    if len(shape) not in {1, 2}:
        return None
    return task.to_numpy(outputs).astype(np.float32).reshape(shape[0], -1)
