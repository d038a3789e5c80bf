"""Curves of partial dependence, single rows and accumulated effects; surfaces of two columns."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from pellucid.errors import InputError
from pellucid.plots.style import Theme, ThemeName, axes_or_new, elide, style_axes, theme_of

if TYPE_CHECKING:
    from pellucid.effects.effect import Effect

_WORDS = {
    "partial_dependence": "partial dependence",
    "ice": "rows one by one",
    "ale": "accumulated local effect",
}
_MOST_CURVES = 100


def effect(
    found: "Effect",
    *,
    ax: Axes | None = None,
    centred: bool = False,
    theme: ThemeName = "light",
) -> Axes:
    """Draw a curve with its 95 % band and the column's own values below; returns the axes.

    ICE has a thin line a row under its mean, at most 100 evenly chosen; `centred` lets all start
    from 0 at the left. Categories are points with intervals, two columns a coloured surface.
    """
    colours = theme_of(theme)
    if len(found.features) == 2:
        if centred:
            raise InputError("centred=True is for curves, and this is a surface of two columns.")
        return _surface(found, ax, colours)
    axes = axes_or_new(ax, 6.4, 4.0, colours)
    style_axes(axes, colours)
    grid, values = found.grid[0], found.values
    curves = found.individual if found.kind == "ice" else None
    band = 1.96 * found.stderr
    if centred:
        values = values - values[0]
        curves = None if curves is None else curves - curves[:, :1]
        band = None if found.individual is None else _centred_band(found.individual)
    ink, tint = colours.ink, colours.colour_map(False)(0.35)
    words = found.categories[0]
    place = np.arange(len(grid)) if words is not None else grid
    if curves is not None:
        rows = np.unique(
            np.linspace(0, len(curves) - 1, min(len(curves), _MOST_CURVES)).astype(int)
        )
        lines = [np.column_stack([place, curves[r]]) for r in rows]
        axes.add_collection(LineCollection(lines, colors=[tint], linewidths=0.6, alpha=0.5))
    if words is not None:
        _points(axes, place, values, band, [words[int(code)] for code in grid], colours)
    else:
        if band is not None and curves is None:
            axes.fill_between(grid, values - band, values + band, color=tint, alpha=0.3,
                              linewidth=0)  # fmt: skip
        axes.plot(grid, values, color=ink, linewidth=1.8)
        _own_values(axes, found.data[0], colours)
    axes.autoscale_view()
    axes.set_xlabel(elide(found.features[0], 50), color=ink, fontsize=9, parse_math=False)
    axes.set_ylabel(_amount(found, centred), color=ink, fontsize=9, parse_math=False)
    axes.set_title(
        _title(found), color=ink, fontsize=10,
        loc="left", parse_math=False,
    )  # fmt: skip
    return axes


def _amount(found: "Effect", centred: bool) -> str:
    """What stands along the vertical axis."""
    change = "change of the " if found.kind == "ale" or centred else ""
    if found.kind == "ice":
        return f"{change}{found.explained} of each row, thick: their mean"
    return f"mean {change}{found.explained}"


def _title(found: "Effect") -> str:
    by = " and ".join(elide(name, 24) for name in found.features)
    return f"{_WORDS[found.kind]}: {elide(found.target_name, 30)} by {by}"


def _points(
    axes: Axes,
    place: np.ndarray,
    values: np.ndarray,
    band: np.ndarray | None,
    words: list[str],
    theme: Theme,
) -> None:
    """Categories side by side, each with its interval."""
    axes.errorbar(place, values, yerr=band, fmt="o", color=theme.ink, ecolor=theme.ink, capsize=3,
                  markersize=5, elinewidth=1.1)  # fmt: skip
    many = len(words) > 4
    axes.set_xticks(place, labels=[elide(word, 18) for word in words], parse_math=False,
                    rotation=30 if many else 0, ha="right" if many else "center")  # fmt: skip
    axes.margins(x=0.08)


def _own_values(axes: Axes, data: np.ndarray, theme: Theme) -> None:
    """Where the table's own rows are, as strokes along the bottom; at most 200."""
    own = data[np.isfinite(data)]
    ticks = own[np.unique(np.linspace(0, len(own) - 1, min(len(own), 200)).astype(int))]
    axes.plot(ticks, np.full(len(ticks), 0.015), "|", color=theme.muted, alpha=0.5,
              transform=axes.get_xaxis_transform(), markersize=6)  # fmt: skip


def _centred_band(curves: np.ndarray) -> np.ndarray:
    moved = curves - curves[:, :1]
    spread = moved.std(axis=0, ddof=1) if len(moved) > 1 else np.zeros(moved.shape[1])
    return 1.96 * spread / np.sqrt(len(moved))


def _surface(found: "Effect", ax: Axes | None, theme: Theme) -> Axes:
    axes = axes_or_new(ax, 6.0, 4.6, theme)
    places = [
        np.arange(len(g)) if words is not None else g
        for g, words in zip(found.grid, found.categories, strict=True)
    ]
    colours: dict[str, Any] = {"cmap": theme.unsigned}
    amount = f"mean {found.explained}"
    if found.kind == "ale":  # beyond what either does alone: with a sign, and 0 in the middle
        most = max(float(np.abs(found.values).max()), 1e-30)
        colours = {"cmap": theme.colour_map(True), "vmin": -most, "vmax": most}
        amount = f"change of the {found.explained} by both together"
    mesh = axes.pcolormesh(*places, found.values.T, shading="nearest", **colours)
    bar = axes.figure.colorbar(mesh, ax=axes)
    bar.set_label(amount, color=theme.ink, fontsize=8)
    bar.ax.tick_params(labelsize=8, colors=theme.muted, labelcolor=theme.ink)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    setters = (axes.set_xticks, axes.set_yticks)
    for place, grid, words, setter in zip(
        places, found.grid, found.categories, setters, strict=True
    ):
        if words is not None:
            setter(place, labels=[elide(words[int(c)], 24) for c in grid], parse_math=False)
    if found.categories[0] is not None and len(places[0]) > 4:
        for label in axes.get_xticklabels():
            label.set(rotation=30, ha="right")
    axes.tick_params(colors=theme.muted, labelcolor=theme.ink)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_xlabel(elide(found.features[0], 40), color=theme.ink, fontsize=9, parse_math=False)
    axes.set_ylabel(elide(found.features[1], 40), color=theme.ink, fontsize=9, parse_math=False)
    axes.set_title(
        _title(found), color=theme.ink, fontsize=10,
        loc="left", parse_math=False,
    )  # fmt: skip
    return axes
