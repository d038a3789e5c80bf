"""How much of an input a layer's units see, where, and how far apart."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.engine.schedule import Progress
from pellucid.errors import InputError
from pellucid.inputs.layout import space_axes
from pellucid.inside.activations import pictures_of
from pellucid.inside.preparing import as_it_is, with_layers
from pellucid.methods.inside.field_gradients import Question, intervals_by_gradients
from pellucid.methods.inside.layers import calls_of, dims_of, operations_for, real_calls
from pellucid.methods.inside.reach import inputs_reaching
from pellucid.methods.inside.receptive import lines_seen
from pellucid.task import Task
from pellucid.types import Evaluations


@dataclass(frozen=True, eq=False)
class ReceptiveField:
    """What the units of a layer see of an input, along each of its axes (`axes`).

    `size`, `stride` and `start` are in places of the input: how many a unit sees, how far those of
    neighbouring units lie apart, and where the middle of the first unit's field lies (it may lie
    before the input, by padding, or between two places). What one end alone shows is carried on by
    the stride; NaN stands for what every unit's being cut off at the input's borders hides, `whole`
    for axes of which every unit sees all. `intervals`
    `(places of the layer, 2)` are the first and last place seen, for each axis (−1 for none).
    `part` and `input_name` say of which input, `pictures` are that input's. `by_gradients` says
    how it was measured, by gradients or by changing each line, `evaluations` what that took.
    """

    layer: str
    axes: tuple[str, ...]
    input_size: tuple[int, ...]
    places: tuple[int, ...]
    size: tuple[float, ...]
    stride: tuple[float, ...]
    start: tuple[float, ...]
    whole: tuple[bool, ...]
    intervals: tuple[np.ndarray, ...]
    draws: int
    by_gradients: bool
    pictures: np.ndarray | None
    evaluations: Evaluations
    seed: int
    part: int = 0
    input_name: str = ""
    """Empty where the model has one input."""

    def box(self, unit: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        """First and last place that the unit at this place of the layer sees, for each axis."""
        if len(unit) != len(self.axes) or any(
            not 0 <= u < p for u, p in zip(unit, self.places, strict=True)
        ):
            raise InputError(f"Expected a place within {self.places} of {self.layer}, got {unit}.")
        rows = [i[u] for i, u in zip(self.intervals, unit, strict=True)]
        return tuple((int(low), int(high)) for low, high in rows)

    def plot(self, unit: tuple[int, ...] | None = None, **options: Any) -> Any:
        """Draw what a unit sees over the input, by default the one in the middle; Axes.

        See `pellucid.plots.receptive_field`.
        """
        from pellucid.plots.receptive import receptive_field as drawn

        return drawn(self, unit, **options)

    def __str__(self) -> str:
        """One line."""
        return f"{self.said}; {self.spent} evaluations"

    @property
    def said(self) -> str:
        """What was found, in words."""
        parts = []
        for i, axis in enumerate(self.axes):
            said = f"{self.size[i]:g} of {self.input_size[i]}"
            if (self.intervals[i] < 0).all():
                said = f"nothing of {self.input_size[i]}"
            elif np.isnan(self.size[i]):
                said = f"cut off at the borders of {self.input_size[i]}"
            if self.whole[i]:
                said = f"all {self.input_size[i]}"
            stride = "" if np.isnan(self.stride[i]) else f", stride {self.stride[i]:g}"
            parts.append(f"{axis} {said}{stride}")
        where = f" in the input {self.input_name}" if self.input_name else ""
        return f"receptive field of {self.layer}{where}: {'; '.join(parts)}"

    @property
    def spent(self) -> int:
        """Forward and backward passes of one row each, all together."""
        return sum(self.evaluations)

    def to_dict(self) -> dict[str, Any]:
        """Plain data; None for what is not known."""

        def plain(values: tuple[float, ...]) -> list[float | None]:
            return [None if np.isnan(v) else float(v) for v in values]

        return {
            "kind": "receptive_field",
            "layer": self.layer,
            "part": self.part,
            "input_name": self.input_name,
            "axes": list(self.axes),
            "input_size": list(self.input_size),
            "places": list(self.places),
            "size": plain(self.size),
            "stride": plain(self.stride),
            "start": plain(self.start),
            "whole": list(self.whole),
            "intervals": [i.tolist() for i in self.intervals],
            "draws": self.draws,
            "by_gradients": self.by_gradients,
            "evaluations": self.evaluations._asdict(),
            "seed": self.seed,
        }


def receptive_field(
    model: Any,
    x: Any,
    layer: str,
    *,
    part: int | None = None,
    draws: int = 3,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> ReceptiveField:
    """Size, stride and middle of what the units of a layer see of an input, measured.

    s = max over units (last line seen − first line seen + 1),   stride = Δ middle / Δ unit

    No operation has to be known, and what really happens in a run counts. A unit sees the lines
    of the input (rows, columns, steps) for which it has a gradient, at any of `draws` random inputs
    as wide as the data. Units at both ends, in the middle and where fields begin to be cut off are
    asked; the others follow where all of those lie as windows that slide evenly do, and are asked
    too where not. Then all is changed that the first, middle and last unit do not see: if one of
    them changes by more than rounding, it has no gradient for what it sees. So too for inputs of
    whole numbers: each line is changed by itself, and a unit sees it where its layer's output
    changes in any draw. Exact for convolutions, pools and whatever else looks at boxes, unless
    chance hides a border in every draw (a ReLU that is off, a maximum elsewhere); attention and
    norms over positions see all. Where a unit has a gradient, or sums, over all of an input, what
    counts less than rounding beside the largest (2e-6 in float32) is not seen.
    For a layer without positions the field is that of all its units.
    `part` is the number of the input, by default the first with spatial axes or steps that the
    layer depends on (each of several inputs is drawn anew to find out); others stay as in the first
    sample. Returns a `ReceptiveField`.
    Cost: some 12 to 40 evaluations of one row, whatever the size of the input; `draws` for each
    place of the layer where windows do not slide evenly, for each line of the input without
    gradients; with several such inputs and no `part`, `draws` more for each input, and for none.

    Raises `InputError` for an input without such axes or of whole numbers that are all the same,
    `LayerError` for an unknown layer.

    >>> print(pellucid.inside.receptive_field(model, x, "features"))
    receptive field of features: height 3 of 12, stride 1; width 3 of 10, stride 1; 23 evaluations
    """
    whole = isinstance(draws, int | np.integer) and not isinstance(draws, bool)
    if not (whole and draws > 0):
        raise InputError(f"Expected draws to be a whole number of 1 or more, got {draws!r}.")
    task = as_it_is(with_layers(model, x, seed=seed, batch_size=batch_size, progress=progress))
    spatial = _spatial(task, part)
    (call,) = real_calls(task, calls_of(task, layer), named=True)
    number = spatial[0]
    if len(spatial) > 1:
        reaching = inputs_reaching(task, (call,), draws=int(draws))[call.path]
        number = next((i for i in spatial if i in reaching), number)
    shape = tuple(size or 1 for size in call.shape or ())
    dims = dims_of(task, call.path, shape, operations_for(task, [shape]))
    own = task.batch.dims[number]
    axes = space_axes(own)
    positions = tuple(i for i, d in enumerate(dims) if i > 0 and d not in ("channel", "unit"))
    matching = len(positions) == len(axes)
    kept = tuple((p,) for p in positions) if matching else (positions,) * len(axes)
    asked = Question(call.path, shape, number, axes, kept, matching, int(draws))
    length = [task.batch.arrays[number].shape[a] for a in axes]
    smooth = task.wrapped.supports >= Tier.DIFFERENTIABLE
    intervals = intervals_by_gradients(task, asked) if smooth else None
    by_gradients = intervals is not None
    if intervals is None:
        seen = lines_seen(task, call.path, number, axes, kept, draws=int(draws))
        intervals = [one.intervals for one in seen]
    found = [
        _measured(own, size, in_order=matching) for own, size in zip(intervals, length, strict=True)
    ]
    return ReceptiveField(
        layer=call.path,
        axes=tuple(own[a] for a in axes),
        input_size=tuple(length),
        places=asked.counts,
        size=tuple(f[0] for f in found),
        stride=tuple(f[1] for f in found),
        start=tuple(f[2] for f in found),
        whole=tuple(f[3] for f in found),
        intervals=tuple(intervals),
        draws=int(draws),
        by_gradients=by_gradients,
        pictures=pictures_of(task, number) if len(axes) == 2 else None,
        evaluations=task.model.evaluations,
        seed=task.seed,
        part=number,
        input_name=task.batch.names[number] if len(task.batch.arrays) > 1 else "",
    )


def _spatial(task: Task, part: int | None) -> list[int]:
    """The inputs that may be asked about: those with spatial axes or steps, or the one named."""
    spatial = [i for i, dims in enumerate(task.batch.dims) if space_axes(dims)]
    if part is None and spatial:
        return spatial
    if part is None or part not in spatial:
        shapes = ", ".join(str(a.shape) for a in task.batch.arrays)
        raise InputError(
            f"Expected an input with rows and columns, or steps, got {shapes}"
            f"{'' if part is None else f' and part={part}'}.\n"
            "  A table has no order in which a unit could see a part of it."
        )
    return [part]


def _measured(
    intervals: np.ndarray, length: int, *, in_order: bool
) -> tuple[float, float, float, bool]:
    """Size, stride, start, and whether all see all, along one axis."""
    low, high = intervals.T
    nothing = low < 0
    whole = bool(((low == 0) & (high == length - 1)).all())
    if whole:
        return float(length), np.nan, np.nan, True
    size = high - low + 1
    if not in_order:
        return float(size.max()) if not nothing.all() else np.nan, np.nan, np.nan, False
    # A field cut off at one border still shows its other end.
    lows, highs = (
        np.flatnonzero((low > 0) & ~nothing),
        np.flatnonzero((high < length - 1) & ~nothing),
    )
    free = np.intersect1d(lows, highs)
    # Padding on the way cuts fields off too; a whole one is as large as any.
    free = free[size[free] == size[free].max(initial=0)]
    stride = np.nan
    for ends, where in (((low + high) / 2, free), (low, lows), (high, highs)):
        if len(where) > 1:
            stride = float(ends[where[-1]] - ends[where[0]]) / float(where[-1] - where[0])
            break
    if len(free):
        a = b = int(free[0])
        largest = float(size[free].max())
    elif len(lows) and len(highs) and np.isfinite(stride):
        a, b = int(lows[0]), int(highs[-1])
        largest = float(high[b]) + stride * (a - b) - float(low[a]) + 1
    else:
        return np.nan, stride, np.nan, False
    start = float(low[a]) + (float(size[a] if a == b else largest) - 1) / 2 - stride * a
    return largest, stride, start, False
