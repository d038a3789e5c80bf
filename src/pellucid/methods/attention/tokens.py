"""A number for each token, laid over the input that the tokens were made of."""

from dataclasses import dataclass

import numpy as np

from pellucid.arrays import resize
from pellucid.errors import LayerError
from pellucid.inputs.layout import space_axes
from pellucid.inputs.map_layout import MapLayout, single_layout, token_layouts
from pellucid.layer_choice import map_grids
from pellucid.methods.base import Attribution
from pellucid.task import Task

_MOST_BEFORE = 2  # a class and a distillation token


@dataclass(frozen=True)
class TokenLayout:
    """How tokens lie over an input: `grid` over its spatial axes, or one a position of axis 1."""

    leaf: int
    grid: tuple[int, ...]
    tokens_before: int


def layout_of(
    task: Task, tokens: int, grid: tuple[int, ...] | None, tokens_before: int | None
) -> TokenLayout:
    """The input that the tokens were made of, and how they lie over it.

    Pictures and volumes have a grid of patches, as for class activation maps; of other inputs
    each position is a token, or `grid=(k,)` tokens share the positions evenly. Where several
    inputs fit, one that is no mask of zeros and ones, with as few tokens before. Raises
    `LayerError` where none fits.
    """
    found = []
    for leaf in range(len(task.batch.arrays)):
        layout = _layout(task, leaf, tokens, grid, tokens_before)
        if layout is not None:
            found.append(layout)
    if not found:
        shapes = ", ".join(str(a.shape[1:]) for a in task.batch.arrays)
        raise LayerError(
            f"The {tokens} tokens of the attention cannot be laid over inputs of the shapes"
            f" {shapes}.\n  Say how they lie: grid=(height, width) or (positions,), and"
            " tokens_before= for those that are no part of the input, such as a class token."
        )

    def rank(layout: TokenLayout) -> tuple[bool, int]:
        mask = bool(np.isin(task.batch.arrays[layout.leaf], (0, 1)).all())
        return mask, layout.tokens_before

    return min(found, key=rank)


def _layout(
    task: Task, leaf: int, tokens: int, grid: tuple[int, ...] | None, tokens_before: int | None
) -> TokenLayout | None:
    array, dims = task.batch.arrays[leaf], task.batch.dims[leaf]
    size = tuple(array.shape[a] for a in space_axes(dims))
    if len(size) > 1:
        grids = () if grid is not None else map_grids(task, size)
        shape = (len(array), tokens, 1)
        found = token_layouts(shape, size, grids, grid=grid, tokens_before=tokens_before)
        layout: MapLayout | None = single_layout(found, shape, "the attention")
        return None if layout is None else TokenLayout(leaf, layout.grid, layout.tokens_before or 0)
    if array.ndim < 2:
        return None
    positions = grid[0] if grid is not None and len(grid) == 1 else array.shape[1]
    before = tokens - positions if tokens_before is None else tokens_before
    most = _MOST_BEFORE if tokens_before is None else before
    fits = 0 <= before <= most and (before + positions == tokens or tokens_before is not None)
    fits = fits and before + positions <= tokens and array.shape[1] % positions == 0
    return TokenLayout(leaf, (positions,), before) if fits else None


def laid_out(task: Task, relevance: np.ndarray, layout: TokenLayout) -> Attribution:
    """The attribution of tokens' numbers `(n, tokens)`: a map without channels, zeros elsewhere."""
    batch = task.batch
    first = layout.tokens_before
    patches = relevance[:, first : first + int(np.prod(layout.grid))].astype(np.float32)
    grid = patches.reshape(len(patches), *layout.grid)
    dims = batch.dims[layout.leaf]
    axes = space_axes(dims) if len(layout.grid) > 1 else (1,)
    sizes = tuple(batch.arrays[layout.leaf].shape[a] for a in axes)
    values = [np.zeros(a.shape, dtype=np.float32) for a in batch.arrays]
    if len(axes) > 1:
        values[layout.leaf] = resize(grid, sizes, tuple(range(1, grid.ndim)))
    else:
        shared = batch.arrays[layout.leaf].shape[1] // grid.shape[1]
        values[layout.leaf] = np.repeat(grid, shared, axis=1)
    all_dims = list(batch.dims)
    all_dims[layout.leaf] = ("sample", *(dims[a] for a in axes))
    extras = {"tokens": relevance.astype(np.float32)}
    if layout.grid != sizes:
        extras["grid"] = grid
    return Attribution(
        tuple(values),
        dims=tuple(all_dims),
        extras=extras,
        parameters={"grid": layout.grid, "tokens_before": layout.tokens_before},
    )
