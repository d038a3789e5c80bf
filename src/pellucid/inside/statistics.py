"""What the layers of a model do over a data set: sizes, zeros, dead units, saturated units."""

from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.adapters.protocol import LayerInfo, Operation
from pellucid.engine.schedule import Progress
from pellucid.errors import InputError, LayerError, quote_close
from pellucid.inside.preparing import as_it_is, with_layers
from pellucid.methods.inside.layers import (
    bytes_of,
    calls_of,
    dims_of,
    operations_for,
    passed,
    real_calls,
    unit_axis,
)
from pellucid.methods.inside.statistics import ACTIVATIONS, FORMS, Forms, UnitCounts, counts_of
from pellucid.task import Task
from pellucid.types import Evaluations


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """One layer over a data set; arrays have an entry a unit, `count` values each went in.

    `form` is the bounded operation that the layer ends with ("sigmoid", "relu6", ...), "" for
    none. `dead` are the units that were zero for every sample at every position, `saturated` those
    at a bound in as many of their values as was asked for; both are numbers of units.
    """

    layer: str
    kind: str
    form: str
    count: int
    means: np.ndarray
    deviations: np.ndarray
    zero_shares: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    bound_shares: np.ndarray
    dead: np.ndarray
    saturated: np.ndarray

    @property
    def units(self) -> int:
        return len(self.means)

    @property
    def mean(self) -> float:
        """Over all values of the layer."""
        return float(self.means.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation over all values of the layer: within units and between them."""
        return float(np.sqrt((self.deviations**2).mean() + self.means.var()))

    @property
    def zeros(self) -> float:
        """The share of values that are exactly zero."""
        return float(self.zero_shares.mean())


@dataclass(frozen=True, eq=False)
class ActivationStatistics:
    """The layers of a model over `samples` samples; `found["conv1"]` is one of them.

    `near` is how near to a bound counts, as a share of the range between bounds; `share` the share
    of a unit's values that have to be there for it to be called saturated.
    """

    layers: tuple[LayerStatistics, ...]
    samples: int
    near: float
    share: float
    evaluations: Evaluations
    seed: int

    def __getitem__(self, name: str) -> LayerStatistics:
        for layer in self.layers:
            if layer.layer == name:
                return layer
        known = [layer.layer for layer in self.layers]
        raise LayerError(f"No statistics of a layer {name!r}. {quote_close(name, known)}")

    def plot(self, **options: Any) -> Any:
        """Draw means, zeros, dead and saturated units layer by layer; Figure, never shown.

        See `pellucid.plots.activation_statistics`.
        """
        from pellucid.plots.statistics import activation_statistics

        return activation_statistics(self, **options)

    def __str__(self) -> str:
        """A table, a line a layer."""
        head = ("layer", "form", "units", "mean", "std", "zeros", "dead", "saturated")
        rows = [
            (
                s.layer, s.form, str(s.units), f"{s.mean:.3g}", f"{s.deviation:.3g}",
                f"{100 * s.zeros:.1f} %", str(len(s.dead)), str(len(s.saturated)) if s.form else "",
            )
            for s in self.layers
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(w) if i < 2 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, *rows)
        ]
        first = f"activations over {self.samples} sample{'s' * (self.samples != 1)}"
        return "\n".join([first, *lines])

    def to_dict(self) -> dict[str, Any]:
        """The table, and the numbers of dead and saturated units, as plain data."""
        return {
            "kind": "activation_statistics",
            "samples": self.samples,
            "near": self.near,
            "share": self.share,
            "evaluations": self.evaluations._asdict(),
            "seed": self.seed,
            "layers": [
                {
                    "layer": s.layer,
                    "kind": s.kind,
                    "form": s.form,
                    "units": s.units,
                    "mean": s.mean,
                    "std": s.deviation,
                    "zeros": s.zeros,
                    "min": float(s.lowest.min()),
                    "max": float(s.highest.max()),
                    "dead": s.dead.tolist(),
                    "saturated": s.saturated.tolist(),
                }
                for s in self.layers
            ],
        }


def statistics(
    model: Any,
    x: Any,
    layers: str | Sequence[str] | None = None,
    *,
    near: float = 0.01,
    share: float = 0.95,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> ActivationStatistics:
    """What the units of each layer do over a data set: size, zeros, dead and saturated units.

    mean, std and the share of zeros over all samples and positions of a unit;
    dead       h = 0 for all of them;
    saturated  within `near` · range of a bound for at least `share` of them

    The bounds are those of the operation that a layer ends with: 0 and 1 of a sigmoid (hard or
    not), −1 and 1 of tanh, 6 of ReLU6, and of a clip the ends that are seen in the data. Such an
    operation that is no layer's end has a line of its own. `layers` as in `activations`; None for
    all, and for a model without layers its activation operations. Returns `ActivationStatistics`;
    sums are float64, merged batch by batch, so that any number of samples streams through.
    Cost: one forward, and one of the first sample or two.

    Raises `InputError` for shares that are none, `LayerError` for an unknown layer.

    >>> found = pellucid.inside.statistics(model, x, "features")["features"]
    >>> found.form, found.units, found.count
    ('relu', 4, 160)
    """
    for name, value in (("near", near), ("share", share)):
        real = isinstance(value, int | float | np.floating) and not isinstance(value, bool)
        if not (real and 0 <= value <= 1):
            raise InputError(f"Expected {name} to be a share from 0 to 1, got {value!r}.")
    task = as_it_is(with_layers(model, x, seed=seed, batch_size=batch_size, progress=progress))
    calls = _calls(task, layers)
    operations = operations_for(task, [c.shape for c in calls])
    axes = {c.path: unit_axis(dims_of(task, c.path, c.shape or (), operations)) for c in calls}
    counts, forms = _pass(task, calls, axes, near, every=layers is None)
    kinds = {call.path: call.kind for call in calls}
    found = [
        _layer(name, kinds.get(name, "operation"), forms.get(name, ""), counts[name], share)
        for name in counts
    ]
    return ActivationStatistics(
        tuple(found), task.count, float(near), float(share), task.model.evaluations, task.seed
    )


def _calls(task: Task, layers: str | Sequence[str] | None) -> tuple[LayerInfo, ...]:
    """The calls asked for; none for a model without layers of which all is asked."""
    if layers is None and not task.layer_calls():
        return ()
    return real_calls(task, calls_of(task, layers), named=layers is not None)


def _pass(
    task: Task,
    calls: Sequence[LayerInfo],
    axes: dict[str, int],
    near: float,
    *,
    every: bool,
) -> tuple[dict[str, UnitCounts], dict[str, str]]:
    """The counts by layer, and by operation that is no layer's end, in the order of the run."""
    forms, others = _forms(task, [c.path for c in calls])
    if not every:
        others = {}
    counts: dict[str, UnitCounts] = {}

    def reduce(name: str, op: Operation, value: np.ndarray) -> tuple[str, UnitCounts] | None:
        if op.kind == "layer":
            return name, counts_of(value, axes[name], forms.get(name, ""), near)
        if op.index not in others:
            return None
        own, form = others[op.index]
        axis = task.wrapped.adapter.channel_axis_of(value.ndim) if value.ndim > 2 else -1
        return own, counts_of(value, axis % value.ndim, form, near)

    kinds = ACTIVATIONS if others else frozenset()
    row_bytes = 2 * sum(map(bytes_of, calls)) or 2**20
    for _, found in passed(task, list(axes), reduce, kinds=kinds, row_bytes=row_bytes):
        if found is not None:
            name, new = found
            counts[name] = counts[name].with_more(new) if name in counts else new
    return counts, forms | dict(others.values())


def _forms(task: Task, paths: Sequence[str]) -> tuple[dict[str, str], dict[int, tuple[str, str]]]:
    """The form each layer ends with, and by index name and form of operations that end none.

    Seen by the numbers of a run on the first sample.
    """
    first, batch = copy(task), task.batch
    first.batch = replace(
        batch,
        leaves=tuple(a[:1] for a in batch.leaves),
        arrays=tuple(a[:1] for a in batch.arrays),
    )
    seen, names = Forms(), Counter[str]()
    others: dict[int, tuple[str, str]] = {}

    def reduce(name: str, op: Operation, value: np.ndarray) -> None:
        if op.kind == "layer":
            seen.saw_layer(name, np.array(value))
            return
        seen.saw_operation(op, np.array(value))
        if op.form in FORMS:
            own = f"{name}: {op.form}" if name else op.form
            names[own] += 1
            others[op.index] = (own if names[own] == 1 else f"{own} #{names[own]}", op.form)

    for _ in passed(first, paths, reduce, kinds=ACTIVATIONS):
        pass
    return seen.of_layer, {i: own for i, own in others.items() if i not in seen.made}


def _layer(name: str, kind: str, form: str, counts: UnitCounts, share: float) -> LayerStatistics:
    count = counts.moments.count
    at_bound = (counts.at_low + counts.at_high) / count
    # A sigmoid at zero is at its bound; anything else that is always zero is off.
    dead = (counts.zeros == count) & (form not in {"sigmoid", "hard sigmoid"})
    saturated = (at_bound >= share) & ~dead & (form in FORMS - {"relu"})
    return LayerStatistics(
        layer=name,
        kind=kind,
        form=form,
        count=count,
        means=counts.moments.mean,
        deviations=np.sqrt(counts.moments.variance),
        zero_shares=counts.zeros / count,
        lowest=counts.lowest,
        highest=counts.highest,
        bound_shares=at_bound,
        dead=np.flatnonzero(dead),
        saturated=np.flatnonzero(saturated),
    )
