"""Embeddings: points by class, correctness or a column, pictures, words, neighbours."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patheffects import withStroke

from pellucid.errors import InputError
from pellucid.plots.groups import WRONG, Colouring, colouring
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
)

if TYPE_CHECKING:
    from pellucid.inside.embedded import Embedding

_MOST_LABELS = 20


def embedding(
    found: "Embedding",
    *,
    colour: Any = "auto",
    names: Any = None,
    pictures: bool | int = False,
    max_names: int = 60,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw the samples as points, coloured by what is known of them; returns the axes.

    `colour` is "class", "predicted", "correct", the name of a column, values for every row, or
    None; "auto" takes the labels, else the predictions. Each group has a sign beside its colour,
    and the name of each class stands at its middle. `names` are words for the points: True for
    those of the result, a list with one for each row, or a dict by row number; at most `max_names`
    that do not cover each other are written. `pictures` puts thumbnails in the place of points:
    True for as many as have room, or a number.

    Raises `InputError` for what is not known of the points, and for pictures of what has none.
    """
    colours = theme_of(theme)
    chosen = colouring(found, colour, colours.ink)
    axes = axes_or_new(ax, 7.2, 5.2, colours)
    _frame(axes, found, colours)
    points = found.coordinates[:, :2]
    if pictures is not False:
        _as_pictures(axes, found, points, chosen, pictures, colours)
    if chosen.values is not None:
        drawn = axes.scatter(*points.T, c=chosen.values, cmap=colours.unsigned, s=_size(found),
                             linewidths=0, alpha=0.9, zorder=2)  # fmt: skip
        bar = axes.figure.colorbar(drawn, ax=axes)
        bar.set_label(elide(chosen.by, 40), color=colours.ink, fontsize=8, parse_math=False)
        bar.ax.tick_params(labelsize=8, colors=colours.muted, labelcolor=colours.ink)
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    else:
        _as_points(axes, found, points, chosen, colours)
    words = _words(found, names)
    if words:
        _write_words(axes, points, words, max_names, colours)
    return axes


def _size(found: "Embedding") -> float:
    """Points that do not cover each other where there are many."""
    return float(np.clip(9000 / max(len(found.rows), 1), 6, 40))


def _frame(axes: Axes, found: "Embedding", theme: Theme) -> None:
    shares = found.said.get("explained_variance")
    for i, setter in enumerate((axes.set_xlabel, axes.set_ylabel)):
        said = f"component {i + 1} ({shares[i]:.0%} of the variance)" if shares else ""
        setter(said, color=theme.ink, fontsize=9)
    axes.tick_params(colors=theme.muted, labelcolor=theme.ink, labelsize=8)
    if not shares:  # coordinates of t-SNE and UMAP have no unit and no direction
        axes.set_xticks([])
        axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color(theme.muted)
        side.set_linewidth(0.6)
    of = f"{len(found.rows)} of {found.count}" if found.sampled else f"{found.count}"
    axes.set_title(
        f"{elide(found.title, 60)}\n{of} samples, {elide(found.pooled, 60)}",
        color=theme.ink, fontsize=10, loc="left", parse_math=False,
    )  # fmt: skip


def _as_points(
    axes: Axes, found: "Embedding", points: np.ndarray, chosen: Colouring, theme: Theme
) -> None:
    for group in chosen.groups:
        wrong = group.name.startswith(WRONG) and chosen.by == "correct"
        axes.scatter(
            *points[group.places].T, color=group.colour, marker=group.marker,
            s=_size(found) * (1.8 if wrong else 1), linewidths=0.3, edgecolors=theme.ground,
            label=elide(short_name(group.name), 28), zorder=4 if wrong else 2,
        )  # fmt: skip
    if not chosen.by:
        return
    if chosen.by != "correct" and len(chosen.groups) <= _MOST_LABELS:
        for group in chosen.groups:
            middle = np.median(points[group.places], axis=0)
            _halo(axes, elide(short_name(group.name), 20), middle, theme, size=9, weight="bold")
    legend = axes.legend(
        title=elide(chosen.by, 30), fontsize=8, title_fontsize=8, frameon=False,
        loc="center left", bbox_to_anchor=(1.01, 0.5), labelcolor=theme.ink,
    )  # fmt: skip
    legend.get_title().set(color=theme.ink, parse_math=False)
    for text in legend.get_texts():
        text.set_parse_math(False)


def _halo(axes: Axes, text: str, place: np.ndarray, theme: Theme, **options: Any) -> Any:
    """Words with a rim of the ground's colour, readable on points."""
    size = options.pop("size", 8)
    return axes.annotate(
        text, (float(place[0]), float(place[1])), color=theme.ink, fontsize=size, ha="center",
        va="center", zorder=6, parse_math=False, annotation_clip=True,
        path_effects=[withStroke(linewidth=2.5, foreground=theme.ground)], **options,
    )  # fmt: skip


