"""Where in its pictures a model looks, a map a class."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from pellucid.plots.style import ThemeName, elide, new_figure, settle, theme_of

if TYPE_CHECKING:
    from pellucid.board.places import Places

_ACROSS = 6


def places(found: "Places", *, theme: ThemeName = "light") -> Figure:
    """Draw what each cell of a grid counts for, all classes on one scale; returned, never shown."""
    look = theme_of(theme)
    across = min(_ACROSS, len(found.counts))
    down = -(-len(found.counts) // across)
    figure = new_figure(max(3.4, 1.5 * across + 0.9), 1.75 * down + 0.2, look)
    held = figure.subplots(down, across, squeeze=False).ravel()
    image = None
    for axes, name, count, means in zip(
        held, found.class_names, found.counts, found.means, strict=False
    ):
        image = axes.imshow(
            means, cmap=look.colour_map(False), vmin=0, vmax=float(found.means.max()) or 1.0
        )
        axes.set_title(f"{elide(name, 18)} ({count})", color=look.ink, fontsize=8,
                       parse_math=False)  # fmt: skip
    for axes in held:
        axes.set_axis_off()
    if image is not None:
        bar = figure.colorbar(image, ax=held.tolist(), fraction=0.03, pad=0.02,
                              format=lambda share, _: f"{100 * share:.3g} %")  # fmt: skip
        bar.ax.tick_params(labelsize=7, colors=look.ink)
        bar.outline.set_visible(False)  # type: ignore[operator]
    return settle(figure)
