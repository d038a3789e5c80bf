"""Layers of a task and what they return: which are meant, how their axes are read, one pass."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import prod
from typing import Any, TypeVar

import numpy as np

from pellucid.adapters.derived import numbered
from pellucid.adapters.protocol import LAYERS_ONLY, LayerInfo, Operation, OperationInfo
from pellucid.errors import CapabilityError, InputError, LayerError
from pellucid.inputs.layout import input_dims, space_axes
from pellucid.running.outputs import model_errors
from pellucid.task import Task
from pellucid.types import Array, is_array, shape_of

T = TypeVar("T")

HELD_AT_ONCE = 2**28
"""Bytes of all layers' outputs in one micro-batch, at most, where more than one row fits."""


def calls_of(task: Task, layer: str | Sequence[str] | None) -> tuple[LayerInfo, ...]:
    """The calls of layers that are meant, in the order of the run; all of them for None.

    Raises `CapabilityError` for a model without layers, `LayerError` for an unknown name.
    """
    calls = task.layer_calls()
    if not calls:
        raise CapabilityError(
            "This model shows no layers, so nothing can be seen at one.\n"
            "  Wrap the Keras model or torch module itself, in place of a function or saved graph."
        )
    if layer is None:
        return calls
    names = [layer] if isinstance(layer, str) else list(layer)
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"Expected layer to be a layer's name or a list of them, got {layer!r}.")
    paths = [task.layer(name) for name in names]
    by_path = {call.path: call for call in calls}
    absent = [path for path in paths if path not in by_path]
    if absent:
        raise LayerError(
            f"The layer {absent[0]!r} is not run on these inputs.\n"
            f"  Those that are: {', '.join(by_path)}."
        )
    return tuple(by_path[path] for path in dict.fromkeys(paths))


def real_calls(task: Task, calls: Sequence[LayerInfo], *, named: bool) -> tuple[LayerInfo, ...]:
    """The calls that return real numbers, by a run on the first sample.

    Raises `LayerError` for another one that was `named`.
    """
    first = tuple(a[:1] for a in task.x)
    real: dict[str, str] = {}

    def see(op: Operation) -> Array:
        value = op()
        if is_array(value) and len(shape_of(value)) > 1:
            real[numbered(op)] = np.asarray(task.to_numpy(value)).dtype.kind
        return value

    paths = tuple(call.path for call in calls)
    with model_errors(task.model, first, task.model.adapter):
        task.model.run(first, intercept=see, layers=paths, kinds=LAYERS_ONLY)
    other = [path for path in paths if real.get(path) not in _REAL]
    if other and (named or len(other) == len(paths)):
        raise LayerError(
            f"Expected {other[0]} to return real numbers for each sample, as an array; it does not."
            "\n  `model.layers(x)` lists the layers with their shapes."
        )
    return tuple(call for call in calls if call.path not in other)


_REAL = frozenset({"f", "V"})
"""NumPy's kinds of real numbers; what it does not know (bfloat16) is called V."""


def dims_of(
    task: Task, layer: str, shape: Sequence[int | None], operations: Sequence[OperationInfo]
) -> tuple[str, ...]:
    """Names for the axes of the `shape` that a call of a layer returns, the sample axis first.

    Where channels come first, an output of three axes is channels and steps below a convolution,
    steps and channels otherwise (an LSTM, a transformer): `operations` tell which. Height and width
    are axes in about the proportions of the input; others, such as tokens by heads, have numbers.
    """
    axis = task.wrapped.adapter.channel_axis_of(len(shape))
    if len(shape) == 3 and axis == 1 and not _is_convolved(layer, operations):
        axis = -1
    names = input_dims(len(shape), axis)
    space = space_axes(names)
    if len(space) > 1 and not _looks_like_an_input(task, tuple(shape[i] or 0 for i in space)):
        names = tuple(f"axis_{i}" if i in space else d for i, d in enumerate(names))
    return tuple("unit" if d == "feature" else d for d in names)


