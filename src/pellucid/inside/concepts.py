"""What a tree may ask about pictures: colours of cells, channels of a layer, pieces of one picture.

A tree over single pixels would say nothing to anybody, so it asks about what people can name.
"""

from typing import Any

import numpy as np

from pellucid.errors import CapabilityError, InputError
from pellucid.inputs.features import Features, make_features
from pellucid.inputs.layout import space_axes
from pellucid.inside.asked import Asked
from pellucid.methods.perturbation.game import make_units
from pellucid.methods.perturbation.lime_masks import draw_masks, proximity
from pellucid.methods.perturbation.removal import Removal, Units, references_of
from pellucid.task import Task

_WIDTH = 0.25
_MASKS = 64
_COPIES = 1000
_CHANNELS = {1: ("",), 3: (" red", " green", " blue")}


def colours_of_cells(task: Task, features: Any) -> Asked:
    """The mean of each channel in each cell of a grid over all pictures, as they are shown.

    Raises `InputError` for units that differ from picture to picture: their names would not mean
    the same.
    """
    dims = task.batch.dims[0]
    spec = "grid:4" if features is None else features
    units = make_features(spec, task.batch.arrays[0], dims, name=task.batch.names[0])
    if len(units.units) > 1:
        raise InputError(
            f"features={features!r} cuts every picture in its own way, so that a tree cannot ask"
            " all of them the same.\n  features='grid:4' can, and layer= asks about a layer's"
            " channels; one picture alone is asked about its own pieces."
        )

    def read(x: Any) -> np.ndarray:
        batch = task.wrapped.accept(x, more=True)
        return _means(_channels_last(_shown(batch.display[0], batch.arrays[0]), dims), units)

    pictures = _channels_last(_shown(task.batch.display[0], task.batch.arrays[0]), dims)
    table = _means(pictures, units)
    count = pictures.shape[-1]
    channels = _CHANNELS.get(count) or tuple(f" channel {c}" for c in range(count))
    cells = units.names or tuple(f"cell {i}" for i in range(int(units.counts[0])))
    names = tuple(f"{cell}{channel}" for cell in cells for channel in channels)
    ground = _as_colours(pictures.mean(axis=0))
    if ground.shape[:2] != units.units[0].shape:  # a series has no picture
        return Asked(table, names, (None,) * len(names), read)
    return Asked(
        table, names, (None,) * len(names), read,
        picture=lambda column: _lit(ground, units.units[0] == column // count),
    )  # fmt: skip


def _shown(display: np.ndarray | None, array: np.ndarray) -> np.ndarray:
    return array if display is None else display


def _channels_last(pictures: np.ndarray, dims: tuple[str, ...]) -> np.ndarray:
    if pictures.dtype == np.uint8:  # as shown, which is channels last
        return pictures.astype(np.float64)
    found = pictures.astype(np.float64)
    if "channel" not in dims:
        return found[..., None]
    return np.moveaxis(found, dims.index("channel"), -1)


def _means(pictures: np.ndarray, units: Features) -> np.ndarray:
    """`(n, cells · channels)` of pictures `(n, *space, channels)`."""
    flat = units.units[0].reshape(-1)
    there = flat >= 0
    weights = np.zeros((flat.size, int(units.counts[0])))
    weights[np.flatnonzero(there), flat[there]] = 1
    weights /= weights.sum(axis=0)
    rows = pictures.reshape(len(pictures), flat.size, -1)
    return np.einsum("npc,pk->nkc", rows, weights).reshape(len(pictures), -1)


def channels_of_layer(task: Task, layer: str) -> Asked:
    """The mean over all positions of each channel of what a layer returns, as concepts.

    Raises `CapabilityError` for a model that cannot be opened there.
    """
    path = task.layer(layer)

    def read(x: Any) -> np.ndarray:
        return _opened(task, path, task.wrapped.accept(x, more=True).leaves)

    table = _opened(task, path, task.x)
    names = tuple(f"{layer} {i}" for i in range(table.shape[1]))
    return Asked(table, names, (None,) * len(names), read)


def _opened(task: Task, path: str, leaves: Any) -> np.ndarray:
    def evaluate(start: int, stop: int) -> np.ndarray:
        cut = task.model.cut(tuple(a[start:stop] for a in leaves), path)
        value = task.to_numpy(cut.value).astype(np.float64)
        if value.ndim < 2:
            raise CapabilityError(f"The layer {path!r} returns {value.shape}: it has no channels.")
        axis = task.model.adapter.channel_axis_of(value.ndim) if value.ndim > 2 else 1
        last = np.moveaxis(value, axis, -1)
        return last.mean(axis=tuple(range(1, last.ndim - 1)))

    count = int(leaves[0].shape[0])
    parts = [v for _, _, v in task.schedule.run(count, evaluate, key="cut", layouts=True)]
    return np.concatenate(parts)


def pieces_of_picture(task: Task, features: Any, budget: int | None) -> tuple[Asked, np.ndarray]:
    """Which pieces of one picture are there in changed copies of it, and the score of each copy.

    Pieces are superpixels (20) unless `features` says otherwise; what is hidden has its own mean.
    Copies are drawn as GLIME draws them, nearer ones more often (`default_rng([seed, 64])`), each
    once. Raises `InputError` for a picture of one piece.
    """
    spec = "superpixels:20" if features is None else features
    units = make_units(task, spec)
    parts = tuple(map(Units, units))
    references, inpainted = references_of(task, "unit_mean", units)
    removal = Removal(task, parts, references, np.arange(1), inpainted)
    if removal.count < 2:
        raise InputError("This picture has one piece: features='grid:4' cuts it into cells.")
    wanted = (_COPIES if budget is None else budget) - 1
    drawn = draw_masks(
        proximity(removal.count, _WIDTH, False), wanted, task.generator(_MASKS), glime=True
    )
    kept = np.unique(drawn.kept, axis=0)
    scores = np.zeros(len(kept))

    def finish(place: int, found: np.ndarray) -> None:
        scores[:] = found[0]

    removal.scores(kept, finish)
    places = units[0].units[0]
    names = tuple(f"piece {i}{_where(places == i)}" for i in range(removal.count))
    shown = _channels_last(_shown(task.batch.display[0], task.batch.arrays[0]), task.batch.dims[0])
    picture = _as_colours(shown[0])

    def read(x: Any) -> np.ndarray:
        found = np.atleast_2d(np.asarray(x, dtype=np.float64))
        if found.shape[1] != removal.count or not np.isin(found, (0, 1)).all():
            raise InputError(
                f"This tree asks which of the {removal.count} pieces are there: expected rows of"
                f" {removal.count} zeros and ones, got shape {found.shape}."
            )
        return found

    asked = Asked(
        kept.astype(np.float64), names, (None,) * len(names), read, presence=True,
        picture=lambda column: _lit(picture, places == column),
    )  # fmt: skip
    return asked, scores


def _where(mask: np.ndarray) -> str:
    """Where a piece lies, in words."""
    if mask.ndim != 2:
        return ""
    rows, columns = (np.mean(p) / s for p, s in zip(np.nonzero(mask), mask.shape, strict=True))
    high = "top" if rows < 1 / 3 else "bottom" if rows > 2 / 3 else ""
    wide = "left" if columns < 1 / 3 else "right" if columns > 2 / 3 else ""
    return f" ({f'{high} {wide}'.strip() or 'middle'})"


def _as_colours(picture: np.ndarray) -> np.ndarray:
    """A picture `(..., channels)` of any range as uint8 in three colours."""
    low, high = float(picture.min()), float(picture.max())
    if not (low >= 0 and 1 < high <= 255):
        picture = (picture - low) / (high - low if high > low else 1.0) * 255
    if picture.shape[-1] != 3:
        picture = np.repeat(picture.mean(axis=-1, keepdims=True), 3, axis=-1)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _lit(picture: np.ndarray, place: np.ndarray) -> np.ndarray:
    """The picture with all but one place faded."""
    faded = picture // 4 + 160
    return np.where(place[..., None], picture, faded).astype(np.uint8)


def spatial(task: Task) -> bool:
    """Whether the model's only input has positions, as pictures and series have."""
    return len(task.batch.dims) == 1 and bool(space_axes(task.batch.dims[0]))
