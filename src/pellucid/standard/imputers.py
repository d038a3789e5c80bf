"""What stands where a feature was removed: the ways that the standard judges with."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError, quote_nearest
from pellucid.inputs.baselines import make_baseline
from pellucid.inputs.batch import Batch
from pellucid.inputs.fills import inpaint
from pellucid.inputs.layout import space_axes
from pellucid.inputs.noise import draw_normal, seed_of
from pellucid.standard.stencil import neighbour_means

NAMES = ("dataset", "blur", "mean", "zeros", "linear", "inpaint")
SPATIAL = frozenset({"blur", "linear", "inpaint"})
"""Those that want spatial axes."""


class Imputer(ABC):
    """Fills removed positions of one input; `name` is what its scores are listed under."""

    name: str

    @property
    @abstractmethod
    def rows(self) -> int:
        """How many fillings each copy is evaluated with, and averaged over."""

    @abstractmethod
    def fill(self, samples: np.ndarray, draws: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Copies of these samples where only `kept (m, *positions)` stays, `(m, ...)`."""


@dataclass(frozen=True)
class Reference(Imputer):
    """A fixed other value for everything, one or more a sample: `others (n, rows, ...)`."""

    name: str
    x: np.ndarray
    dims: tuple[str, ...]
    others: np.ndarray

    @property
    def rows(self) -> int:
        return self.others.shape[1]

    def fill(self, samples: np.ndarray, draws: np.ndarray, kept: np.ndarray) -> np.ndarray:
        wide = np.expand_dims(kept, self.dims.index("channel")) if "channel" in self.dims else kept
        return np.where(wide, self.x[samples], self.others[samples, draws])


@dataclass(frozen=True)
class Painted(Imputer):
    """Made of what stays of the sample itself, anew for each copy."""

    name: str
    x: np.ndarray
    dims: tuple[str, ...]
    noise: np.ndarray
    """What is added to what "linear" fills in, the same for all samples, like one of them."""

    @property
    def rows(self) -> int:
        return 1

    def fill(self, samples: np.ndarray, draws: np.ndarray, kept: np.ndarray) -> np.ndarray:
        own = self.x[samples]
        if self.name == "inpaint":
            return inpaint(own, kept, self.dims)
        filled = neighbour_means(own, kept, self.dims)
        wide = np.expand_dims(kept, self.dims.index("channel")) if "channel" in self.dims else kept
        return np.where(wide, own, filled + self.noise).astype(own.dtype)


def default_names(dims: tuple[str, ...], rows: int) -> tuple[str, ...]:
    """Two imputers for an input: other samples, and its own blur (or the mean of the data)."""
    own = "blur" if space_axes(dims) else "mean"
    return ("dataset", own) if rows > 1 else (own, "zeros")


def is_alone(batch: Batch, background: Sequence[np.ndarray]) -> bool:
    """Whether one sample is all that is known of the data."""
    pairs = zip(batch.arrays, background, strict=True)
    return len(background[0]) == 1 and all(np.array_equal(a, rows) for a, rows in pairs)


def fillings(name: str, dims: tuple[str, ...]) -> int:
    """How many fillings a copy is averaged over by the imputer of this name."""
    return 4 if name == "dataset" and not space_axes(dims) else 1


def make_imputer(
    name: str,
    x: np.ndarray,
    dims: tuple[str, ...],
    background: np.ndarray,
    *,
    seed: int,
    whole: bool = False,
) -> Imputer:
    """The imputer of this name for a batch `x (n, ...)`, with `background (rows, ...)` as data.

    "dataset": rows of the background, drawn for each sample from the seed and its content, four
    for a table, one for all else; "blur": the sample's own, sigma an eighth of its longest side;
    "mean": that of the background, the nearest whole number where x holds no others (`whole`);
    "zeros"; "linear": each removed position the mean of its eight neighbours, diagonal ones half as
    heavy, plus noise of a tenth of the spread of the data (Rong et al. 2022, section 4.2);
    "inpaint": smoothly from what surrounds it. Those of `SPATIAL` want spatial axes.

    Raises `InputError` for another name and where the input has no such axes.
    """
    if name not in NAMES:
        raise InputError(
            f"No imputer {name!r}: expected one of {', '.join(NAMES)}. {quote_nearest(name, NAMES)}"
        )
    if name in SPATIAL and not space_axes(dims):
        raise InputError(f"The imputer {name!r} is for images and series, not for axes {dims}.")
    if name in {"linear", "inpaint"}:
        generator = np.random.default_rng([seed, 41])
        noise = 0.1 * spread_of(background, dims) * draw_normal(generator, x.shape[1:], dims[1:])
        return Painted(name, x, dims, noise)
    if name == "dataset":
        rows = fillings(name, dims)
        drawn = [_drawn(sample, dims, background, rows, seed) for sample in x]
        return Reference(name, x, dims, np.stack(drawn))
    if name == "mean":
        mean = background.mean(axis=0, keepdims=True)
        if whole or x.dtype.kind != "f":
            mean = np.rint(mean)
        others: Any = np.broadcast_to(mean.astype(x.dtype), x.shape)
    else:
        others = make_baseline(name, x, dims, seed=seed, keep_integers=False)
    return Reference(name, x, dims, np.asarray(others)[:, None])


def make_imputers(
    names: Sequence[str] | None,
    batch: Batch,
    background: Sequence[np.ndarray],
    *,
    whole: Sequence[bool],
    seed: int,
) -> dict[str, tuple[Imputer, ...]]:
    """Imputers by name, one for each input; None: two that fit. Raises `InputError` for none."""
    spatial = [bool(space_axes(dims)) for dims in batch.dims]
    first = batch.dims[spatial.index(True) if any(spatial) else 0]
    chosen = default_names(first, len(background[0])) if names is None else tuple(names)
    if names is None and is_alone(batch, background):
        chosen = tuple(name for name in chosen if name != "mean")  # it is the sample itself
    if names is None and not any(spatial) and all(whole):
        # The mean of words by number is some other word; 0 is what most tables keep for padding.
        chosen = tuple(dict.fromkeys("zeros" if name == "mean" else name for name in chosen))
    if not chosen:
        raise InputError("Expected one imputer or more; None is two that fit the input.")
    found: dict[str, tuple[Imputer, ...]] = {}
    for name in dict.fromkeys(chosen):
        # Beside an image, a table's columns are filled with their means.
        own = ["mean" if name in SPATIAL and any(spatial) and not s else name for s in spatial]
        found[name] = tuple(
            make_imputer(n, a, dims, rows, seed=seed, whole=only)
            for n, a, dims, rows, only in zip(
                own, batch.arrays, batch.dims, background, whole, strict=True
            )
        )
    return found


def _drawn(
    sample: np.ndarray, dims: tuple[str, ...], background: np.ndarray, rows: int, seed: int
) -> np.ndarray:
    """Rows of the background other than the sample itself, with replacement."""
    flat, own = background.reshape(len(background), -1), sample.reshape(1, -1)
    same = (flat == own).all(axis=1)
    others = np.flatnonzero(~same) if not same.all() else np.arange(len(background))
    generator = np.random.default_rng([seed, 42, seed_of(sample, dims[1:])])
    return background[others[generator.integers(len(others), size=rows)]]


def spread_of(background: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    """The standard deviation of the data, of a shape that broadcasts over one sample.

    Of each column of a table; of each channel over all pixels or steps of all rows.
    """
    space = space_axes(dims)
    axes = (0, *space) if space else (0,)
    found = background.astype(np.float64).std(axis=axes, keepdims=True)[0]
    return found.astype(np.float32)