def _as_pictures(
    axes: Axes,
    found: "Embedding",
    points: np.ndarray,
    chosen: Colouring,
    pictures: bool | int,
    theme: Theme,
) -> None:
    """Thumbnails where they have room, in frames of their group's colour."""
    if found.pictures is None:
        raise InputError("pictures= needs samples that are pictures; these have none.")
    axes.update_datalim(points)
    axes.autoscale_view()
    axes.margins(0.06)
    frames = np.full(len(points), theme.muted, dtype=object)
    for group in chosen.groups:
        frames[group.places] = group.colour
    # A thumbnail takes some 26 pixels at the figure's own resolution.
    side = 26 * axes.figure.dpi / 100
    placed = axes.transData.transform(points)
    most = len(points) if pictures is True else int(pictures)
    for place in _apart(placed, side, side, most):
        picture = found.pictures[place]
        zoom = side / max(picture.shape[:2]) * 72 / axes.figure.dpi
        image = OffsetImage(picture, zoom=zoom, interpolation="nearest")
        rim = {"edgecolor": frames[place], "linewidth": 1.2}
        axes.add_artist(AnnotationBbox(image, tuple(points[place]), pad=0.08, bboxprops=rim,
                                       zorder=3))  # fmt: skip


def _apart(places: np.ndarray, width: float, height: float, most: int) -> list[int]:
    """Points, in their order, whose boxes do not meet a box taken before; at most so many."""
    taken = np.empty((0, 2))
    chosen: list[int] = []
    for number_, place in enumerate(places):
        if len(chosen) >= most:
            break
        gaps = np.abs(taken - place)
        if not ((gaps[:, 0] < width) & (gaps[:, 1] < height)).any():
            chosen.append(number_)
            taken = np.vstack([taken, place])
    return chosen


def _words(found: "Embedding", names: Any) -> dict[int, str]:
    """The word of each point that has one, by its place."""
    if names is None or names is False:
        return {}
    if names is True:
        if found.names is None:
            raise InputError("names=True needs an embedding that was made with names=.")
        return dict(enumerate(found.names))
    if isinstance(names, dict):
        places = {int(row): place for place, row in enumerate(found.rows)}
        return {places[int(r)]: str(word) for r, word in names.items() if int(r) in places}
    listed = list(names)
    if len(listed) != found.count:
        raise InputError(
            f"Expected a name for each of the {found.count} rows, or a dict by row number, got"
            f" {len(listed)}."
        )
    return {place: str(listed[row]) for place, row in enumerate(found.rows)}


def _write_words(
    axes: Axes, points: np.ndarray, words: dict[int, str], most: int, theme: Theme
) -> None:
    axes.update_datalim(points)
    axes.autoscale_view()
    places = np.array(list(words))
    placed = axes.transData.transform(points[places])
    scale = axes.figure.dpi / 72
    for chosen in _apart(placed, 42 * scale, 10 * scale, most):
        place = int(places[chosen])
        axes.annotate(
            elide(words[place], 24), tuple(points[place]), xytext=(4, 2),
            textcoords="offset points", fontsize=8, color=theme.ink, zorder=5, parse_math=False,
            path_effects=[withStroke(linewidth=2, foreground=theme.ground)],
        )  # fmt: skip


def neighbours(found: "Embedding", row: int, k: int = 5, *, theme: ThemeName = "light") -> Figure:
    """Draw a sample's picture and, in a row, those nearest to it in the layer's space.

    Each neighbour has its label and its distance. Raises `InputError` for samples without pictures;
    `found.neighbours(row)` prints as a table.
    """
    if found.pictures is None:
        raise InputError(
            "A row of neighbours is of pictures; these samples have none.\n"
            "  print(found.neighbours(row)) is a table of them."
        )
    near, colours = found.neighbours(row, k), theme_of(theme)
    figure = new_figure(1.25 * (len(near.rows) + 1), 1.9, colours)
    panels = figure.subplots(1, len(near.rows) + 1, squeeze=False)[0]
    titles = [f"sample {row}\n{_said_of(found, row)}"] + [
        f"{elide(short_name(label), 18) or f'sample {r}'}\nd = {number(d)}"
        for r, d, label in zip(near.rows, near.distances, near.labels, strict=True)
    ]
    for axes, one, title in zip(panels, (row, *near.rows), titles, strict=True):
        axes.imshow(found.pictures[found.place_of(one)], interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(title, fontsize=8, color=colours.ink, parse_math=False)
        for side in axes.spines.values():
            side.set(color=colours.ink if one == row else colours.muted,
                     linewidth=2.0 if one == row else 0.6)  # fmt: skip
    return settle(figure)


def _said_of(found: "Embedding", row: int) -> str:
    """The label of a sample, and what it was taken for where that is something else."""
    place = found.place_of(row)
    if found.labels is None:
        return ""
    label = elide(short_name(str(found.labels[place])), 18)
    if found.correct is None or found.predicted is None or found.correct[place]:
        return label
    return f"{label}, taken for {elide(short_name(str(found.predicted[place])), 14)}"
