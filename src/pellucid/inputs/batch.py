"""A user's inputs as a batch that the model takes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Adapter, InputSpec
from pellucid.errors import InputError, PellucidError
from pellucid.inputs.checks import (
    check_arrays,
    check_text,
    lacks_batch_axis,
    refuse_swapped,
    specs_for,
)
from pellucid.inputs.layout import input_dims
from pellucid.types import Leaves, is_array


@dataclass(frozen=True)
class Batch:
    """A user's inputs as the model takes them: native leaves, and what to call them.

    `arrays` are the leaves in NumPy; `display` uint8 pictures, where there are any; `batched`
    is False where a missing batch axis was added.
    """

    leaves: Leaves
    arrays: tuple[np.ndarray, ...]
    names: tuple[str, ...]
    dims: tuple[tuple[str, ...], ...]
    display: tuple[np.ndarray | None, ...]
    columns: tuple[str, ...] | None
    categories: tuple[tuple[str, ...] | None, ...] | None
    """For each column of a data frame the words of its categories, by number."""
    batched: bool
    structure: Any

    def __len__(self) -> int:
        return int(self.arrays[0].shape[0])

    def rows(self, rows: np.ndarray, xp: Any, asarray: Callable[[np.ndarray], Any]) -> "Batch":
        """The batch of some of its samples, in the order of their numbers `rows`."""
        index = asarray(rows.astype(np.int64))
        return replace(
            self,
            leaves=tuple(xp.take(a, index, axis=0) for a in self.leaves),
            arrays=tuple(a[rows] for a in self.arrays),
            display=tuple(None if d is None else d[rows] for d in self.display),
        )


def native_leaves(
    x: Any,
    adapter: Adapter,
    preprocess: Callable[[Any], Any] | None = None,
    *,
    more: bool = False,
) -> Leaves:
    """What the user passed as the adapter's own arrays; `x` itself is never written to.

    With `more`, rows in the form of the batch that was accepted before.
    """
    if preprocess is not None:
        try:
            # A copy: Keras's own preprocess_input works in place.
            x = preprocess(_copied(x))
        except Exception as error:
            raise InputError(f"preprocess raised {type(error).__name__}: {error}") from error
    try:
        return adapter.accept_more(x) if more else adapter.accept(x)
    except PellucidError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(
            f"Expected an array of numbers, or a tuple or dict of them, got a"
            f" {type(x).__name__} that is none: {error}"
        ) from error


def checked_batch(
    leaves: Leaves,
    adapter: Adapter,
    specs: tuple[InputSpec, ...] | None,
    *,
    raw: Any,
    specs_by_user: bool = False,
    preprocessed: bool = False,
    missing: bool = False,
) -> Batch:
    """The batch of `leaves`, made of the user's `raw` inputs.

    `specs` are what the model expects, as the user said it with `specs_by_user`; with `missing`
    NaN is for the model to refuse. Raises `InputError` for a wrong rank or size, NaN or infinity
    (rows named), an empty batch, or inputs of different lengths.
    """
    specs = specs_for(len(leaves), specs)
    structure = adapter.restore(list(range(len(leaves))))
    names = _names(structure, len(leaves), specs, by_user=specs_by_user)
    check_text(leaves, names, specs)
    leaves, batched = _with_batch_axis(leaves, names, specs, adapter.xp)
    arrays = tuple(np.asarray(adapter.to_numpy(a)) for a in leaves)
    check_arrays(arrays, names, specs, missing=missing)
    dims = tuple(input_dims(a.ndim, adapter.channel_axis_of(a.ndim)) for a in arrays)
    return Batch(
        leaves=leaves,
        arrays=arrays,
        names=names,
        dims=dims,
        columns=adapter.columns or _columns(raw),
        categories=adapter.categories,
        display=_display(raw, arrays, dims, changed=preprocessed),
        batched=batched,
        structure=structure,
    )


def _with_batch_axis(
    leaves: Leaves, names: tuple[str, ...], specs: tuple[InputSpec, ...] | None, xp: Any
) -> tuple[Leaves, bool]:
    """The leaves with a batch axis, and whether they came with one."""
    refuse_swapped([tuple(a.shape) for a in leaves], specs)
    missing = [
        lacks_batch_axis(tuple(a.shape), specs[i] if specs else None) for i, a in enumerate(leaves)
    ]
    if not any(missing):
        return leaves, True
    if not all(missing):
        raise InputError(
            "Some inputs have a batch axis and some have none: "
            + ", ".join(f"{n} {tuple(a.shape)}" for n, a in zip(names, leaves, strict=True))
        )
    return tuple(xp.expand_dims(a, axis=0) for a in leaves), False


def _copied(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.copy()
    if type(x) is dict:
        return {key: _copied(part) for key, part in x.items()}
    if type(x) in {list, tuple}:
        return type(x)(map(_copied, x))
    return x


def _names(
    structure: Any, count: int, specs: tuple[InputSpec, ...] | None, *, by_user: bool
) -> tuple[str, ...]:
    """What each leaf is called: by the model if it says so, else by the keys of a dict."""
    if isinstance(structure, dict) and (by_user or not specs or not all(s.certain for s in specs)):
        keys = {number: str(key) for key, number in structure.items() if isinstance(number, int)}
        if len(keys) == count:
            return tuple(keys[i] for i in range(count))
    if specs:
        return tuple(s.name for s in specs)
    return ("x",) if count == 1 else tuple(f"x{i}" for i in range(count))


def _columns(raw: Any) -> tuple[str, ...] | None:
    """The column names of a data frame."""
    columns = getattr(raw, "columns", None)
    return None if columns is None else tuple(map(str, columns))


def _display(
    raw: Any, arrays: tuple[np.ndarray, ...], dims: tuple[tuple[str, ...], ...], *, changed: bool
) -> tuple[np.ndarray | None, ...]:
    """The raw pictures, where the model is fed preprocessed uint8 ones of the same layout."""
    nothing: tuple[np.ndarray | None, ...] = (None,) * len(arrays)
    if not changed or len(arrays) != 1 or not is_array(raw):
        return nothing
    picture = np.asarray(raw)
    if picture.ndim == arrays[0].ndim - 1:
        picture = picture[None]
    space = [i for i, d in enumerate(dims[0]) if d in {"height", "width"}]
    fits = (
        picture.dtype == np.uint8
        and picture.ndim == 4
        and picture.shape[0] == arrays[0].shape[0]
        and picture.shape[-1] in {1, 3}
        and len(space) == 2
        and picture.shape[1:3] == tuple(arrays[0].shape[i] for i in space)
    )
    return (picture,) if fits else nothing
