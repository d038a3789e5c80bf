"""The units that perturbation methods switch on and off: columns, groups, grids, superpixels."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np

from pellucid.errors import InputError, MissingExtraError
from pellucid.inputs.layout import space_axes

_NUMBERED = re.compile(r"(grid|superpixels)(?::(\d+))?")
_NAMED = (
    'None, "superpixels", "superpixels:80", "grid:7", an integer mask array, or (tables) groups of'
    " columns"
)
_DEFAULT_GRID = 7
_SUPERPIXELS = 50
_TRIES = 3
_NEAR = 0.1
"""How far from the number asked for, as a share of it, superpixels may stay."""


@dataclass(frozen=True)
class Features:
    """Which unit each position of one input belongs to.

    `units (n or 1, *positions)` are whole numbers from 0, −1 for positions that are never
    removed; positions are the spatial axes of images and series, the columns of tables. A sample
    may have units of its own, and another number of them.
    """

    units: np.ndarray
    names: tuple[str, ...] | None = None

    @cached_property
    def counts(self) -> np.ndarray:
        """How many units each sample has, `(n or 1,)`."""
        return self.units.reshape(len(self.units), -1).max(axis=1) + 1

    @cached_property
    def natural(self) -> bool:
        """Whether each position is a unit, in order, as the columns of a table are."""
        shared = len(self.units) == 1 and self.units.ndim == 2
        return shared and np.array_equal(self.units[0], np.arange(self.units.size))

    def of(self, sample: int) -> np.ndarray:
        """The units of one sample."""
        return self.units[sample if len(self.units) > 1 else 0]


def unit_names(features: Sequence[Features]) -> np.ndarray | None:
    """What people call the units of all inputs, one input's after the other's.

    None where the columns' own names say it, and where some units have no name.
    """
    if any(f.names is None for f in features) or all(f.natural for f in features):
        return None
    return np.array([name for f in features for name in f.names or ()])


def make_features(
    spec: Any,
    x: np.ndarray,
    dims: tuple[str, ...],
    *,
    columns: Sequence[str] | None = None,
    name: str = "x",
) -> Features:
    """The units of a batch `x` with axes `dims`.

    `spec`: None is what is natural (each column of a table, a grid of 7 along the longer side of
    an image, 7 pieces of a series); `"grid:n"` has n cells along the longer side, of a series n
    pieces of time; `"superpixels"` or `"superpixels:n"` segments each image by SLIC into about n
    (50) pieces (the nearest to n of three tries); an integer array of the shape of
    the positions, with or without the sample axis, names each position's unit (negative: never
    removed); for tables a dict `{name: columns}` or a list of lists groups columns, given by name
    or number, and leaves columns that are in no group as units of their own.

    Raises `InputError` for what fits none of these.
    """
    space = space_axes(dims)
    shape = tuple(x.shape[i] for i in space) or x.shape[1:]
    if isinstance(spec, Mapping) or (isinstance(spec, list | tuple) and _is_nested(spec)):
        return _groups(spec, shape, columns, name)
    if spec is None and not space:
        units = np.arange(int(np.prod(shape))).reshape(1, *shape)
        known = tuple(columns or ())
        return Features(units, known if len(known) == units.size else None)
    if spec is None or isinstance(spec, str):
        return _named(f"grid:{_DEFAULT_GRID}" if spec is None else spec, x, shape, space, name)
    return _from_array(spec, len(x), shape, name)


def _is_nested(spec: Sequence[Any]) -> bool:
    """Ragged lists of column names or numbers, where a rectangular list of numbers is a mask."""
    return bool(spec) and all(isinstance(g, list | tuple | set | str) for g in spec)


def _named(
    spec: str, x: np.ndarray, shape: tuple[int, ...], space: tuple[int, ...], name: str
) -> Features:
    found = _NUMBERED.fullmatch(spec)
    kind, number = (found[1], found[2]) if found else ("", None)
    if kind == "grid" and space and number != "0":
        cells = grid_cells(shape, int(number or _DEFAULT_GRID))
        return Features(_grid(shape, cells)[None], _cell_names(shape, cells))
    if kind == "superpixels" and len(space) == 2 and number != "0":
        wanted = int(number or _SUPERPIXELS)
        return Features(np.stack([_numbered(_slic(image, space, wanted)) for image in x]))
    raise InputError(
        f"features={spec!r} does not fit {name} of shape {x.shape}: expected {_NAMED}.\n"
        "  Grids want a spatial or time axis, superpixels want images."
    )


def grid_cells(shape: tuple[int, ...], cells: int) -> tuple[int, ...]:
    """The cells along each axis, as square as they get, `cells` of them along the longest one."""
    side = max(shape) / min(cells, max(shape))
    return tuple(max(1, round(length / side)) for length in shape)


def _grid(shape: tuple[int, ...], cells: tuple[int, ...]) -> np.ndarray:
    parts = [np.arange(s) * c // s for s, c in zip(shape, cells, strict=True)]
    return np.ravel_multi_index(np.meshgrid(*parts, indexing="ij"), cells)


def _cell_names(shape: tuple[int, ...], cells: tuple[int, ...]) -> tuple[str, ...]:
    """Pieces of a series by their steps, cells of a grid by their place in it."""
    if len(shape) == 1:
        borders = [-(-i * shape[0] // cells[0]) for i in range(cells[0] + 1)]
        return tuple(f"steps {a} to {b - 1}" for a, b in pairwise(borders))
    return tuple(f"cell {', '.join(map(str, place))}" for place in np.ndindex(*cells))


def _slic(image: np.ndarray, space: tuple[int, ...], wanted: int) -> np.ndarray:
    """Superpixels of one image of any channel count (Achanta et al. 2012)."""
    try:
        from skimage.segmentation import slic
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-image", "images", 'features="superpixels"') from error
    last = np.moveaxis(image, 0, -1) if space[0] == 2 else image
    low, high = float(last.min()), float(last.max())
    scaled = (last - low) / (high - low) if high > low else np.zeros_like(last)
    asked, best = wanted, None
    for _ in range(_TRIES):
        found = np.asarray(
            slic(
                scaled.astype(np.float64), n_segments=asked, start_label=0, channel_axis=-1,
                convert2lab=last.shape[-1] == 3,
            )
        )  # fmt: skip
        miss = abs(len(np.unique(found)) - wanted)
        if best is None or miss < best[0]:
            best = miss, found
        if miss <= _NEAR * wanted:
            break
        # SLIC merges small pieces, so that it returns fewer than it was asked for.
        asked = max(1, round(asked * wanted / max(len(np.unique(found)), 1)))
    assert best is not None
    return best[1]


def _from_array(spec: Any, count: int, shape: tuple[int, ...], name: str) -> Features:
    units = np.asarray(spec)
    if units.dtype.kind not in "iu" or units.shape not in {shape, (1, *shape), (count, *shape)}:
        raise InputError(
            f"The features of {name} do not fit: expected {_NAMED}, the mask of shape {shape} or"
            f" {(count, *shape)}, got {units.dtype} of shape {units.shape}."
        )
    wide = units.astype(np.int64).reshape(-1, *shape)
    if (wide.reshape(len(wide), -1).max(axis=1) < 0).any():
        raise InputError(f"The features of {name} are all negative: nothing can be removed.")
    return Features(np.stack([_numbered(own) for own in wide]))


def _numbered(units: np.ndarray) -> np.ndarray:
    """The same units under the numbers 0, 1, 2 ... without gaps; negative ones become −1."""
    labels, numbers = np.unique(units, return_inverse=True)
    return np.maximum(numbers.reshape(units.shape) - int((labels < 0).sum()), -1)


def _groups(
    spec: Any, shape: tuple[int, ...], columns: Sequence[str] | None, name: str
) -> Features:
    if len(shape) != 1:
        raise InputError(f"Groups of columns are for tables; {name} has positions {shape}.")
    groups = [
        [g] if isinstance(g, str | int | np.integer) else list(g)
        for g in (spec.values() if isinstance(spec, Mapping) else spec)
    ]
    if not all(groups):
        raise InputError(f"A group of columns of {name} is empty: leave it out, got {spec!r}.")
    units = np.full(shape[0], -1)
    for number, group in enumerate(groups):
        for column in group:
            position = _column(column, shape[0], columns, name)
            if units[position] >= 0:
                raise InputError(f"The column {column!r} of {name} is in two groups.")
            units[position] = number
    labels = (
        list(map(str, spec))
        if isinstance(spec, Mapping)
        else ["+".join(_label(c, columns) for c in group) for group in groups]
    )
    alone = np.flatnonzero(units < 0)
    units[alone] = len(groups) + np.arange(len(alone))
    labels += [_label(int(i), columns) for i in alone]
    return Features(units[None], tuple(labels))


def _label(column: Any, columns: Sequence[str] | None) -> str:
    if isinstance(column, str):
        return column
    return f"feature {column}" if columns is None else str(columns[int(column)])


def _column(column: Any, count: int, columns: Sequence[str] | None, name: str) -> int:
    if isinstance(column, str) and columns is not None and column in columns:
        return list(columns).index(column)
    numbered = isinstance(column, int | np.integer) and not isinstance(column, bool)
    number = int(column) if numbered else -1  # type: ignore[arg-type]
    if 0 <= number < count:
        return number
    raise InputError(
        f"No column {column!r} in {name}: expected a number from 0 to {count - 1}"
        + (f" or one of {', '.join(columns[:20])}." if columns else ".")
    )
