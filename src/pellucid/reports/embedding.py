"""An embedding as a fragment of HTML: an SVG without scripts, a title on every point."""

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.colors import to_hex

from pellucid.plots.groups import colouring
from pellucid.plots.style import LIGHT, elide, number
from pellucid.reports.page import render_template

if TYPE_CHECKING:
    from pellucid.inside.embedded import Embedding

WIDTH, HEIGHT, MARGIN = 640, 440, 14

_SIGNS = {
    "o": "M{r},0A{r},{r} 0 1 1 -{r},0A{r},{r} 0 1 1 {r},0Z",
    "s": "M-{r},-{r}H{r}V{r}H-{r}Z",
    "^": "M0,-{r}L{r},{r}H-{r}Z",
    "v": "M0,{r}L{r},-{r}H-{r}Z",
    "D": "M0,-{q}L{q},0L0,{q}L-{q},0Z",
    "P": "M-{s},-{q}H{s}V-{s}H{q}V{s}H{s}V{q}H-{s}V{s}H-{q}V-{s}H-{s}Z",
    "X": "M-{r},-{q}L0,-{s}L{r},-{q}L{q},-{r}L{s},0L{q},{r}L{r},{q}L0,{s}L-{r},{q}L-{q},{r}L-{s},0"
    "L-{q},-{r}Z",
    ".": "M{s},0A{s},{s} 0 1 1 -{s},0A{s},{s} 0 1 1 {s},0Z",
}
"""Outlines of the signs of `plots.groups`, around 0, of radius r."""


def embedding_html(found: "Embedding", *, colour: Any = "auto", at_most: int = 5000) -> str:
    """The points as an SVG in HTML, each with a title that says which sample it is.

    `colour` as in `pellucid.plots.embedding`. Names and labels are escaped. More than `at_most`
    points are thinned evenly, and the caption says so.
    """
    chosen = colouring(found, colour, LIGHT.ink)
    count = len(found.rows)
    drawn = np.unique(np.linspace(0, count - 1, min(count, at_most)).astype(int))
    shown = set(drawn.tolist())
    x, y = _placed(found.coordinates[:, :2])
    radius = float(np.clip(90 / np.sqrt(max(len(drawn), 1)), 2.2, 5))
    groups = []
    if chosen.values is not None:
        low, high = float(chosen.values.min()), float(chosen.values.max())
        shades = matplotlib.colormaps[LIGHT.unsigned]((chosen.values - low) / ((high - low) or 1))
        points = [_point(found, i, x, y, to_hex(tuple(shades[i]))) for i in drawn]
        name = f"{elide(chosen.by, 40)}: dark {number(low)}, light {number(high)}"
        groups.append({"name": name, "sign": _sign("o", radius), "colour": "", "points": points})
    for group in chosen.groups:
        points = [_point(found, int(i), x, y, "") for i in group.places if int(i) in shown]
        groups.append({"name": elide(group.name, 60), "sign": _sign(group.marker, radius),
                       "colour": group.colour, "points": points})  # fmt: skip
    thinned = f" {len(drawn)} of the points are drawn." if len(drawn) < count else ""
    return render_template(
        "embedding.html.j2", width=WIDTH, height=HEIGHT, title=elide(found.title, 120),
        line=elide(str(found), 300) + "." + thinned, groups=groups, by=elide(chosen.by, 60),
    )  # fmt: skip


def _sign(marker: str, r: float) -> str:
    sizes = {"r": f"{r:.1f}", "q": f"{1.3 * r:.1f}", "s": f"{0.45 * r:.1f}"}
    return _SIGNS[marker].format(**sizes).replace("--", "")


def _placed(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = points.min(axis=0), points.max(axis=0)
    unit = (points - low) / np.where(high > low, high - low, 1.0)
    return (
        MARGIN + unit[:, 0] * (WIDTH - 2 * MARGIN),
        HEIGHT - MARGIN - unit[:, 1] * (HEIGHT - 2 * MARGIN),
    )


def _point(found: "Embedding", i: int, x: np.ndarray, y: np.ndarray, fill: str) -> dict[str, str]:
    words = [f"sample {found.rows[i]}"]
    if found.names is not None:
        words.append(elide(found.names[i], 80))
    if found.labels is not None:
        words.append(f"class {elide(found.labels[i], 80)}")
    if found.predicted is not None:
        words.append(f"predicted {elide(found.predicted[i], 80)}")
    if found.correct is not None and not found.correct[i]:
        words.append("wrong")
    return {"x": f"{x[i]:.1f}", "y": f"{y[i]:.1f}", "fill": fill, "title": ", ".join(words)}
