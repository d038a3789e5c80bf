"""The weights of a model: what they look like, and their statistics, layer by layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.adapters.kernels import KernelAxes, kernel_axes
from pellucid.errors import CapabilityError, InputError, LayerError, quote_close
from pellucid.inside.preparing import without_layers
from pellucid.model import wrap


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """One weight of one layer, `values` as the framework keeps it, float32.

    `role` is "filters", "dense", "vector" or "other"; see `filters` and `matrix`. `used_by` are the
    layers it belongs to, where its name does not tell.
    """

    name: str
    kind: str
    values: np.ndarray
    axes: KernelAxes
    used_by: tuple[str, ...] = ()

    @property
    def role(self) -> str:
        return self.axes.role

    @property
    def filters(self) -> np.ndarray:
        """The filters of a convolution `(filters, *space, channels)`, in any framework.

        Of a depthwise one each has one channel. Raises `InputError` for another weight.
        """
        output, incoming = self.axes.output, self.axes.input
        if self.role != "filters" or output is None or incoming is None:
            raise InputError(f"{self.name} of shape {self.values.shape} holds no filters.")
        if self.axes.depthwise:
            moved = np.moveaxis(self.values, (output, incoming), (0, 1))
            return moved.reshape(-1, *moved.shape[2:])[..., None]
        return np.moveaxis(self.values, (output, incoming), (0, -1))

    @property
    def matrix(self) -> np.ndarray:
        """The matrix of a dense layer `(inputs, units)`, in any framework.

        Raises `InputError` for another weight.
        """
        if self.role != "dense":
            raise InputError(f"{self.name} of shape {self.values.shape} is no matrix.")
        return self.values if self.axes.output == 1 else self.values.T

    @property
    def mean(self) -> float:
        return float(self.values.mean(dtype=np.float64))

    @property
    def deviation(self) -> float:
        return float(self.values.std(dtype=np.float64))

    @property
    def zeros(self) -> float:
        """The share of values that are exactly zero."""
        return float((self.values == 0).mean())

    def norms(self) -> np.ndarray:
        """The Euclidean norm of what goes into each filter or unit."""
        rows = self.filters if self.role == "filters" else self.matrix.T
        return np.sqrt(np.square(rows.reshape(len(rows), -1), dtype=np.float64).sum(axis=1))


@dataclass(frozen=True, eq=False)
class Weights:
    """The weights of a model by name; `found["conv1"]` is that of a layer with filters or units."""

    layers: tuple[LayerWeights, ...]
    paths: tuple[str, ...] = ()
    """Every layer of the model."""

    def __getitem__(self, name: str) -> LayerWeights:
        exact = [w for w in self.layers if w.name == name]
        inside = _inside(self.layers, name, self.paths)
        shown = [w for w in inside if w.role in ("filters", "dense")]
        for found in (exact, shown, inside):
            if found:
                return found[0]
        known = [w.name for w in self.layers]
        raise LayerError(f"No weight {name!r}. {quote_close(name, known)}")

    def __iter__(self) -> Iterator[LayerWeights]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def plot(self, name: str | None = None, **options: Any) -> Any:
        """Draw the filters or the dense weights of a layer, by default of the first that has any.

        See `pellucid.plots.filters` and `pellucid.plots.dense_weights`; Figure, never shown.
        """
        from pellucid.plots.weights import weights as drawn

        return drawn(self, name, **options)

    def __str__(self) -> str:
        """A table, a line a weight."""
        head = ("weight", "role", "shape", "mean", "std", "min", "max", "zeros")
        rows = [
            (
                w.name, w.role, "×".join(map(str, w.values.shape)), f"{w.mean:.3g}",
                f"{w.deviation:.3g}", f"{w.values.min():.3g}", f"{w.values.max():.3g}",
                f"{100 * w.zeros:.1f} %",
            )
            for w in self.layers
        ]  # fmt: skip
        widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
        return "\n".join(
            "  ".join(
                cell.ljust(w) if i < 3 else cell.rjust(w)
                for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (head, *rows)
        )

    def to_dict(self) -> dict[str, Any]:
        """The table as plain data."""
        return {
            "kind": "weights",
            "weights": [
                {
                    "name": w.name,
                    "layer_kind": w.kind,
                    "role": w.role,
                    "shape": list(w.values.shape),
                    "mean": w.mean,
                    "std": w.deviation,
                    "min": float(w.values.min()),
                    "max": float(w.values.max()),
                    "zeros": w.zeros,
                }
                for w in self.layers
            ],
        }


def weights(model: Any, layer: str | None = None) -> Weights:
    """The weights of a model, or of one layer: their role, statistics, and how they are drawn.

    A kernel is read as the framework keeps it: (out, in, space) or (space, in, out), transposed and
    depthwise ones by their layer's name; `filters` and `matrix` have one layout for all. Buffers
    such as running means are weights too. Returns `Weights`. Nothing is run.

    Raises `CapabilityError` for a model without weights to read, `LayerError` for an unknown layer,
    `InputError` where weights are not finite.

    >>> pellucid.inside.weights(model)["features"].filters.shape
    (4, 3, 3, 3)
    """
    wrapped = wrap(model)
    if not wrapped.adapter.shows_weights:
        advice = "Wrap the model itself, or for JAX the pair (function, parameters)."
        if wrapped.adapter.parts():
            advice = without_layers(wrapped)
        raise CapabilityError(
            f"This model ({wrapped.framework}, {wrapped.supports.name.lower()}) shows no weights.\n"
            f"  {advice}"
        )
    adapter = wrapped.adapter
    named = adapter.weights()
    kinds = {info.path: info.kind for info in adapter.layers()}
    owners = adapter.weight_layers
    found = []
    for name, array in named.items():
        values = np.asarray(adapter.to_numpy(array))
        if values.dtype.kind not in "fV" or not values.size:
            continue
        values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise InputError(f"The weight {name} holds NaN or infinity.")
        used = owners.get(name, ())
        kind = kinds[used[0]] if used else _kind_of(name, kinds)
        first = adapter.weight_outputs_first(name)
        axes = kernel_axes(name, kind, values.shape, outputs_first=first)
        found.append(LayerWeights(name, kind, values, axes, used))
    whole = Weights(tuple(found), tuple(kinds))
    if layer is None:
        return whole
    below = _inside(found, layer, whole.paths)
    own = tuple(w for w in found if w.name == layer or w in below)
    return replace(whole, layers=own or (whole[layer],))


def _inside(layers: Sequence[LayerWeights], path: str, paths: Sequence[str]) -> list[LayerWeights]:
    """The weights of a layer: those that say so, or whose names do."""
    used = [w for w in layers if path in w.used_by]
    below = set() if used else _below([w.name for w in layers], path, paths)
    return used or [w for w in layers if w.name in below]


def _kind_of(name: str, kinds: dict[str, str]) -> str:
    """The kind of the layer that holds a weight; "" where its name does not tell."""
    whole = [path for path in kinds if _owner(name, path) is not None]
    if whole:
        return kinds[max(whole, key=len)]
    bare = {kind for path, kind in kinds.items() if _owner(name, path.split("/")[-1]) is not None}
    return bare.pop() if len(bare) == 1 else ""


def _below(names: Sequence[str], path: str, paths: Sequence[str]) -> set[str]:
    """Which of these weights are below a layer's path.

    Names with slashes may begin with the model's own name, and a layer inside another model may
    keep the names it had alone: its last part tells it where no other layer ends in that.

    Raises `LayerError` where it may be one of several.
    """
    shared = {name.split("/")[0] for name in names}
    starts = [path, *(f"{first}/{path}" for first in shared if len(shared) == 1)]
    for start in starts:
        below = {name for name in names if name.startswith((start + "/", start + "."))}
        if below:
            return below
    last = path.split("/")[-1]
    for asked in dict.fromkeys((path, last)):
        owners = {name: _owner(name, asked) for name in names}
        known = {owner for owner in owners.values() if owner is not None}
        ends = {p for p in paths if p.split("/")[-1] == last}
        if len(known) > 1 or (known and asked != path and len(ends) > 1):
            several = ", ".join(sorted(known | ends))
            own = ", ".join(name for name in names if owners[name] is not None)
            raise LayerError(
                f"The weights of {path!r} cannot be told from those of other layers of that name:"
                f" {several}.\n  Name the weight itself: {own}."
            )
        if known:
            return {name for name, owner in owners.items() if owner is not None}
    return set()


def _owner(name: str, path: str) -> str | None:
    """The beginning of a weight's name that ends in this path, if any does."""
    if name.startswith((path + "/", path + ".")):
        return path
    segments, parts = name.split("/")[:-1], path.split("/")
    for end in range(len(parts), len(segments) + 1):
        if segments[end - len(parts) : end] == parts:
            return "/".join(segments[:end])
    return None
