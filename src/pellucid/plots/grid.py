"""Methods against questions for one input, on scales that may be compared."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.plots.image import (
    colour_bar,
    heatmap,
    image_map,
    is_image,
    layer_words,
    overlay,
    picked,
    picture,
    picture_of,
    signed_part,
)
from pellucid.plots.naming import row_words, say_uncovered
from pellucid.plots.panels import Panel, draw_panels
from pellucid.plots.parts import part_label
from pellucid.plots.scale import REDUCTION_WORDS, Reduction, Scale
from pellucid.plots.style import (
    Theme,
    ThemeName,
    elide,
    new_figure,
    number,
    settle,
    short_name,
    theme_of,
    wrap,
)

Sharing = Literal["row", "all", "panel"]
Row = Explanation | Sequence[Explanation] | Mapping[str, Explanation]

SHARING_WORDS = {
    "row": "Each method has one scale: compare its maps with each other, "
    "not with another method's.",
    "all": "All maps have one scale.",
    "panel": "Each map has its own scale: strengths cannot be compared.",
}


def grid(
    rows: Mapping[str, Row],
    sample: int | Sequence[int] = 0,
    *,
    columns: Sequence[str] | None = None,
    part: int | None = None,
    scale: Sharing = "row",
    kind: Literal["overlay", "heatmap"] = "overlay",
    across: Literal["auto", "questions", "methods"] = "auto",
    percentile: float = 99.0,
    reduction: Reduction = "sum",
    show_picture: bool = True,
    theme: ThemeName = "light",
) -> Figure:
    """Draw one row a method and one column a question (class, example); returns the figure.

    `rows` gives each method its explanations: one, several, or named ones. `sample` is one
    number, or one a column. Methods measure in different units, so by default a scale is shared
    along a method only. `across` says what stands side by side; by itself, what there is more of.
    Tables are drawn as bars, series as lines; of several inputs each has its panel, or `part`
    picks one. Methods are named with their rules; operations that passed on their plain gradient
    for want of one are named below.
    """
    if scale not in SHARING_WORDS:
        raise InputError(f"scale is one of {', '.join(SHARING_WORDS)}; got {scale!r}.")
    cells, titles = _cells(rows, columns, sample)
    samples = [sample] * len(titles) if isinstance(sample, int) else list(sample)
    parts = range(len(next(iter(cells.values()))[0].parts)) if part is None else [part]
    images = True
    for row in cells.values():
        for explanation, number_ in zip(row, samples, strict=True):
            images &= all(is_image(picked(explanation, number_, i)) for i in parts)
    if len(parts) > 1 or not images:
        options = {"image": kind, "percentile": percentile, "reduction": reduction}
        drawn = _mixed(cells, titles, samples, parts, scale, theme=theme, **options)
        return say_uncovered(drawn, cells)
    part = parts[0]
    scales = _scales(cells, samples, part, scale, percentile, reduction)
    colours = theme_of(theme)
    first = next(iter(cells.values()))[0]
    height, width = picture_of(first.parts[part], samples[0]).shape[:2]
    turned = across == "methods" or (across == "auto" and len(cells) > len(titles))
    photo = show_picture and len(set(samples)) == 1
    sheet = _Sheet(len(cells), len(titles), turned, photo, height / width, colours)
    draw = overlay if kind == "overlay" else heatmap
    for i, (name, row) in enumerate(cells.items()):
        for j, explanation in enumerate(row):
            panel = sheet.panel(i, j)
            options = {"part": part, "reduction": reduction, "theme": theme}
            draw(explanation, samples[j], ax=panel, scale=scales[name][j], **options)
            sheet.name(panel, row_words(name, row), titles[j], i, j)
            if scale == "panel":
                sheet.note(panel, f"v = {number(scales[name][j].limit)}")
        sheet.bar(i, scales[name][0], own=scale == "panel", name=row[0].method)
    if sheet.photo is not None:
        picture(first, samples[0], part=part, ax=sheet.photo, theme=theme)
        title = wrap(f"predicted: {short_name(first.prediction_names[samples[0]])}", 28)
        inner = layer_words(first, part)
        title = f"{wrap(inner, 28)}\n{title}" if inner else title
        sheet.photo.set_title(title, fontsize=9, color=colours.ink, parse_math=False)
    sheet.caption(_caption(cells, part, scale, reduction, scales, colours))
    return say_uncovered(settle(sheet.figure), cells)


def _mixed(
    cells: Mapping[str, list[Explanation]],
    titles: Sequence[str],
    samples: Sequence[int],
    parts: Sequence[int],
    sharing: Sharing,
    **options: Any,
) -> Figure:
    """Methods, questions and inputs as panels of any kind; a line a method where it has several."""
    panels = []
    for name, row in cells.items():
        method = row_words(name, row)
        for title, e, sample in zip(titles, row, samples, strict=True):
            for part in parts:
                label = part_label(e, sample, part)
                words = [elide(method, 60)] if len(cells) > 1 or not label else []
                if len(titles) > 1 or not label:
                    words.append(elide(title, 30))
                group = {"row": name, "all": "all", "panel": f"panel {len(panels)}"}[sharing]
                panels.append(
                    Panel(", ".join([*words, label] if label else words), e, sample, part, group)
                )
    across = len(titles) * len(parts)
    title = titles[0] if len(titles) == 1 and len(parts) > 1 else ""
    if len(cells) == 1 and len(parts) > 1:
        title = ": ".join(filter(None, [row_words(*next(iter(cells.items()))), title]))
    return draw_panels(panels, title=title, across=across if across > 1 else None, **options)


def _caption(
    cells: Mapping[str, list[Explanation]],
    part: int,
    sharing: Sharing,
    reduction: Reduction,
    scales: Mapping[str, list[Scale]],
    colours: Theme,
) -> str:
    """What the colours mean and which maps may be compared."""
    every = [s for row in scales.values() for s in row]
    words = SHARING_WORDS[sharing]
    if any(s.signed for s in every):
        towards, away = colours.ends
        words = f"{towards.capitalize()} pushes towards what is named, {away} away from it. {words}"
    if any("channel" in e.parts[part].dims for row in cells.values() for e in row):
        words += f" Colour channels: {REDUCTION_WORDS[reduction]}."
    return f"{words} Scales end at the {every[0].percentile:g}th percentile of |a|."


def _cells(
    rows: Mapping[str, Row], columns: Sequence[str] | None, sample: int | Sequence[int]
) -> tuple[dict[str, list[Explanation]], list[str]]:
    """Every row as a list of explanations, and the columns' titles."""
    cells: dict[str, list[Explanation]] = {}
    titles: list[str] | None = list(columns) if columns is not None else None
    many = 1 if isinstance(sample, int) else len(sample)
    for name, row in rows.items():
        if isinstance(row, Explanation):
            cells[name] = [row] * many
        elif isinstance(row, Mapping):
            cells[name] = list(row.values())
            titles = titles or list(row)
        else:
            cells[name] = list(row)
    if not cells or not next(iter(cells.values())):
        raise InputError("grid() needs at least one explanation.")
    first = next(iter(cells.values()))
    numbers = [sample] * len(first) if isinstance(sample, int) else list(sample)
    lengths = {len(row) for row in cells.values()} | {len(numbers)}
    if len(lengths) > 1 or (titles is not None and len(titles) not in lengths):
        raise InputError(
            "grid() needs as many explanations in each row as there are columns; got rows of "
            + ", ".join(f"{name}: {len(row)}" for name, row in cells.items())
            + (f" and {len(titles)} column titles." if titles else ".")
        )
    names = [
        short_name(e.target_names[n]) if n < len(e.target_names) else ""
        for e, n in zip(first, numbers, strict=False)
    ]
    return cells, titles or names


