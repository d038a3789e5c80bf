"""A search as a picture: what each candidate reached, when it was dropped, and the front."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.plots.style import (
    Theme,
    ThemeName,
    elide,
    new_figure,
    settle,
    style_axes,
    theme_of,
)

if TYPE_CHECKING:
    from pellucid.search.result import SearchResult, Trial

_CHOSEN, _ALIVE, _FRONT = "#D55E00", "#0072B2", "#CC79A7"  # of Okabe and Ito


def search(found: "SearchResult", *, theme: ThemeName = "light") -> Figure:
    """Draw every candidate's utility with its interval, and what the best ones cost.

    Left: best first, with the samples that each was judged on; faint are those dropped on the way.
    Right: utility, speed left out, against evaluations of the model for one sample; the line joins
    the candidates that no other one beats. Returns the figure, never shown.
    """
    colours = theme_of(theme)
    judged = [t for t in found.trail if t.samples]
    figure = new_figure(11.0, max(3.2, 0.26 * len(judged) + 1.4), colours)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _candidates(left, found, judged, colours)
    _front(right, found, judged, colours)
    chosen = "nothing chosen" if found.chosen is None else f"chosen: {elide(found.chosen, 50)}"
    word = "" if found.winner or found.chosen is None else " (no significant winner)"
    figure.suptitle(chosen + word, color=colours.ink, fontsize=10, parse_math=False)
    return settle(figure)


def _ink(trial: "Trial", found: "SearchResult", colours: Theme) -> str:
    if trial.name == found.chosen:
        return _CHOSEN
    return _ALIVE if trial.round is None else colours.muted


def _candidates(axes: Axes, found: "SearchResult", judged: list["Trial"], colours: Theme) -> None:
    style_axes(axes, colours)
    for place, trial in enumerate(judged):
        ink = _ink(trial, found, colours)
        faint = 1.0 if trial.round is None else 0.6
        if not np.isnan(trial.low):
            axes.plot([trial.low, trial.high], [place, place], color=ink, linewidth=2, alpha=faint)
        axes.plot([trial.utility], [place], "o", color=ink, markersize=5, alpha=faint)
        fate = f"{trial.samples} samples" if trial.round is None else f"out after {trial.samples}"
        axes.annotate(
            fate, (1.0, place), xycoords=("axes fraction", "data"), xytext=(4, 0),
            textcoords="offset points", va="center", fontsize=7, color=colours.muted,
        )  # fmt: skip
    labels = [elide(t.name, 40) for t in judged]
    axes.set_yticks(range(len(judged)), labels=labels, parse_math=False)
    axes.set_ylim(len(judged) - 0.5, -0.5)
    axes.axvline(0, color=colours.muted, linewidth=0.8, linestyle=":")
    axes.tick_params(labelsize=8)
    axes.set_title(
        "utility with 95 % interval: 0 is the random control, 1 the ideal", color=colours.ink,
        fontsize=8.5, loc="left",
    )  # fmt: skip


def _front(axes: Axes, found: "SearchResult", judged: list["Trial"], colours: Theme) -> None:
    style_axes(axes, colours)
    points = {t.name: (max(t.evaluations, 1.0), _quality(t, found)) for t in judged}
    line = sorted(points[t.name] for t in judged if t.on_front)
    if len(line) > 1:
        axes.plot(*zip(*line, strict=True), color=_FRONT, linewidth=1.2, zorder=1)
    for trial in judged:
        ink = _ink(trial, found, colours)
        marker = "D" if trial.name == found.chosen else "o"
        x, y = points[trial.name]
        axes.plot([x], [y], marker, color=ink, markersize=6, zorder=2)
    axes.set_xscale("log")
    axes.margins(x=0.2, y=0.18)
    axes.tick_params(labelsize=8)
    named = [t for t in judged if t.on_front or t.name == found.chosen]
    _name(axes, [(elide(t.name, 26), points[t.name]) for t in named], colours)
    axes.set_xlabel("evaluations of the model for one sample", color=colours.ink, fontsize=8)
    axes.set_title(
        "utility without speed; the line is the front", color=colours.ink, fontsize=8.5,
        loc="left",
    )  # fmt: skip


def _name(axes: Axes, named: list[tuple[str, tuple[float, float]]], colours: Theme) -> None:
    """Names above one another at the right, each joined to its point: they never overlap."""
    order = sorted(named, key=lambda own: own[1][1])
    for number, (name, point) in enumerate(order):
        height = (number + 0.5) / len(order)
        axes.annotate(
            name, point, xytext=(1.03, height), textcoords="axes fraction", fontsize=7, va="center",
            ha="left", color=colours.ink, parse_math=False, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "relpos": (0, 0.5), "color": colours.muted,
                        "linewidth": 0.6},
        )  # fmt: skip


def _quality(trial: "Trial", found: "SearchResult") -> float:
    weights = {
        axis: weight
        for axis, weight in found.goal.weights.items()
        if axis != "speed" and not np.isnan(trial.axes.get(axis, np.nan))
    }
    total = sum(weights.values())
    if not total:
        return trial.utility
    return sum(weight * trial.axes[axis] for axis, weight in weights.items()) / total
