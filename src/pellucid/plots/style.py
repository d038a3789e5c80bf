"""The house style: colours that colour-blind people can tell apart, and text that never breaks."""

import io
import textwrap
from dataclasses import dataclass
from functools import cache
from typing import Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pellucid.errors import InputError
from pellucid.explanation import shorten

ThemeName = Literal["light", "dark"]

OKABE_ITO = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#D55E00",
    "#F0E442",
    "#000000",
)
"""Eight colours for categories that stay apart under every kind of colour blindness."""


@dataclass(frozen=True)
class Theme:
    """Ground, ink and colour maps of one appearance."""

    ground: str
    ink: str
    muted: str
    signed: str
    unsigned: str = "viridis"

    def colour_map(self, signed: bool) -> Colormap:
        """The diverging map for signed values, the sequential one for values of one sign."""
        if signed and self._signed == DARK.signed:
            return _fading(DARK.signed, self.ground)
        return matplotlib.colormaps[self._signed if signed else self.unsigned]

    @property
    def ends(self) -> tuple[str, str]:
        """What a person calls the colours of towards and away."""
        return ("red", "blue") if self._signed == "coolwarm" else ("orange", "cyan")

    @property
    def _signed(self) -> str:
        # managua came with matplotlib 3.10; coolwarm is readable on a dark ground too.
        return self.signed if self.signed in matplotlib.colormaps else "coolwarm"


@cache
def _fading(name: str, ground: str) -> Colormap:
    """A diverging map whose middle, where there is nothing, is nearly the ground."""
    place = np.linspace(0, 1, 256)
    weight = np.clip(0.04 + np.abs(2 * place - 1) / 0.45, 0, 1)[:, None]
    colours = weight * matplotlib.colormaps[name](place)[:, :3] + (1 - weight) * np.array(
        to_rgb(ground)
    )
    return ListedColormap(colours, name=f"{name}_on_dark")


LIGHT = Theme(ground="#ffffff", ink="#1c1e21", muted="#5c6370", signed="coolwarm")
DARK = Theme(ground="#16181c", ink="#e8e8e6", muted="#a3a9b4", signed="managua_r")


def theme_of(name: ThemeName) -> Theme:
    """The theme of that name; `InputError` for another."""
    if name not in ("light", "dark"):
        raise InputError(f"Expected theme to be 'light' or 'dark', got {name!r}.")
    return DARK if name == "dark" else LIGHT


class Sheet(Figure):
    """A figure that belongs to no window and still shows in a notebook."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=110, facecolor=self.get_facecolor())
        return stream.getvalue()


def new_figure(width: float, height: float, theme: Theme) -> Sheet:
    """An empty figure in inches, outside pyplot: nothing global changes, nothing is shown."""
    return Sheet(figsize=(width, height), layout="constrained", facecolor=theme.ground)


def settle(figure: Figure) -> Figure:
    """Let the layout come to rest: the first pass over fixed-shape panels can cut their titles."""
    figure.draw_without_rendering()
    figure.draw_without_rendering()
    return figure


def say_below(drawn: Axes | Figure, words: str) -> None:
    """Write a line under a figure, beside what stands there, or under the caller's axes."""
    if isinstance(drawn, Figure):
        before = drawn.get_supxlabel()
        words = textwrap.fill(words, max(30, int(13 * drawn.get_figwidth())))
        drawn.supxlabel(f"{before}\n{words}" if before else words, fontsize=8)
        settle(drawn)
    else:
        words = textwrap.fill(words, max(24, int(14 * axes_width(drawn))))
        drawn.annotate(
            words, (0.5, 0), xytext=(0, -4), xycoords="axes fraction", textcoords="offset points",
            ha="center", va="top", fontsize=7, annotation_clip=False,
        )  # fmt: skip


def axes_width(axes: Axes) -> float:
    """How wide axes are, in inches, before the layout has settled."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return axes.get_position().width * figure.get_figwidth()


def axes_or_new(ax: Axes | None, width: float, height: float, theme: Theme) -> Axes:
    """The caller's axes, or the only axes of a new figure."""
    if ax is not None:
        return ax
    axes = new_figure(width, height, theme).add_subplot()
    axes.set_facecolor(theme.ground)
    return axes


def elide(text: object, length: int = 32) -> str:
    """`text` on one line, its middle cut out where it is longer than `length` characters.

    The middle goes because class and feature names differ at their ends.
    """
    line = " ".join(str(text).split())
    if len(line) <= length:
        return line
    head = (length - 1) // 2
    tail = length - 1 - head
    return f"{line[:head].rstrip()}…{line[-tail:].lstrip()}"


def short_name(name: str, length: int = 24) -> str:
    """A class name for a sentence: of a long list of synonyms, as ImageNet has, the first.

    >>> short_name("dragonfly, darning needle, devil's darning needle rather than damselfly")
    'dragonfly rather than damselfly'
    """
    words = " rather than "
    sides = [elide(side, 200) for side in name.split(words)]
    return words.join(shorten(s) if len(s) > length else s for s in sides)


def wrap(text: object, characters: int, lines: int = 2) -> str:
    """`text` on at most so many lines, elided where even they do not hold it."""
    return "\n".join(textwrap.wrap(elide(text, characters * lines - 4), characters)[:lines])


def number(value: float) -> str:
    """A number with three figures, as a person would write it: 0.0123, 12.3, 1.2e-5, 3103.

    Below ten millions no digit before the point is rounded away.
    """
    if value == 0:
        return "0"
    if 999.5 <= abs(value) < 1e7 or (abs(value) < 1e7 and value == round(value)):
        return f"{value:.0f}".replace("-", "−")
    return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e+").replace("-", "−")


def style_axes(axes: Axes, theme: Theme) -> None:
    """Quiet frame and ticks in the theme's ink; pictures are left without either."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(theme.muted)
    axes.tick_params(colors=theme.muted, labelcolor=theme.ink)
    # Numbers of six digits side by side do not meet.
    axes.xaxis.set_major_locator(MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]))
