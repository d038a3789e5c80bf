"""The layers of a model over a data set: how large, how often zero, how many units idle."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from pellucid.plots.style import (
    OKABE_ITO,
    ThemeName,
    elide,
    new_figure,
    settle,
    style_axes,
    theme_of,
)

if TYPE_CHECKING:
    from pellucid.inside.statistics import ActivationStatistics

MOST_LAYERS = 60
"""Lines on one sheet; of more, those in the middle are left out and said to be."""


def activation_statistics(found: "ActivationStatistics", *, theme: ThemeName = "light") -> Figure:
    """Draw mean ± standard deviation, share of zeros, and idle units of each layer; the figure.

    Layers stand in the order of the run, the first on top. Idle units are shares of a layer's
    units: dead ones in one colour, saturated ones (hatched) in another, their numbers beside them.
    """
    colours, layers = theme_of(theme), found.layers[:MOST_LAYERS]
    places = np.arange(len(layers))
    figure = new_figure(10.5, 1.3 + 0.23 * max(4, len(layers)), colours)
    sizes, zeros, idle = figure.subplots(1, 3, sharey=True, width_ratios=(1.3, 1, 1))
    for axes, title in (
        (sizes, "mean ± standard deviation"), (zeros, "share of zeros"),
        (idle, "idle units, share"),
    ):  # fmt: skip
        axes.set_facecolor(colours.ground)
        style_axes(axes, colours)
        axes.set_title(title, fontsize=9, color=colours.ink, loc="left")
    means = np.array([s.mean for s in layers])
    sizes.errorbar(
        means, places, xerr=[s.deviation for s in layers], fmt="o", markersize=3.5,
        color=OKABE_ITO[0], ecolor=OKABE_ITO[4], capsize=2, linewidth=1,
    )  # fmt: skip
    sizes.axvline(0, color=colours.muted, linewidth=0.6)
    zeros.barh(places, [s.zeros for s in layers], height=0.7, color=OKABE_ITO[0])
    dead = np.array([len(s.dead) / s.units for s in layers])
    full = np.array([len(s.saturated) / s.units for s in layers])
    idle.barh(places, dead, height=0.7, color=OKABE_ITO[5], label="dead: always zero")
    idle.barh(
        places, full, left=dead, height=0.7, color=OKABE_ITO[1], hatch="///",
        edgecolor=colours.ground, label="saturated: at a bound",
    )  # fmt: skip
    for place, s in enumerate(layers):
        if len(s.dead) or len(s.saturated):
            idle.text(
                min(1.0, dead[place] + full[place]) + 0.02, place,
                f"{len(s.dead) + len(s.saturated)} of {s.units}",
                va="center", fontsize=7, color=colours.ink,
            )  # fmt: skip
    sizes.set_yticks(
        places, labels=[elide(s.layer, 28) for s in layers], fontsize=7, parse_math=False
    )
    sizes.set_ylim(len(layers) - 0.5, -0.5)
    zeros.set_xlim(0, 1)
    idle.set_xlim(0, 1)  # the numbers beside full bars stand outside
    idle.set_xticks([0, 0.5, 1])
    legend = idle.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=7, frameon=False)
    for text in legend.get_texts():
        text.set_color(colours.ink)
    note = f"over {found.samples} sample{'s' * (found.samples != 1)}"
    if len(found.layers) > len(layers):
        note += f"; {len(found.layers) - len(layers)} layers more are in the table"
    figure.supxlabel(note, color=colours.muted, fontsize=8)
    return settle(figure)