def _looks_like_an_input(task: Task, grid: tuple[int, ...]) -> bool:
    """Whether a grid is a third to three times as long, for its width, as an input.

    Without such an input there is nothing to compare with, and a grid is taken for one.
    """
    sizes = [
        tuple(array.shape[i] for i in space_axes(dims))
        for array, dims in zip(task.batch.arrays, task.batch.dims, strict=True)
    ]
    alike = [size for size in sizes if len(size) == len(grid)]
    return not alike or any(
        1 / 3 <= (a * height) / (b * width) <= 3
        for size in alike
        for a, b, height, width in zip(grid, grid[1:], size[1:], size, strict=False)
    )


def unit_axis(dims: Sequence[str]) -> int:
    """The axis along which a layer has its units: channels, or the last where there are none."""
    return dims.index("channel") if "channel" in dims else len(dims) - 1


def _is_convolved(layer: str, operations: Sequence[OperationInfo]) -> bool:
    """Whether the last operation with weights up to the layer's end is a convolution."""
    path, _, number = layer.partition("#")
    below = (path + "/", path + ".")
    inside = [
        op.index
        for op in operations
        if op.call == int(number or 1) and (op.path == path or op.path.startswith(below))
    ]
    last = max(inside, default=-1)
    deciding = [op for op in operations if op.index <= last and _decides(op)]
    return bool(deciding) and deciding[-1].form == "convolution"


def _decides(op: OperationInfo) -> bool:
    return op.form in {"convolution", "dense", "layer_norm"} or op.kind in {
        "rnn", "lookup", "attention", "composite",
    }  # fmt: skip


def operations_for(
    task: Task, shapes: Iterable[Sequence[int | None] | None]
) -> tuple[OperationInfo, ...]:
    """The operations of one run on the first sample, where `dims_of` has to know them."""
    ranks = {len(shape) for shape in shapes if shape is not None}
    if 3 not in ranks or task.wrapped.adapter.channel_axis_of(3) != 1:
        return ()
    return task.model.operations(tuple(a[:1] for a in task.x))


def bytes_of(call: LayerInfo) -> int:
    """Bytes of what a layer returns for one sample, as float32."""
    return 0 if call.shape is None else 4 * prod(s or 1 for s in call.shape[1:])


def passed(
    task: Task,
    paths: Sequence[str],
    reduce: Callable[[str, Operation, np.ndarray], T],
    *,
    kinds: frozenset[str] = frozenset(),
    row_bytes: int = 1,
) -> Iterator[tuple[str, T]]:
    """One forward pass over all samples: `reduce(name, operation, values)` of each layer's output.

    `values (m, ...)` are those of a micro-batch, and are let go afterwards. Operations of `kinds`
    are shown too, under their path.
    """
    wanted = set(paths)

    def evaluate(start: int, stop: int) -> list[tuple[str, T]]:
        leaves, rows = tuple(a[start:stop] for a in task.x), np.arange(start, stop)
        seen: list[tuple[str, T]] = []

        def see(op: Operation) -> Array:
            value = op()
            name = numbered(op)
            # An adapter may show operations of other kinds too.
            asked = name in wanted if op.kind == "layer" else op.kind in kinds
            if asked and is_array(value) and len(shape_of(value)):
                seen.append((name, reduce(name, op, np.asarray(task.to_numpy(value)))))
            return value

        with model_errors(task.model, leaves, task.model.adapter, rows):
            task.model.run(leaves, intercept=see, layers=tuple(paths), kinds=kinds | LAYERS_ONLY)
        return seen

    at_most = max(1, HELD_AT_ONCE // max(1, row_bytes))
    for _, _, seen in task.schedule.run(task.count, evaluate, key="layers", at_most=at_most):
        yield from seen


def in_float32(value: Any) -> np.ndarray:
    """A layer's output as float32, and a copy: a framework may use its memory again."""
    return np.array(value, dtype=np.float32)
