"""A surrogate tree with its data, on axes of matplotlib."""

from typing import TYPE_CHECKING

from matplotlib.axes import Axes

from pellucid.plots.marks import on_axes
from pellucid.plots.style import ThemeName, new_figure, theme_of
from pellucid.plots.tree_drawing import drawing_of

if TYPE_CHECKING:
    from pellucid.inside.surrogate_result import SurrogateTree

_PIXELS = 100.0
"""Of the drawing, in an inch of a new figure."""


def tree(found: "SurrogateTree", *, ax: Axes | None = None, theme: ThemeName = "light") -> Axes:
    """Draw the tree, its root at the left; returns the axes.

    A card a question, with how the rows that come here lie along its column, coloured by class or
    by the mean score, those that answer yes on a tinted ground; a card an answer, with the rows it
    was learned from and how right it is on held-out ones. Without `ax` the figure is as large as
    the tree is. `SurrogateTree.to_svg` is the same drawing, with full names on hovering.
    """
    drawing = drawing_of(found, theme)
    if ax is None:
        figure = new_figure(drawing.width / _PIXELS, drawing.height / _PIXELS, theme_of(theme))
        figure.set_layout_engine("none")
        ax = figure.add_axes((0, 0, 1, 1))
    on_axes(drawing, ax)
    return ax
