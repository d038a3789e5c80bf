"""How a layer's output is read as a map over the input: feature maps, and grids of tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from pellucid.errors import LayerError

_USUAL_BEFORE = (0, 1, 2)  # nothing, a class token, a class and a distillation token
_RARE_BEFORE = (3, 4, 5, 6, 7, 8, 9)  # registers beside them

Sizes = Sequence[int | None]


@dataclass(frozen=True)
class MapLayout:
    """The positions and the channels of an array `(n, ...)`.

    `grid` is how many positions lie along each spatial axis of the input, `channel` the axis of
    the channels. `tokens_before` is None for a feature map; where positions are tokens
    `(n, tokens, channels)` it counts those that stand before the first patch.
    """

    grid: tuple[int, ...]
    channel: int
    tokens_before: int | None = None

    @property
    def space(self) -> tuple[int, ...]:
        """The axes of the positions; one alone for tokens."""
        if self.tokens_before is not None:
            return (1,)
        first = 2 if self.channel == 1 else 1
        return tuple(range(first, first + len(self.grid)))

    def patches(self, a: Any) -> Any:
        """`a` without the tokens that are no patches."""
        if self.tokens_before is None:
            return a
        return a[:, self.tokens_before : self.tokens_before + prod(self.grid)]


def read_map(
    shape: Sizes, size: Sequence[int], channel_axis: int, grid: Sequence[int] | None = None
) -> MapLayout | None:
    """A feature map with as many spatial axes as the input, or None.

    Channels are where the framework has them (`channel_axis`), or at the other end where only
    that gives a grid in the proportions of the input (Swin and ConvNeXt in torch), or `grid`.
    """
    if len(shape) != len(size) + 2:
        return None
    own, other = (
        MapLayout(tuple(s or 0 for s in sizes), axis)
        for axis, sizes in sorted(
            ((1, shape[2:]), (len(shape) - 1, shape[1:-1])),
            key=lambda pair: (pair[0] == 1) != (channel_axis == 1),
        )
    )
    if grid is not None:
        return next((layout for layout in (own, other) if layout.grid == tuple(grid)), None)
    if None in shape[1:] or _fits(own.grid, size) or not _fits(other.grid, size):
        return own
    return other


def _fits(grid: Sequence[int], size: Sequence[int]) -> bool:
    """Whether a grid has the proportions of the input, give or take one position."""
    if any(g > s for g, s in zip(grid, size, strict=True)):
        return False
    (first, whole), *others = zip(grid, size, strict=True)
    return all(abs(g * whole - first * s) <= max(whole, s) for g, s in others)


def token_layouts(
    shape: Sizes,
    size: Sequence[int],
    map_grids: Iterable[Sequence[int]],
    *,
    grid: Sequence[int] | None = None,
    tokens_before: int | None = None,
) -> list[MapLayout]:
    """Every way to read `(n, tokens, channels)` as a grid over an input of two or three axes.

    The grid is `grid`; or that of a feature map the model made on the way (the convolution of a
    patch embedding), as it is or halved by patch merging; or, where no map fits, one with square
    patches that divide the input evenly. Up to two tokens before the patches are taken for
    granted before registers are thought of.
    """
    if len(shape) != 3 or len(size) < 2 or shape[1] is None or shape[2] is None:
        return []
    tokens = shape[1]
    if grid is not None:
        left_over = tokens - prod(grid)
        before = left_over if tokens_before is None else tokens_before
        most = left_over if tokens_before is not None else min(left_over, _RARE_BEFORE[-1])
        fits = 0 <= before <= most
        return [MapLayout(tuple(grid), 2, before)] if fits else []
    seen = {g for m in map_grids if all(m) for g in _merged(m)}
    even = {
        tuple(s // patch for s in size)
        for patch in range(2, min(size) + 1)
        if all(s % patch == 0 for s in size)
    }
    usual, rare = (
        (tokens_before,) if tokens_before is not None else befores
        for befores in (_USUAL_BEFORE, _RARE_BEFORE)
    )
    for grids in (seen, even):
        for befores in (usual, rare):
            found = [
                MapLayout(g, 2, tokens - prod(g))
                for g in sorted(grids)
                if tokens - prod(g) in befores and prod(g) > 1
            ]
            if found:
                return found
    return []


def _merged(grid: Sequence[int]) -> list[tuple[int, ...]]:
    """A patch grid, and what merging pairs of patches makes of it."""
    grids = [tuple(grid)]
    while all(g % 2 == 0 and g > 2 for g in grids[-1]):
        grids.append(tuple(g // 2 for g in grids[-1]))
    return grids


def single_layout(layouts: Sequence[MapLayout], shape: Sizes, path: str) -> MapLayout | None:
    """The one layout found; `LayerError` where there are several."""
    if len(layouts) > 1:
        ways = ", ".join(f"{a.grid} after {a.tokens_before} other tokens" for a in layouts)
        raise LayerError(
            f"The {shape[1]} tokens of {path} can be laid out in several ways: {ways}.\n"
            "  Say which: grid=(height, width), and tokens_before= if it is not what is left over."
        )
    return layouts[0] if layouts else None
