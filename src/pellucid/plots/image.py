"""Maps over pictures: the picture, the overlay, the heatmap, and the three side by side."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from pellucid.errors import InputError
from pellucid.explanation import Explanation, Part
from pellucid.plots.naming import method_words, name_map
from pellucid.plots.noise import below_rounding
from pellucid.plots.scale import REDUCTION_WORDS, WITHOUT_TARGET, Reduction, Scale, reduce_channels
from pellucid.plots.style import (
    Theme,
    ThemeName,
    axes_or_new,
    elide,
    new_figure,
    number,
    settle,
    short_name,
    theme_of,
    wrap,
)
from pellucid.units import painted

LUMA = np.array([0.299, 0.587, 0.114])


def is_image(part: Part) -> bool:
    """Whether the map has a height and a width to draw."""
    return {"height", "width"} <= set(part.dims)


def picked(explanation: Explanation, sample: int, part: int) -> Part:
    """That part, after checking that both numbers exist."""
    if not 0 <= part < len(explanation.parts):
        raise InputError(f"part {part} of {len(explanation.parts)} inputs (counted from 0).")
    chosen = explanation.parts[part]
    if not 0 <= sample < len(chosen.values):
        raise InputError(f"sample {sample} of {len(chosen.values)} (counted from 0).")
    return chosen


def image_map(
    part: Part, sample: int, reduction: Reduction = "sum", *, densities: bool = False
) -> np.ndarray:
    """The (height, width) map of one sample, whichever side its channels stand on.

    Of segments (`features=`) each pixel has the value of the whole segment, so that its colour
    does not depend on the segment's area; with `densities` the values as they are.
    """
    if not is_image(part):
        raise InputError(f"{part.name} has dims {part.dims}: no height and width to draw.")
    own = part.values[sample] if densities else painted(part, sample, part.values)
    values, dims = reduce_channels(own, part.dims[1:], reduction)
    for axis in reversed(range(len(dims))):
        if dims[axis] not in ("height", "width"):
            values = values.sum(axis=axis)
    dims = tuple(d for d in dims if d in ("height", "width"))
    return values.T if dims == ("width", "height") else values


def picture_of(part: Part, sample: int) -> np.ndarray:
    """What a person sees of the input: uint8 (height, width, 3).

    `Part.display` where the model says how to make it; else the input stretched from its
    smallest to its largest value. Three channels are colours; any other number is averaged,
    and so is the depth of a volume.
    """
    if part.display is not None:
        return as_rgb(np.asarray(part.display[sample]))
    dims = part.input_dims[1:]
    values = np.asarray(part.inputs[sample], np.float64)
    for axis in reversed(range(len(dims))):
        if dims[axis] not in ("height", "width", "channel"):
            values = values.mean(axis=axis)
    dims = tuple(d for d in dims if d in ("height", "width", "channel"))
    if "channel" in dims:
        values = np.moveaxis(values, dims.index("channel"), -1)
        dims = (*(d for d in dims if d != "channel"), "channel")
        if values.shape[-1] != 3:
            values = values.mean(axis=-1)
            dims = dims[:-1]
    if dims[:2] == ("width", "height"):
        values = np.swapaxes(values, 0, 1)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    if high == low:
        return as_rgb(np.full(values.shape, 128, np.uint8))
    return as_rgb(np.round((values - low) / (high - low) * 255).astype(np.uint8))


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Grey, RGB or RGBA pixels as uint8 (height, width, 3)."""
    if pixels.ndim == 3 and pixels.shape[-1] in (3, 4):
        return pixels[..., :3].astype(np.uint8)
    flat = pixels[..., 0] if pixels.ndim == 3 else pixels
    return np.repeat(flat[..., None], 3, axis=-1).astype(np.uint8)


def faded_grey(pixels: np.ndarray) -> np.ndarray:
    """The picture in pale grey, 0..1, so that every colour left on it is the map's."""
    return 0.30 + 0.62 * (pixels @ LUMA) / 255.0


