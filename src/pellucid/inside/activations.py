"""What the layers of a model return for some inputs, and which of their units stand out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from pellucid.adapters.protocol import LayerInfo
from pellucid.engine.schedule import Progress
from pellucid.errors import InputError, LayerError, quote_close
from pellucid.explaining.preparing import aim
from pellucid.inputs.layout import modality
from pellucid.inside.preparing import as_it_is, with_layers
from pellucid.methods.inside.activations import contributions, maps_of, variances
from pellucid.methods.inside.layers import (
    bytes_of,
    calls_of,
    dims_of,
    operations_for,
    real_calls,
    unit_axis,
)
from pellucid.methods.inside.reach import inputs_reaching
from pellucid.task import Task
from pellucid.types import Evaluations, TargetLike

By = Literal["variance", "attribution"]

MOST_BYTES = 2**30
"""What all maps together may take, in bytes; more is refused, with the ways to ask for less."""


@dataclass(frozen=True, eq=False)
class LayerMaps:
    """What one call of one layer returned.

    `values (n, ...)` float32 in the layer's own units and layout, its axes named by `dims`; of
    `all_units` units those numbered in `units`, the first of which stands out most where `scores`
    `(units kept,)` say by how much. `contributions` `(n, units kept)` is signed, by sample, where
    units were ranked by attribution. `inputs` names the inputs that the call depends on, where the
    model has several: a shared layer's calls are numbered in the order in which they run.
    """

    layer: str
    kind: str
    dims: tuple[str, ...]
    values: np.ndarray
    units: np.ndarray
    all_units: int
    scores: np.ndarray | None = None
    contributions: np.ndarray | None = None
    inputs: tuple[str, ...] = ()

    @property
    def is_map(self) -> bool:
        """Whether each unit has a picture: a height and a width."""
        return {"height", "width"} <= set(self.dims)

    def of_unit(self, sample: int, position: int) -> np.ndarray:
        """What the unit at this place of `units` returned for one sample, without its axis."""
        return np.take(self.values[sample], position, axis=unit_axis(self.dims) - 1)

    def __str__(self) -> str:
        """Name, kind, shape."""
        axes = ", ".join(self.dims)
        kept = "" if len(self.units) == self.all_units else f", {len(self.units)} units kept"
        size = tuple(
            self.all_units if i == unit_axis(self.dims) else s
            for i, s in enumerate(self.values.shape)
        )
        of = f", of {', '.join(self.inputs)}" if self.inputs else ""
        return f"{self.layer} ({self.kind}): {size} ({axes}){kept}{of}"


@dataclass(frozen=True, eq=False)
class Activations:
    """The maps of one or many layers; `found["conv1"]` is that of a layer.

    `by` says how units were ranked, None where all were kept; `target_names` for whose score, where
    that was by attribution. `pictures (n, height, width, channels)` are of the first input that is
    a picture, `inputs` the names and pictures of all such inputs.
    """

    layers: tuple[LayerMaps, ...]
    by: By | None
    target_names: tuple[str, ...]
    inputs: tuple[tuple[str, np.ndarray], ...]
    evaluations: Evaluations
    seed: int

    @property
    def pictures(self) -> np.ndarray | None:
        return self.inputs[0][1] if self.inputs else None

    def __getitem__(self, name: str) -> LayerMaps:
        for maps in self.layers:
            if maps.layer == name:
                return maps
        known = [maps.layer for maps in self.layers]
        raise LayerError(f"No maps of a layer {name!r}. {quote_close(name, known)}")

    def __iter__(self) -> Iterator[LayerMaps]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def plot(self, sample: int = 0, **options: Any) -> Any:
        """Draw the maps of one sample, a row a layer; Figure, never shown.

        See `pellucid.plots.feature_maps`.
        """
        from pellucid.plots.maps import feature_maps

        return feature_maps(self, sample, **options)

    def __str__(self) -> str:
        """A line a layer."""
        count = len(self.layers[0].values)
        head = f"activations of {count} sample{'s' * (count != 1)}"
        if self.by is not None:
            head += f", units by {self.by}"
        return "\n  ".join([head, *map(str, self.layers)])

    def to_dict(self) -> dict[str, Any]:
        """Names, shapes and ranks as plain data; of the values mean and largest."""
        return {
            "kind": "activations",
            "by": self.by,
            "target_names": list(self.target_names),
            "evaluations": self.evaluations._asdict(),
            "seed": self.seed,
            "layers": [
                {
                    "layer": m.layer,
                    "kind": m.kind,
                    "dims": list(m.dims),
                    "inputs": list(m.inputs),
                    "shape": list(m.values.shape),
                    "units": m.units.tolist(),
                    "of": m.all_units,
                    "scores": None if m.scores is None else m.scores.tolist(),
                    "mean": float(m.values.mean(dtype=np.float64)) if m.values.size else None,
                    "max": float(m.values.max()) if m.values.size else None,
                }
                for m in self.layers
            ],
        }


def activations(
    model: Any,
    x: Any,
    layer: str | Sequence[str] | None = None,
    *,
    top: int | None = None,
    by: By = "variance",
    target: TargetLike = None,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
) -> Activations:
    """What the layers of a model return for `x`, and which of their units stand out.

    h_k(x);   by variance  Var over samples and positions of h_k;
              by attribution  mean over samples of |c_k|,  c_k = Σ over positions h_k · ∂f/∂h_k

    `layer` is a name, a list of them, or None for every layer that is run (a shared one once a
    call, `name#2`; of several arrays the first). `top` keeps that many units of each layer, ranked
    `by` "variance" or "attribution" to `target` (None: each sample's predicted class); without it
    all are kept in their order. Returns `Activations`, values float32 in the layer's units and
    layout; a final softmax or sigmoid is on, though c_k is that of the logit. Layers of whole
    numbers are left out, where not asked for by name. Batches stream through the model, and only
    what is kept is held.
    Of several inputs, each layer's `inputs` names those that change what it returns.
    Cost: one forward; with `top` one more, and by attribution two more and a backward a 24 layers;
    of several inputs, three runs on a row for each input and one more.

    Raises `InputError` where more than a gigabyte would be kept, `LayerError` for an unknown layer
    or one of whole numbers, `CapabilityError` for a model without layers.

    >>> found = pellucid.inside.activations(model, x, "features", top=2)
    >>> found["features"].values.shape, found["features"].dims
    ((2, 10, 8, 2), ('sample', 'height', 'width', 'channel'))
    """
    if by not in ("variance", "attribution"):
        raise InputError(f"Expected by to be 'variance' or 'attribution', got {by!r}.")
    whole = isinstance(top, int | np.integer) and not isinstance(top, bool)
    if top is not None and not (whole and top > 0):
        raise InputError(f"Expected top to be a whole number of 1 or more, got {top!r}.")
    task = with_layers(model, x, seed=seed, batch_size=batch_size, progress=progress)
    ranked = by if top is not None else None
    if ranked == "attribution":
        aim(task, target, each_predicted=True)
    whole = as_it_is(task)
    calls = calls_with_numbers(whole, layer)
    operations = operations_for(whole, [call.shape for call in calls])
    dims = [dims_of(whole, call.path, call.shape or (), operations) for call in calls]
    # What counts for a logit is asked of the model that returns it.
    each = _ranks(task if ranked == "attribution" else whole, calls, dims, ranked)
    order = [None if rank is None else np.argsort(-rank, kind="stable")[:top] for rank, _ in each]
    _refuse_too_much(task, calls, dims, order)
    values = maps_of(whole, calls, dims, order)
    reaching = inputs_reaching(whole, calls)
    several = len(task.batch.arrays) > 1
    layers = []
    for call, names, kept, (rank, by_sample), own in zip(
        calls, dims, values, each, order, strict=True
    ):
        count = _units(call, names)
        layers.append(
            LayerMaps(
                call.path, call.kind, names, kept,
                np.arange(count) if own is None else own, count,
                None if rank is None or own is None else rank[own],
                None if by_sample is None or own is None else by_sample[:, own].astype(np.float32),
                tuple(task.batch.names[i] for i in reaching[call.path]) if several else (),
            )
        )  # fmt: skip
    names = task.target.names if task.targets else ()
    spent = Evaluations(
        *map(sum, zip(whole.model.evaluations, task.model.evaluations, strict=True))
    )
    return Activations(tuple(layers), ranked, tuple(names), _inputs(task), spent, task.seed)


def calls_with_numbers(task: Task, layer: str | Sequence[str] | None) -> tuple[LayerInfo, ...]:
    """The calls that are meant, those that return no real numbers left out or refused."""
    return real_calls(task, calls_of(task, layer), named=layer is not None)


def pictures_of(task: Task, part: int) -> np.ndarray | None:
    """An input as a person sees it, channels last; None where it is no picture."""
    batch = task.batch
    if batch.display[part] is not None:
        return np.array(batch.display[part])
    dims = batch.dims[part]
    if modality(dims) == "image":
        return np.array(np.moveaxis(batch.arrays[part], dims.index("channel"), -1))
    return None


def _inputs(task: Task) -> tuple[tuple[str, np.ndarray], ...]:
    names = task.batch.names if len(task.batch.arrays) > 1 else ("input",)
    each = ((name, pictures_of(task, part)) for part, name in enumerate(names))
    return tuple((name, pictures) for name, pictures in each if pictures is not None)


def _ranks(
    task: Task, calls: Sequence[LayerInfo], dims: Sequence[tuple[str, ...]], by: By | None
) -> list[tuple[np.ndarray | None, np.ndarray | None]]:
    """For each layer how much every unit stands out, and what it did to each sample's score."""
    if by is None:
        return [(None, None)] * len(calls)
    if by == "variance":
        return [(found, None) for found in variances(task, calls, dims)]
    return [(np.abs(c).mean(axis=0), c) for c in contributions(task, calls, dims)]


def _units(call: LayerInfo, dims: tuple[str, ...]) -> int:
    shape = call.shape or (0,)
    return int(shape[unit_axis(dims)] or 0)


def _refuse_too_much(
    task: Task,
    calls: Sequence[LayerInfo],
    dims: Sequence[tuple[str, ...]],
    order: Sequence[np.ndarray | None],
) -> None:
    """Raise `InputError` before maps are made that would not fit beside anything else."""
    wanted = 0.0
    for call, names, own in zip(calls, dims, order, strict=True):
        share = 1.0 if own is None else len(own) / max(1, _units(call, names))
        wanted += task.count * bytes_of(call) * share
    if wanted > MOST_BYTES:
        raise InputError(
            f"The maps of {len(calls)} layers for {task.count} samples take"
            f" {wanted / 2**30:.1f} GiB, more than the {MOST_BYTES / 2**30:.0f} GiB that are"
            " held.\n"
            "  Name fewer layers, keep few units of each (top=16), or give fewer samples;"
            " pellucid.inside.statistics looks at any number of samples."
        )
