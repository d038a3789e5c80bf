"""One symmetric scale for maps that are to be compared, and the colours on it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pellucid.errors import InputError
from pellucid.plots.style import LIGHT, Theme, number

Reduction = Literal["sum", "abs_sum", "max"]

REDUCTION_WORDS = {
    "sum": "sum over channels",
    "abs_sum": "sum of |a| over channels",
    "max": "strongest channel",
}

STRONGEST_ALPHA = 0.9
"""Some of the picture stays visible even under the strongest evidence."""

FULL_HUE = 0.7
"""Where on the diverging colour map the overlay's weakest evidence takes its hue."""


def reduce_channels(
    values: np.ndarray, dims: Sequence[str], how: Reduction = "sum"
) -> tuple[np.ndarray, tuple[str, ...]]:
    """One value a place instead of one a channel; returns the values and their dims.

    `sum` keeps the total, `abs_sum` the strength without sign, `max` the channel of largest
    magnitude with its sign. Values without a channel axis come back as they are.
    """
    if how not in REDUCTION_WORDS:
        raise InputError(f"reduction is one of {', '.join(REDUCTION_WORDS)}; got {how!r}.")
    names = tuple(dims)
    if "channel" not in names:
        return values, names
    axis = names.index("channel")
    rest = names[:axis] + names[axis + 1 :]
    if how == "sum":
        return values.sum(axis=axis), rest
    if how == "abs_sum":
        return np.abs(values).sum(axis=axis), rest
    strongest = np.expand_dims(np.abs(values).argmax(axis=axis), axis)
    return np.take_along_axis(values, strongest, axis=axis).squeeze(axis), rest


def limit(maps: Iterable[np.ndarray], percentile: float = 99.0) -> float:
    """The v of a scale from −v to v: a percentile of |a| over all maps, so outliers do not rule it.

    Zero only where every value is zero. A map with fewer places marked than the percentile
    leaves over (one patch of an occlusion) is scaled by its marked places.
    """
    pooled = np.concatenate([np.abs(np.asarray(m, np.float64)).ravel() for m in maps] or [[]])
    pooled = pooled[np.isfinite(pooled)]
    if pooled.size == 0:
        return 0.0
    value = float(np.percentile(pooled, percentile))
    marked = pooled[pooled > 0]
    if value == 0.0 and marked.size:
        value = float(np.percentile(marked, percentile))
    return value


def is_signed(maps: Iterable[np.ndarray]) -> bool:
    """False only for maps with something above zero and nothing below, such as a class map."""
    maps = [np.asarray(m) for m in maps]
    below = any(bool((m < 0).any()) for m in maps)
    above = any(bool((m > 0).any()) for m in maps)
    return below or not above


ATTENTION = frozenset({"attention", "attention_gradient", "attention_norm", "attention_rollout"})
"""Methods that give each token a number."""

WITHOUT_TARGET = frozenset(
    {"activations", "attention", "attention_norm", "attention_rollout", "eigencam"}
)
"""Methods whose map is the same for every class: it points towards none."""


@dataclass(frozen=True)
class Scale:
    """A scale from −v to v (signed) or 0 to v, shared by all maps drawn with it."""

    limit: float
    signed: bool
    percentile: float | None = 99.0

    @classmethod
    def of(
        cls,
        maps: Sequence[np.ndarray],
        *,
        percentile: float = 99.0,
        value: float | None = None,
        signed: bool | None = None,
    ) -> "Scale":
        """The scale that fits these maps; `value` fixes v instead of the percentile."""
        signed = is_signed(maps) if signed is None else signed
        if value is not None:
            if not np.isfinite(value) or value <= 0:
                raise InputError(f"limit is a finite number above zero; got {value!r}.")
            return cls(float(value), signed, None)
        return cls(limit(maps, percentile), signed, percentile)

    @property
    def top(self) -> float:
        """v, or 1 where every value is zero and any number would do."""
        return self.limit or 1.0

    @property
    def bottom(self) -> float:
        """The lower end of the scale."""
        return -self.top if self.signed else 0.0

    def strength(self, values: np.ndarray) -> np.ndarray:
        """|a| / v in 0..1; what is not finite counts as nothing."""
        clean = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        if not self.signed:
            clean = np.maximum(clean, 0.0)
        return np.clip(np.abs(clean) / self.top, 0.0, 1.0)

    def colours(self, values: np.ndarray, theme: Theme = LIGHT) -> np.ndarray:
        """Opaque RGBA in 0..1, one a value."""
        clean = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        place = np.clip((clean - self.bottom) / (self.top - self.bottom), 0.0, 1.0)
        return np.asarray(theme.colour_map(self.signed)(place))

    def overlay(self, values: np.ndarray, theme: Theme = LIGHT) -> np.ndarray:
        """RGBA whose opacity is proportional to |a|, to lie on a picture.

        Signed values take their hue from the outer part of the colour map: its pale middle
        made transparent as well would hide weak evidence twice.
        """
        strength = self.strength(values)
        if self.signed:
            outer = np.sign(values) * (FULL_HUE + (1 - FULL_HUE) * strength)
            rgba = np.asarray(theme.colour_map(True)(0.5 + 0.5 * np.nan_to_num(outer)))
        else:
            rgba = self.colours(values, theme)
        rgba[..., 3] = STRONGEST_ALPHA * strength
        return rgba

    def words(self) -> str:
        """Say what v is and where it comes from, for the colour bar."""
        if self.limit == 0.0:
            return "all values are zero"
        if self.percentile is None:
            return f"v = {number(self.limit)} (given)"
        if self.percentile >= 100:
            return f"v = {number(self.limit)} (largest |a|)"
        return f"v = {number(self.limit)} ({self.percentile:g}th percentile of |a|)"
