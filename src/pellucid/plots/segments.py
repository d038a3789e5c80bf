"""The strongest segments of a picture with borders around them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.plots.columns import sign_words, signs
from pellucid.plots.image import faded_grey, image_map, picked, picture_of
from pellucid.plots.naming import method_and_target
from pellucid.plots.style import ThemeName, axes_or_new, theme_of
from pellucid.units import values_by_unit


def segments(
    explanation: Explanation,
    sample: int = 0,
    *,
    k: int = 5,
    towards_only: bool = False,
    part: int = 0,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw the k segments of largest |a| as they are, the rest of the picture in grey.

    A segment is a unit of `features=`, of maps without units a connected piece with one value.
    Red borders push towards the target, dashed blue ones away; `towards_only` leaves those out.
    Raises `InputError` for a map that is not made of segments. Returns the axes.
    """
    colours = theme_of(theme)
    chosen = picked(explanation, sample, part)
    values = image_map(chosen, sample)
    pixels = picture_of(chosen, sample)
    if values.shape != pixels.shape[:2]:
        raise InputError(
            f"The map is {values.shape} and the picture {pixels.shape[:2]}: no segments to show."
        )
    held = chosen.units
    # Units as they were given; of values that came without them, connected pieces.
    labels = connected(values) if held is None else held.of(sample)
    count = int(labels.max()) + 1
    if count > values.size // 4:
        raise InputError(
            f"This map has {count} pieces on {values.size} pixels, so it is not made of segments.\n"
            '  kernel_shap and lime with features="superpixels" are; heatmap draws any map.'
        )
    if held is None:
        sums = np.bincount(labels.ravel(), weights=values.ravel(), minlength=count)
    else:
        sums = values_by_unit(chosen, sample, chosen.values)[:count]
    order = np.argsort(-np.abs(sums), kind="stable")
    order = [int(i) for i in order if sums[i] != 0 and (sums[i] > 0 or not towards_only)][:k]
    shown = np.isin(labels, order)
    canvas = np.repeat(faded_grey(pixels)[..., None], 3, axis=-1)
    canvas[shown] = pixels[shown] / 255.0
    height, width = values.shape
    axes = axes_or_new(ax, 4.6, 4.6 * height / width + 0.7, colours)
    axes.imshow(canvas, interpolation="nearest")
    axes.set_axis_off()
    ink = signs(colours)
    for label in order:
        towards = bool(sums[label] > 0)
        for x, y in _border(labels == label):
            axes.add_line(
                Line2D(x, y, color=ink[towards], linewidth=1.8,
                       linestyle="-" if towards else (0, (2, 1.2)), solid_capstyle="round")
            )  # fmt: skip
    axes.set_xlim(-0.5, width - 0.5)
    axes.set_ylim(height - 0.5, -0.5)
    up, down = sign_words(colours)
    axes.set_title(
        f"{method_and_target(explanation, sample)}\n{len(order)} of {count} segments,"
        f" {up} towards, dashed {down} away",
        color=colours.ink, fontsize=9, loc="left", parse_math=False,
    )  # fmt: skip
    if not order:
        axes.text(0.5, 0.5, "all values are zero", transform=axes.transAxes, ha="center",
                  color=colours.ink)  # fmt: skip
    return axes


def connected(values: np.ndarray) -> np.ndarray:
    """Connected pieces of equal value, numbered from 0, neighbours by a side."""
    labels = np.arange(values.size).reshape(values.shape)
    across, down = values[:, 1:] == values[:, :-1], values[1:] == values[:-1]
    while True:
        before = labels.copy()
        # The smallest number of a piece runs through it: along lines, then to the neighbours.
        np.minimum(labels[:, 1:], labels[:, :-1], out=labels[:, 1:], where=across)
        np.minimum(labels[:, :-1], labels[:, 1:], out=labels[:, :-1], where=across)
        np.minimum(labels[1:], labels[:-1], out=labels[1:], where=down)
        np.minimum(labels[:-1], labels[1:], out=labels[:-1], where=down)
        labels = labels.ravel()[labels]  # jump to the number of one's number
        if (labels == before).all():
            return np.unique(labels, return_inverse=True)[1].reshape(values.shape)


def _border(inside: np.ndarray) -> list[tuple[list[float], list[float]]]:
    """The edges between pixels inside and outside, straight runs as one line each."""
    padded = np.pad(inside, 1)
    lines = []
    for turned in (False, True):
        field = padded.T if turned else padded
        rows, columns = np.nonzero(field[1:] != field[:-1])
        starts = np.flatnonzero(np.r_[True, (np.diff(rows) != 0) | (np.diff(columns) != 1)])
        ends = np.r_[starts[1:], len(rows)] - 1
        for first, last in zip(starts, ends, strict=True):
            if not len(rows):
                continue
            at = rows[first] - 0.5
            span = [columns[first] - 1.5, columns[last] - 0.5]
            lines.append(([at, at], span) if turned else (span, [at, at]))
    return lines