def _scales(
    cells: Mapping[str, list[Explanation]],
    samples: Sequence[int],
    part: int,
    sharing: Sharing,
    percentile: float,
    reduction: Reduction,
) -> dict[str, list[Scale]]:
    """The scale of every panel, shared as asked."""
    maps = {
        name: [image_map(e.parts[part], n, reduction) for e, n in zip(row, samples, strict=True)]
        for name, row in cells.items()
    }
    signs = {
        name: reduction != "abs_sum" and any(signed_part(e, part) for e in row)
        for name, row in cells.items()
    }
    if sharing == "all":
        pooled = [m for row in maps.values() for m in row]
        one = Scale.of(pooled, percentile=percentile, signed=any(signs.values()))
        return {name: [one] * len(row) for name, row in maps.items()}
    if sharing == "row":
        return {
            name: [Scale.of(row, percentile=percentile, signed=signs[name])] * len(row)
            for name, row in maps.items()
        }
    return {
        name: [Scale.of([m], percentile=percentile, signed=signs[name]) for m in row]
        for name, row in maps.items()
    }


class _Sheet:
    """The sheet: where panels, names, colour bars and the picture stand.

    Columns are [picture] questions [bar]; turned, [picture] methods, with the bars below.
    """

    def __init__(
        self, methods: int, questions: int, turned: bool, photo: bool, shape: float, theme: Theme
    ):
        self.turned, self.theme = turned, theme
        rows, columns = (questions, methods) if turned else (methods, questions)
        size = 2.1 if max(rows, columns) > 2 else 2.8
        tall = size * min(max(shape, 0.5), 1.8)
        widths = [size] * (columns + photo) + ([] if turned else [0.09])
        heights = [tall] * rows + ([0.09] if turned else [])
        self.figure = new_figure(
            sum(widths) + 0.08 * columns + (0.35 if turned else 1.15),
            sum(heights) + 0.08 * rows + (1.25 if turned else 0.8),
            theme,
        )
        self.cells = self.figure.add_gridspec(
            len(heights), len(widths), width_ratios=widths, height_ratios=heights
        )
        self.first = int(photo)
        self.photo = self.figure.add_subplot(self.cells[0, 0]) if photo else None

    def panel(self, method: int, question: int) -> Axes:
        """New axes for one map."""
        row, column = (question, method) if self.turned else (method, question)
        return self.figure.add_subplot(self.cells[row, column + self.first])

    def name(self, panel: Axes, method: str, question: str, i: int, j: int) -> None:
        """Write names above the first row and beside the first column, wrapped, never cut."""
        above, beside = (method, question) if self.turned else (question, method)
        style = {"fontsize": 9, "color": self.theme.ink, "parse_math": False}
        if (j if self.turned else i) == 0:
            panel.set_title(wrap(above, 28, 3), **style)
        if (i if self.turned else j) == 0:
            _bare(panel)
            panel.set_ylabel(wrap(beside, 28, 3), **style)

    def note(self, panel: Axes, text: str) -> None:
        """Write a line below one panel."""
        _bare(panel)
        panel.set_xlabel(text, fontsize=8, color=self.theme.muted)

    def bar(self, method: int, scale: Scale, own: bool, name: str) -> None:
        """Draw the method's colour bar; where each panel has its own v, it shows v alone."""
        place = self.cells[-1, method + self.first] if self.turned else self.cells[method, -1]
        cax = self.figure.add_subplot(place)
        drawn = Scale(1.0, scale.signed) if own else scale
        bar = colour_bar(
            self.figure, cax, drawn, "", self.theme, horizontal=self.turned, method=name
        )
        if own:
            bar.set_ticks([drawn.bottom, drawn.top], labels=["−v" if scale.signed else "0", "v"])

    def caption(self, text: str) -> None:
        """Write the sheet's caption along its foot."""
        lines = textwrap.fill(text, max(30, int(self.figure.get_figwidth() * 15)))
        self.figure.supxlabel(lines, fontsize=7.5, color=self.theme.muted)


def _bare(panel: Axes) -> None:
    """Axes with room for labels but without frame and ticks."""
    panel.set_axis_on()
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(False)
