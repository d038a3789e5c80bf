"""Bars: the features that count most, for tables and for whatever has no picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from pellucid.explanation import Explanation, Part
from pellucid.plots.columns import amount_words, direction_words, signs
from pellucid.plots.image import layer_words, picked
from pellucid.plots.naming import method_of, method_words
from pellucid.plots.noise import below_rounding
from pellucid.plots.scale import ATTENTION
from pellucid.plots.style import (
    ThemeName,
    axes_or_new,
    elide,
    number,
    short_name,
    style_axes,
    theme_of,
)
from pellucid.units import by_unit


@dataclass(frozen=True)
class Feature:
    """One feature's name, its value in the input where it has one, and its share."""

    name: str
    value: float | str | None
    attribution: float
    stderr: float | None
    condition: str | None = None
    """What LIME says holds of the feature in this row, `17 < age <= 39`."""

    @property
    def label(self) -> str:
        """What holds of it: its condition, or its name and its value, `age = 39`."""
        if self.condition is not None:
            return elide(self.condition, 44)
        return self.name if self.value is None else f"{self.name} = {value_words(self.value)}"


def value_words(value: float | str) -> str:
    """A value of an input as a person would write it."""
    return elide(value, 24) if isinstance(value, str) else number(value)


def top_features(
    explanation: Explanation, sample: int = 0, k: int = 10, *, part: int = 0
) -> tuple[Feature, ...]:
    """The `k` features of largest |a|, strongest first."""
    picked(explanation, sample, part)
    explanation = explanation[sample]
    chosen, sample = by_unit(explanation.parts[part]), 0
    values = np.asarray(chosen.values[sample], np.float64)
    flat = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).ravel()
    order = np.argsort(-np.abs(flat), kind="stable")[: max(k, 0)]
    unit = "token" if is_of_tokens(explanation, part) else chosen.dims[-1]
    held = explanation.extras.get("conditions")
    held = None if held is None or held.shape != chosen.values.shape else held[sample]
    errors = None if chosen.stderr is None else np.asarray(chosen.stderr[sample]).ravel()
    return tuple(
        Feature(
            name=feature_name(chosen, int(i), values.shape, unit=unit),
            value=chosen.value_at(sample, int(i)),
            attribution=float(flat[i]),
            stderr=None if errors is None else float(errors[i]),
            condition=None if held is None else str(held[i]),
        )
        for i in order
    )


def is_of_tokens(explanation: Explanation, part: int) -> bool:
    """Whether the numbers of a row are those of tokens, for attention is between nothing else."""
    chosen = explanation.parts[part]
    nameless = chosen.dims == ("sample", "feature") and chosen.feature_names is None
    return nameless and explanation.method in ATTENTION


def feature_name(part: Part, flat_index: int, shape: Sequence[int], *, unit: str) -> str:
    """The feature's own name, or its place in the array, of which the last axis is of `unit`s."""
    place = np.unravel_index(flat_index, tuple(shape)) if shape else ()
    names = part.feature_names
    if names is not None and place and len(names) == shape[-1]:
        rest = [f"{d} {int(i)}" for d, i in zip(part.dims[1:-1], place[:-1], strict=False)]
        return ", ".join([*rest, names[int(place[-1])]])
    if len(place) == 1:
        return f"{unit} {int(place[0])}"
    return ", ".join(f"{d} {int(i)}" for d, i in zip(part.dims[1:], place, strict=False))


def bars(
    explanation: Explanation,
    sample: int = 0,
    k: int = 10,
    ax: Axes | None = None,
    *,
    part: int = 0,
    theme: ThemeName = "light",
) -> Axes:
    """Draw the `k` strongest features as bars with their standard errors; returns the axes.

    The sign is told three ways: by side, by colour, and by hatching for what speaks against.
    """
    colours = theme_of(theme)
    features = top_features(explanation, sample, k, part=part)
    axes = axes_or_new(ax, 6.4, 1.3 + 0.36 * max(len(features), 1), colours)
    style_axes(axes, colours)
    ink = signs(colours)
    for row, feature in enumerate(features):
        towards = feature.attribution >= 0
        axes.barh(
            row, feature.attribution, height=0.66, color=ink[towards], edgecolor=colours.ground,
            linewidth=0, hatch=None if towards else "////", xerr=feature.stderr,
            error_kw={"ecolor": colours.ink, "elinewidth": 1.1, "capsize": 3},
        )  # fmt: skip
    labels = [replace(f, name=elide(f.name, 34)).label for f in features]
    axes.set_yticks(range(len(features)), labels=labels, parse_math=False)
    axes.invert_yaxis()
    axes.axvline(0, color=colours.muted, linewidth=0.8)
    axes.margins(x=0.08)
    name = elide(short_name(explanation.target_names[sample]), 40)
    inner = layer_words(explanation, part)
    axes.set_title(
        method_of(method_words(explanation), name)
        + (f"\n{elide(inner, 60)}" if inner else ""),
        color=colours.ink, fontsize=10, loc="left", parse_math=False,
    )  # fmt: skip
    words = amount_words(explanation) + _line_words(explanation, sample)
    axes.set_xlabel(words, color=colours.ink, fontsize=9, parse_math=False)
    _legend(axes, direction_words(explanation), ink, colours.ground, colours.ink)
    nothing = not any(f.attribution for f in features)
    if nothing or below_rounding(explanation, sample):
        words = "all values are zero" + ("" if nothing else " (below rounding)")
        axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center",
                  color=colours.muted)  # fmt: skip
    return axes


def _line_words(explanation: Explanation, sample: int) -> str:
    """Where LIME's line lies and how well it fits, without which its slopes mean little."""
    names = ("local_prediction", "intercept", "r2")
    if not all(name in explanation.extras for name in names):
        return ""
    at_x, start, fit = (float(explanation.extras[name][sample]) for name in names)
    return (
        f"\nthe line: intercept {number(start)}, at x {number(at_x)} where the model says"
        f" {number(float(explanation.score[sample]))}; r² {fit:.2f}"
    )


def _legend(
    axes: Axes, directions: tuple[str, str], ink: dict[bool, str], ground: str, text: str
) -> None:
    below, above = directions
    keys = [
        Patch(facecolor=ink[True], edgecolor=ground, linewidth=0, label=f"{above} →"),
        Patch(
            facecolor=ink[False], edgecolor=ground, linewidth=0, hatch="////", label=f"← {below}"
        ),
    ]
    axes.legend(
        handles=keys, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=8,
        labelcolor=text,
    )  # fmt: skip
