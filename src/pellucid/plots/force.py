"""Force: one sample's columns as two rows of arrows that meet at the score."""

from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from pellucid.explanation import Explanation
from pellucid.plots.columns import columns_of, require_sum, sign_words, signs, title
from pellucid.plots.image import picked
from pellucid.plots.style import Theme, ThemeName, axes_or_new, elide, number, theme_of
from pellucid.plots.table import Feature, top_features

_LEVELS = 4
"""Lines of labels under the bar, so that neighbours do not meet."""


def force(
    explanation: Explanation,
    sample: int = 0,
    *,
    k: int = 8,
    part: int = 0,
    ax: Axes | None = None,
    theme: ThemeName = "light",
) -> Axes:
    """Draw what pushes up from the left and what pushes down from the right; returns the axes.

    The arrows' lengths are the attributions; the k strongest are named. They meet at the score.
    Raises `InputError` for a method whose values do not add up.
    """
    require_sum(explanation, "force")
    picked(explanation, sample, part)
    colours, columns = theme_of(theme), columns_of(explanation, part, sample)
    every = top_features(explanation, sample, columns.values.shape[1], part=part)
    axes = axes_or_new(ax, 10, 2.9, colours)
    base = float(columns.base[sample])
    score = base + float(columns.values[sample].sum())
    named = {f.name for f in every[: max(k, 0)]}
    spans = _spans(every, score)
    ends = [e for _, start, end in spans for e in (start, end)]
    low, high = min([base, score, *ends]), max([base, score, *ends])
    room = (high - low) or 1.0
    for _, start, end in spans:
        _arrow(axes, start, end, 0.012 * room, colours)
    labels = [(f, (a + b) / 2) for f, a, b in spans if f.name in named and f.attribution]
    lines = _labels(axes, labels, room, colours)
    for value, style in ((base, "--"), (score, "-")):
        axes.plot([value] * 2, [0.0, 1.25], color=colours.ink, linewidth=0.9, linestyle=style)
    near = abs(base - score) < 0.16 * room
    axes.text(score, 1.3, f"f(x) = {number(score)}", ha="center", fontsize=9, weight="bold",
              color=colours.ink)  # fmt: skip
    axes.text(base, 1.75 if near else 1.3, f"{columns.base_name} {number(base)}", ha="center",
              fontsize=8, color=colours.muted)  # fmt: skip
    axes.set_xlim(low - 0.05 * room, high + 0.05 * room)
    axes.set_ylim(-0.55 * lines - 0.25, 2.1 if near else 1.75)
    axes.yaxis.set_visible(False)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(colours.muted)
    axes.tick_params(colors=colours.muted, labelcolor=colours.ink)
    up, down = sign_words(colours)
    axes.set_xlabel(f"{columns.explained}: {up} pushes up, hatched {down} pushes down",
                    color=colours.ink, fontsize=9, parse_math=False)  # fmt: skip
    title(axes, columns, colours)
    return axes


def _spans(features: tuple[Feature, ...], score: float) -> list[tuple[Feature, float, float]]:
    """Where each arrow starts and ends: the strongest next to the score."""
    spans, up, down = [], score, score
    for feature in features:
        a = feature.attribution
        if a > 0:
            spans.append((feature, up - a, up))
            up -= a
        elif a < 0:
            spans.append((feature, down - a, down))
            down -= a
    return spans


def _arrow(axes: Axes, start: float, end: float, tip: float, theme: Theme) -> None:
    towards = end > start
    tip = min(tip, abs(end - start)) * (1 if towards else -1)
    corners = [(start, 0.0), (end - tip, 0.0), (end, 0.5), (end - tip, 1.0), (start, 1.0),
               (start + tip, 0.5)]  # fmt: skip
    axes.add_patch(
        Polygon(
            corners,
            closed=True,
            facecolor=signs(theme)[towards],
            edgecolor=theme.ground,
            linewidth=0.8,
            hatch=None if towards else "////",
        )
    )


def _labels(axes: Axes, labels: list[tuple[Feature, float]], room: float, theme: Theme) -> int:
    """Names under the arrows, each on the first line where it meets no other; lines used."""
    taken: list[list[tuple[float, float]]] = [[] for _ in range(_LEVELS)]
    for feature, at in sorted(labels, key=lambda pair: pair[1]):
        label = replace(feature, name=elide(feature.name, 24)).label
        half = 0.0052 * len(label) * room
        free = [
            level
            for level, others in enumerate(taken)
            if all(at - half > right or at + half < left for left, right in others)
        ]
        if not free:
            continue
        level = free[0]
        taken[level].append((at - half, at + half))
        y = -0.55 * (level + 1)
        axes.plot([at, at], [0, y + 0.32], color=theme.muted, linewidth=0.6)
        ground = {"facecolor": theme.ground, "edgecolor": "none", "pad": 1.0}
        axes.text(at, y, label, ha="center", fontsize=8, color=theme.ink, bbox=ground,
                  parse_math=False)  # fmt: skip
    return max((level + 1 for level, others in enumerate(taken) if others), default=0)
