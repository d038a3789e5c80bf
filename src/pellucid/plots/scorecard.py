"""A scorecard as a picture: every score with its interval, beside maps that know nothing."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.plots.style import (
    OKABE_ITO,
    Theme,
    ThemeName,
    elide,
    new_figure,
    number,
    settle,
    style_axes,
    theme_of,
)

if TYPE_CHECKING:
    from pellucid.standard.scorecard import Scorecard

_ACROSS = 3


def scorecard(card: "Scorecard", *, theme: ThemeName = "light") -> Figure:
    """Draw a panel a score: a point for each explanation's median, a line for its 95 % interval.

    Scores that nothing has a number in are left out. Controls, which know nothing of the model, are
    grey; the arrow in a title says which way is better. Scales are each score's own. Returns the
    figure, never shown.
    """
    colours = theme_of(theme)
    panels = [
        (metric.name, way)
        for metric in card.metrics
        for way in dict.fromkeys(
            w for own in card.scores.values() for w in own.get(metric.name, ())
        )
        if metric.direction(way) and _has_a_number(card, metric.name, way)
    ]
    names = [*card.explanations, *[n for n in card.scores if n in card.controls]]
    across = min(_ACROSS, max(len(panels), 1))
    down = -(-len(panels) // across)
    height = (0.75 + 0.24 * len(names)) * down + 0.4
    figure = new_figure(3.6 * across + 0.8, height, colours)
    held = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axes, (metric, way) in zip(held, panels, strict=False):
        _panel(axes, card, metric, way, names, colours)
    for axes in held[len(panels) :]:
        axes.set_axis_off()
    figure.suptitle(
        f"{card.count} samples: median and 95 % interval; grey knows nothing of the model",
        color=colours.ink, fontsize=10,
    )  # fmt: skip
    return settle(figure)


def _has_a_number(card: "Scorecard", metric: str, way: str) -> bool:
    each = [own[metric][way] for own in card.scores.values() if way in own.get(metric, {})]
    return any(not np.isnan(values).all() for values in each)


def _panel(
    axes: Axes, card: "Scorecard", metric: str, way: str, names: list[str], colours: Theme
) -> None:
    style_axes(axes, colours)
    for place, name in enumerate(names):
        if way not in card.scores[name].get(metric, {}):
            continue
        told = card.summary(name, metric, way)
        if np.isnan(told.median):
            continue
        known = name in card.controls
        ink = colours.muted if known else _ink(place)
        marker = "D" if known else "o"
        if not np.isnan(told.low):
            axes.plot([told.low, told.high], [place, place], color=ink, linewidth=2)
        axes.plot([told.median], [place], marker, color=ink, markersize=5)
    axes.set_yticks(range(len(names)), labels=[elide(n, 26) for n in names], parse_math=False)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: number(value))
    axes.tick_params(labelsize=8)
    higher = card.metric(metric).direction(way) == "higher"
    arrow = "more is better →" if higher else "← less is better"
    label = card.metric(metric).identifier
    title = f"{label} {metric}".strip() + (f" ({way})" if way else "")
    axes.set_title(
        f"{elide(title, 44)}\n{arrow}", color=colours.ink, fontsize=8.5, loc="left",
        parse_math=False,
    )  # fmt: skip


def _ink(place: int) -> str:
    palette = [c for c in OKABE_ITO if c != "#000000"]
    return palette[place % len(palette)]
