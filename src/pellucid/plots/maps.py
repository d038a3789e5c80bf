"""What layers return, as pictures: a row a layer, a tile a unit."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.errors import InputError
from pellucid.plots.pixels import to_pixels
from pellucid.plots.scale import Scale
from pellucid.plots.style import Theme, ThemeName, elide, new_figure, number, settle, theme_of, wrap
from pellucid.plots.tiles import mosaic

if TYPE_CHECKING:
    from pellucid.inside.activations import Activations, LayerMaps

MOST_LAYERS = 24
"""Rows on one sheet; more would be too small to see anything."""


def feature_maps(
    found: "Activations",
    sample: int = 0,
    *,
    units: int = 16,
    columns: int = 8,
    scale: str = "layer",
    show_picture: bool = True,
    theme: ThemeName = "light",
) -> Figure:
    """Draw what each layer returned for one sample; returns the figure.

    Maps are tiles, at most `units` of them in rows of `columns`; sequences are pictures of steps
    by units; what has units alone is bars. Values below zero make a layer's colours signed. The
    scale is one for each layer ("layer"), whose end is written beside it, or for each "unit".
    """
    if scale not in ("layer", "unit"):
        raise InputError(f"Expected scale to be 'layer' or 'unit', got {scale!r}.")
    count = len(found.layers[0].values)
    if not 0 <= sample < count:
        raise InputError(f"sample {sample} of {count} (counted from 0).")
    colours, shown = theme_of(theme), found.layers[:MOST_LAYERS]
    if all(maps.is_map for maps in shown):
        columns = min(columns, max(4, *(min(units, len(maps.units)) for maps in shown)))
    rows = [_rows(maps, units, columns) for maps in shown]
    heights = [
        0.6 + 1.05 * r * _shape(maps) if maps.is_map else 1.5
        for r, maps in zip(rows, shown, strict=True)
    ]
    photos = _photos(found, shown) if show_picture else []
    picture = len(photos) > 0
    # Each picture takes the height of two inches, so that several lie below each other.
    heights[-1] += max(0.0, 1.9 * len(photos) - sum(heights)) if len(photos) > 1 else 0.0
    figure = new_figure(1.05 * columns + (2.6 if picture else 0.6), sum(heights) + 0.3, colours)
    space = figure.add_gridspec(
        len(shown), 2 if picture else 1, height_ratios=heights,
        width_ratios=(2.1, 1.05 * columns) if picture else None,
    )  # fmt: skip
    if picture:
        column = space[0 : min(len(shown), 2) if len(photos) == 1 else len(shown), 0]
        places = column.subgridspec(len(photos), 1)
        for place, (name, pictures) in enumerate(photos):
            axes = figure.add_subplot(places[place, 0])
            axes.imshow(to_pixels(pictures[sample]), interpolation="nearest")
            axes.set_axis_off()
            axes.set_anchor("N")
            axes.set_title(
                elide(name, 30), color=colours.ink, fontsize=9, loc="left", parse_math=False
            )
    for index, maps in enumerate(shown):
        axes = figure.add_subplot(space[index, 1 if picture else 0])
        axes.set_facecolor(colours.ground)
        _layer(axes, maps, sample, units, columns, scale, colours)
    note = _note(found, len(found.layers) - len(shown))
    if note:
        lines = wrap(note, int(13 * figure.get_figwidth()), 4)
        figure.supxlabel(lines, color=colours.muted, fontsize=8, parse_math=False)
    return settle(figure)


def _note(found: "Activations", left_out: int) -> str:
    """What the numbers on the tiles are, and how many layers are not drawn."""
    said = []
    if any(maps.is_map for maps in found.layers):
        said.append("on each tile the number of the unit")
    if said and any(m.is_map and m.contributions is not None for m in found.layers):
        said.append("and what it adds to the score (activation times gradient)")
    note = " ".join(said)
    more = f"{left_out} layer{'s' * (left_out != 1)} more are not drawn" if left_out else ""
    return "; ".join(filter(None, (note, more)))


def _photos(found: "Activations", shown: "tuple[LayerMaps, ...]") -> list[tuple[str, np.ndarray]]:
    """Names and pictures of the inputs that the layers on the sheet depend on."""
    reaching = {name for maps in shown for name in maps.inputs}
    if not reaching:
        return list(found.inputs[:1])
    return [(f"input {name}", pictures) for name, pictures in found.inputs if name in reaching]


def _rows(maps: "LayerMaps", units: int, columns: int) -> int:
    return -(-min(units, len(maps.units)) // columns) if maps.is_map else 1


def _shape(maps: "LayerMaps") -> float:
    """Height by width of one map, within what a sheet can hold."""
    size = dict(zip(maps.dims, maps.values.shape, strict=True))
    return float(np.clip(size["height"] / max(size["width"], 1), 0.3, 2.0))


def _layer(
    axes: Axes,
    maps: "LayerMaps",
    sample: int,
    units: int,
    columns: int,
    scale: str,
    colours: Theme,
) -> None:
    own = maps.values[sample]
    limit = Scale.of([own], signed=bool((own < 0).any()))
    title = f"{maps.layer}  ·  {maps.kind}  ·  {_size(maps)}  ·  {_end(limit, scale)}"
    if maps.inputs:
        title += f"  ·  of {', '.join(maps.inputs)}"
    lines = wrap(title, 15 * columns, 2)
    axes.set_title(lines, loc="left", color=colours.ink, fontsize=8, parse_math=False)
    if maps.is_map:
        _tiles(axes, maps, sample, units, columns, limit if scale == "layer" else None, colours)
    elif own.ndim == 1:
        _bars(axes, maps, own, limit, colours)
    else:
        _matrix(axes, maps, own, limit, colours)


def _size(maps: "LayerMaps") -> str:
    size = dict(zip(maps.dims, maps.values.shape, strict=True))
    places = [str(n) for d, n in size.items() if d not in ("sample", "channel", "unit")]
    kept = len(maps.units)
    units = (
        f"{maps.all_units} units" if kept == maps.all_units else f"{kept} of {maps.all_units} units"
    )
    return f"{' × '.join(places)}, {units}" if places else units


def _end(limit: Scale, scale: str) -> str:
    if scale == "unit":
        return "each on its own scale"
    return f"−v to v = {number(limit.limit)}" if limit.signed else f"0 to v = {number(limit.limit)}"


def _tiles(
    axes: Axes,
    maps: "LayerMaps",
    sample: int,
    units: int,
    columns: int,
    limit: Scale | None,
    colours: Theme,
) -> None:
    count = min(units, len(maps.units))
    tiles = []
    for place in range(count):
        values = _upright(maps, maps.of_unit(sample, place))
        own = limit or Scale.of([values], signed=bool((values < 0).any()))
        tiles.append(own.colours(values, colours)[..., :3])
    height, width = tiles[0].shape[:2]
    # A row of few tiles keeps the places of a full one, so that tiles are of one size on a sheet.
    blank = np.full_like(tiles[0], 1.0 if colours.ground == "#ffffff" else 0.09)
    tiles += [blank] * (-count % columns)
    gap = max(1, width // 16)
    sheet = mosaic(tiles, columns, gap=gap, fill=1.0 if colours.ground == "#ffffff" else 0.09)
    axes.imshow(sheet, interpolation="nearest")
    axes.set_axis_off()
    for place in range(count):
        words = f"{maps.units[place]}"
        if maps.contributions is not None:
            words += f"  {'+' if maps.contributions[sample, place] >= 0 else ''}" + number(
                float(maps.contributions[sample, place])
            )
        axes.text(
            (width + gap) * (place % columns), (height + gap) * (place // columns), words,
            fontsize=8, color="white", va="top", ha="left", clip_on=True,
            bbox={"facecolor": "black", "alpha": 0.45, "pad": 0.8, "edgecolor": "none"},
        )  # fmt: skip


def _upright(maps: "LayerMaps", values: np.ndarray) -> np.ndarray:
    """`(height, width)`; the depth of a volume is averaged."""
    names = [d for d in maps.dims[1:] if d != "channel"]
    for axis in reversed(range(len(names))):
        if names[axis] not in ("height", "width"):
            values = values.mean(axis=axis)
    return values


def _bars(axes: Axes, maps: "LayerMaps", own: np.ndarray, limit: Scale, colours: Theme) -> None:
    places = np.arange(len(own))
    signed = colours.colour_map(True)
    axes.bar(places, own, width=0.9, color=[signed(0.9 if v >= 0 else 0.1) for v in own])
    axes.axhline(0, color=colours.muted, linewidth=0.6)
    axes.margins(x=0.01)
    if len(own) <= 40:
        axes.set_xticks(places, labels=[str(u) for u in maps.units])
    axes.tick_params(labelsize=6, colors=colours.muted, labelcolor=colours.ink)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_color(colours.muted)


def _matrix(axes: Axes, maps: "LayerMaps", own: np.ndarray, limit: Scale, colours: Theme) -> None:
    """Units downwards, all places in a row."""
    axis = maps.dims.index("channel") - 1 if "channel" in maps.dims else own.ndim - 1
    flat = np.moveaxis(own, axis, 0).reshape(own.shape[axis], -1)
    axes.imshow(limit.colours(flat, colours), aspect="auto", interpolation="nearest")
    axes.set_ylabel("unit", fontsize=7, color=colours.ink)
    axes.set_xlabel("step" if "step" in maps.dims else "place", fontsize=7, color=colours.ink)
    if len(flat) <= 12:
        axes.set_yticks(np.arange(len(flat)), labels=[str(u) for u in maps.units])
    axes.tick_params(labelsize=6, colors=colours.muted, labelcolor=colours.ink)
