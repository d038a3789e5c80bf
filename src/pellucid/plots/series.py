"""Time series: the signal as lines on a ground coloured by what each step contributes."""

import numpy as np
from matplotlib.axes import Axes

from pellucid.errors import InputError
from pellucid.explanation import Explanation, Part
from pellucid.plots.image import colour_bar, layer_words, picked, signed_part
from pellucid.plots.naming import method_and_target
from pellucid.plots.scale import WITHOUT_TARGET, Reduction, Scale, reduce_channels
from pellucid.plots.style import (
    OKABE_ITO,
    ThemeName,
    axes_or_new,
    elide,
    short_name,
    style_axes,
    theme_of,
)

MOST_LINES = 8
"""As many as there are colours that stay apart from each other and from the ground."""


def series(
    explanation: Explanation,
    sample: int = 0,
    *,
    part: int = 0,
    ax: Axes | None = None,
    limit: float | None = None,
    percentile: float = 99.0,
    reduction: Reduction = "sum",
    scale: Scale | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw each channel as a line over the steps' attributions; returns the axes.

    Of more than eight channels those with the largest sums of |a| are drawn, and the legend says
    so. `limit` fixes the v of the scale, `scale` a whole scale shared with other panels.
    """
    colours = theme_of(theme)
    chosen = picked(explanation, sample, part)
    if "step" not in chosen.dims:
        raise InputError(f"{chosen.name} has dims {chosen.dims}: no steps to draw.")
    values = step_values(chosen, sample, reduction)
    signed = reduction != "abs_sum" and signed_part(explanation, part)
    scale = scale or Scale.of([values], percentile=percentile, value=limit, signed=signed)
    axes = axes_or_new(ax, 8, 3, colours)
    style_axes(axes, colours)
    lines, names = _lines(chosen.inputs[sample], chosen.input_dims[1:], chosen.feature_names)
    steps = np.arange(len(lines))
    low, high = float(np.nanmin(lines)), float(np.nanmax(lines))
    room = 0.06 * (high - low) or 1.0
    ground = scale.overlay(values, colours)[None]
    axes.imshow(
        ground, extent=(-0.5, len(values) - 0.5, low - room, high + room), aspect="auto",
        origin="lower", interpolation="nearest",
    )  # fmt: skip
    inks = (colours.ink, *OKABE_ITO[1:7], OKABE_ITO[0])
    drawn, why = _drawn(chosen, sample, lines.shape[1])
    for ink, index in zip(inks, drawn, strict=False):
        axes.plot(steps, lines[:, index], color=ink, linewidth=1.4, label=elide(names[index], 18))
    if lines.shape[1] > 1:
        legend = axes.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, fontsize=8, frameon=False,
            labelcolor=colours.ink, title=why or None, title_fontsize=8,
        )  # fmt: skip
        legend.get_title().set_color(colours.muted)
    axes.set_xlim(-0.5, len(steps) - 0.5)
    axes.set_ylim(low - room, high + room)
    axes.set_xlabel("step", color=colours.ink, fontsize=9)
    method = explanation.method
    named = method not in WITHOUT_TARGET
    name = short_name(explanation.target_names[sample]) if named else "of no class"
    inner = layer_words(explanation, part)
    axes.set_title(
        f"{method_and_target(explanation, sample)}   {scale.words()}"
        + (f"\n{elide(inner, 60)}" if inner else ""),
        color=colours.ink, fontsize=10, loc="left", parse_math=False,
    )  # fmt: skip
    if ax is None:
        cax = axes.inset_axes((1.02, 0.0, 0.018, 1.0))
        colour_bar(axes.figure, cax, scale, name, colours, method=method)  # pyright: ignore[reportArgumentType]
    return axes


def step_values(part: Part, sample: int, reduction: Reduction = "sum") -> np.ndarray:
    """One value a step of one sample, whatever other axes there are."""
    values, dims = reduce_channels(part.values[sample], part.dims[1:], reduction)
    values = np.moveaxis(values, dims.index("step"), 0)
    return values.reshape(len(values), -1).sum(axis=1)


def _drawn(part: Part, sample: int, count: int) -> tuple[list[int], str]:
    """The numbers of the channels to draw, and words where they are not all."""
    if count <= MOST_LINES:
        return list(range(count)), ""
    strength = np.abs(np.moveaxis(part.values[sample], part.dims.index("step") - 1, 0))
    strength = strength.reshape(len(strength), -1).sum(axis=0)
    if strength.size != count:
        return list(range(MOST_LINES)), f"the first {MOST_LINES} of {count} channels"
    strongest = np.argsort(-strength, kind="stable")[:MOST_LINES]
    return sorted(strongest.tolist()), f"{MOST_LINES} of {count} channels: those of largest Σ|a|"


def _lines(
    inputs: np.ndarray, dims: tuple[str, ...], feature_names: tuple[str, ...] | None
) -> tuple[np.ndarray, list[str]]:
    """The signal as (step, channel) and the channels' names."""
    moved = np.moveaxis(np.asarray(inputs, np.float64), dims.index("step"), 0)
    lines = moved.reshape(len(moved), -1)
    if feature_names is not None and len(feature_names) == lines.shape[1]:
        return lines, list(feature_names)
    return lines, [f"channel {i}" for i in range(lines.shape[1])]