def picture(
    explanation: Explanation,
    sample: int = 0,
    *,
    part: int = 0,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw the input itself; returns the axes."""
    axes = axes_or_new(ax, 4, 4, theme_of(theme))
    axes.imshow(picture_of(picked(explanation, sample, part), sample))
    axes.set_axis_off()
    return axes


def overlay(
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
    """Draw the map over the picture in grey, more opaque where it is stronger; returns the axes.

    `limit` fixes the v of the scale, `scale` a whole scale shared with other panels.
    """
    colours = theme_of(theme)
    chosen = picked(explanation, sample, part)
    values, empty = _drawn_map(explanation, sample, part, reduction)
    scale = scale or scale_for(explanation, sample, part, limit, percentile, reduction)
    axes = axes_or_new(ax, 4, 4, colours)
    grey = faded_grey(picture_of(chosen, sample))
    place = (0, grey.shape[1], grey.shape[0], 0)
    axes.imshow(grey, cmap="gray", vmin=0, vmax=1, extent=place)
    axes.imshow(scale.overlay(values, colours), extent=place, interpolation="nearest")
    axes.set_axis_off()
    _say_if_empty(axes, values, empty)
    if ax is None:
        name_map(axes, explanation, sample, colours)
    return axes


def heatmap(
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
    """Draw the map alone; returns the axes."""
    colours = theme_of(theme)
    values, empty = _drawn_map(explanation, sample, part, reduction)
    scale = scale or scale_for(explanation, sample, part, limit, percentile, reduction)
    axes = axes_or_new(ax, 4, 4, colours)
    axes.imshow(scale.colours(values, colours), interpolation="nearest")
    axes.set_axis_off()
    _say_if_empty(axes, values, empty)
    if ax is None:
        name_map(axes, explanation, sample, colours)
    return axes


def side_by_side(
    explanation: Explanation,
    sample: int = 0,
    *,
    part: int = 0,
    limit: float | None = None,
    percentile: float = 99.0,
    reduction: Reduction = "sum",
    theme: ThemeName = "light",
) -> Figure:
    """Picture, overlay and heatmap in one row, with a colour bar that says what it measures."""
    colours = theme_of(theme)
    chosen = picked(explanation, sample, part)
    scale = scale_for(explanation, sample, part, limit, percentile, reduction)
    height, width = picture_of(chosen, sample).shape[:2]
    figure = new_figure(10.2, 2.98 * float(np.clip(height / width, 0.5, 1.8)) + 0.62, colours)
    panels = figure.subplots(1, 4, width_ratios=(1, 1, 1, 0.045))
    options = {"part": part, "theme": theme}
    picture(explanation, sample, ax=panels[0], **options)
    overlay(explanation, sample, ax=panels[1], scale=scale, reduction=reduction, **options)
    heatmap(explanation, sample, ax=panels[2], scale=scale, reduction=reduction, **options)
    name = explanation.target_names[sample]
    lines = [layer_words(explanation, part)]
    lines.append(f"predicted: {short_name(explanation.prediction_names[sample])}")
    predicted = "\n".join(elide(line, 38) for line in lines if line)
    method = wrap(method_words(explanation), 38)
    titles = (predicted, method, "map alone")
    for axes, title in zip(panels, titles, strict=False):
        axes.set_title(title, color=colours.ink, fontsize=10, parse_math=False)
    colour_bar(figure, panels[3], scale, name, colours, method=explanation.method)
    note = scale.words()
    if chosen.units is not None:
        note += "; a pixel has the value of its whole segment"
    if "channel" in chosen.dims:
        note += f"; {REDUCTION_WORDS[reduction]}"
    figure.supxlabel(note, color=colours.muted, fontsize=8)
    return settle(figure)


def scale_for(
    explanation: Explanation,
    sample: int,
    part: int,
    limit: float | None = None,
    percentile: float = 99.0,
    reduction: Reduction = "sum",
) -> Scale:
    """The scale of one sample's map; whether it is signed is asked of the whole batch."""
    signed = reduction != "abs_sum" and signed_part(explanation, part)
    values, _ = _drawn_map(explanation, sample, part, reduction)
    return Scale.of([values], percentile=percentile, value=limit, signed=signed)


def signed_part(explanation: Explanation, part: int) -> bool:
    """Whether any sample speaks against its target, so that all are drawn alike.

    Where every value is zero, whether the method could have said so.
    """
    values = explanation.parts[part].values
    if (values > 0).any():
        return bool((values < 0).any())
    options = [explanation.parameters.get(name) is True for name in ("relu", "absolute")]
    return bool((values < 0).any()) or not (explanation.method in _WITHOUT_SIGN or any(options))


_WITHOUT_SIGN = frozenset({"squaregrad", "vargrad", "sobol", "hsic", "edges"})
"""Methods that no parameter gives a sign."""


def layer_words(explanation: Explanation, part: int) -> str:
    """What an inner layer's output is called, which stands where the input does; else empty."""
    name = explanation.parts[part].name
    return f'output of layer "{name}"' if explanation.parameters.get("layer") == name else ""


def colour_bar(
    figure: Figure,
    cax: Axes,
    scale: Scale,
    target: str,
    theme: Theme,
    *,
    horizontal: bool = False,
    method: str = "",
) -> Colorbar:
    """Fill `cax` with a bar whose ends say in words which way they push; returns it.

    A map of a `method` that does not look at the target says where there is more, and no more.
    """
    mappable = ScalarMappable(Normalize(scale.bottom, scale.top), theme.colour_map(scale.signed))
    orientation = "horizontal" if horizontal else "vertical"
    bar = figure.colorbar(mappable, cax=cax, orientation=orientation)
    top = number(scale.limit)
    if scale.signed and scale.limit:
        bar.set_ticks([scale.bottom, 0.0, scale.top], labels=[f"−{top}", "0", f"+{top}"])
    elif scale.limit:
        bar.set_ticks([0.0, scale.top], labels=["0", top])
    else:
        bar.set_ticks([0.0], labels=["0"])
    words = "← away  |  towards →" if scale.signed else "towards →"
    if method in WITHOUT_TARGET:
        words = "more →"
    elif target:
        words = "← away from  |  towards →" if scale.signed else words
        words += "\n" + wrap(short_name(target), 34)
    bar.set_label(words, color=theme.ink, fontsize=8, parse_math=False)
    bar.ax.tick_params(labelsize=8, colors=theme.muted, labelcolor=theme.ink)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if horizontal and len(bar.ax.get_xticklabels()) > 1:
        # Numbers at the ends stay above the bar, so that neighbours never meet.
        bar.ax.get_xticklabels()[0].set_horizontalalignment("left")
        bar.ax.get_xticklabels()[-1].set_horizontalalignment("right")
    return bar


def _drawn_map(
    explanation: Explanation, sample: int, part: int, reduction: Reduction
) -> tuple[np.ndarray, str]:
    """The map to colour, and what to say if there is nothing in it: no rounding is coloured."""
    values = image_map(picked(explanation, sample, part), sample, reduction)
    if np.isfinite(values).all() and below_rounding(explanation, sample):
        return np.zeros_like(values), "all values are zero (below rounding)"
    return values, "all values are zero"


def _say_if_empty(axes: Axes, values: np.ndarray, empty: str) -> None:
    """A flat map looks like a fault of the drawing unless it says what it is."""
    missing = int((~np.isfinite(values)).sum())
    text = f"{missing} values are not finite" if missing else empty
    if missing or not values.any():
        box = {
            "boxstyle": "round,pad=0.4",
            "facecolor": "white",
            "edgecolor": "none",
            "alpha": 0.85,
        }
        axes.text(
            0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center",
            fontsize=8, color="#1c1e21", bbox=box,
        )  # fmt: skip
