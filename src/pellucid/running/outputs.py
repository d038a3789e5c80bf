"""Running a counted model, and what can be wrong with what it returns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Adapter
from pellucid.arrays import all_finite
from pellucid.counting import CountedModel
from pellucid.errors import ModelError, PellucidError, TargetError
from pellucid.types import Leaves, Outputs, shape_of


def run_checked(
    counted: CountedModel, leaves: Leaves, adapter: Adapter, samples: np.ndarray | None = None
) -> Outputs:
    """The model's outputs, or an error that says which rows it failed on and how.

    `samples` are the numbers of the rows in the user's batch. Raises `ModelError` for an exception
    in the model, outputs of another length than the batch, and outputs that are not finite.
    """
    with model_errors(counted, leaves, adapter, samples):
        outputs = counted.run(leaves)
    check_outputs(outputs, int(leaves[0].shape[0]), adapter, samples)
    return outputs


@contextmanager
def model_errors(
    counted: CountedModel,
    leaves: Leaves,
    adapter: Adapter,
    samples: np.ndarray | None = None,
    what: str = "rows",
) -> Iterator[None]:
    """Make a `ModelError` of what the model raises; memory's end and our own errors pass."""
    try:
        yield
    except Exception as error:
        if adapter.is_out_of_memory(error) or isinstance(error, PellucidError):
            raise
        if isinstance(error, KeyError | AssertionError) and _is_our_own(error):
            raise
        numbers = np.arange(int(leaves[0].shape[0])) if samples is None else samples
        raise _explain_failure(counted, leaves, error, numbers, what) from error


def _is_our_own(error: Exception) -> bool:
    """Whether it was raised in pellucid itself, outside of what calls the model."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    raised_in = "" if trace is None else trace.tb_frame.f_globals.get("__name__", "")
    own = raised_in.startswith("pellucid.")
    return own and not raised_in.startswith(("pellucid.adapters.", "pellucid.testing."))


def _shapes(leaves: Leaves, adapter: Adapter) -> list[str]:
    """Shape and type of each input, by its name where the user gave names."""
    given = adapter.restore(list(range(len(leaves)))) if len(leaves) > 1 else None
    names = {i: f"{key!r} " for key, i in given.items()} if isinstance(given, dict) else {}
    return [f"{names.get(i, '')}{tuple(a.shape)} {a.dtype}" for i, a in enumerate(leaves)]


def _explain_failure(
    counted: CountedModel, leaves: Leaves, error: Exception, samples: np.ndarray, what: str
) -> ModelError:
    rows = int(leaves[0].shape[0])
    bad = []
    if 1 < rows <= 256:
        for i in range(rows):
            try:
                counted.run(tuple(a[i : i + 1] for a in leaves))
            except Exception:
                bad.append(i)
    named = sorted({int(samples[i]) for i in bad})
    where = f" on the {what} {named} of the batch" if 0 < len(bad) < rows else ""
    shapes = ", ".join(_shapes(leaves, counted.adapter))
    first = str(error).strip().split("\n")[0][:300] + _column_of_word(counted, str(error))
    absent = any(a.dtype.kind == "f" and np.isnan(a).any() for a in leaves if type(a) is np.ndarray)
    advice = (
        "Some of the rows hold missing numbers: a pipeline that imputes them, or a model that takes"
        " them, is what can be explained"
        if absent
        else "Check the shape, the layout (channels first or last) and the preprocessing"
        + (", and which input is which" if len(leaves) > 1 else "")
    )
    return ModelError(
        f"The model raised {type(error).__name__}{where}: {first}\n"
        f"  It was given {shapes}. {advice}" + ("; the other rows run." if where else ".")
    )


def _column_of_word(counted: CountedModel, message: str) -> str:
    """Which column holds the word that an error quotes, where one does."""
    adapter = counted.adapter
    columns = zip(adapter.columns or (), adapter.categories or (), strict=False)
    held = [c for c, words in columns if any(repr(word) in message for word in words or ())]
    return f" (in the column {held[0]!r})" if len(held) == 1 else ""


def check_outputs(
    outputs: Outputs, rows: int, adapter: Adapter, samples: np.ndarray | None = None
) -> None:
    """Raise `ModelError` unless every output is one finite row a sample."""
    numbers = np.arange(rows) if samples is None else samples
    for array in _arrays_in(outputs):
        shape = shape_of(array)
        if not shape or shape[0] != rows:
            raise ModelError(
                f"Expected the model to return one row for each of the {rows} samples, got"
                f" {f'shape {shape}' if shape else f'a {type(array).__name__} without rows'}.\n"
                "  A model that returns one number for the whole batch cannot be explained."
            )
        values = np.asarray(adapter.to_numpy(array))
        if values.dtype.kind not in "fiubc":
            raise ModelError(
                f"Expected the model to return numbers, got an array of {values.dtype}.\n  Explain"
                " a function that returns scores, such as predict_proba instead of predict."
            )
        if values.dtype.kind in "fc" and not all_finite(values):
            bad = numbers[~np.isfinite(values.reshape(rows, -1)).all(axis=1)].tolist()
            raise ModelError(
                f"The model returned NaN or infinity for the rows {bad[:20]} of the batch.\n"
                "  Leave them out, or look at what the model computes there."
            )


def single_output(outputs: Outputs) -> Outputs:
    """The only array of `outputs`; anything else as it is, for a callable target to read."""
    if isinstance(outputs, tuple | list) and len(outputs) == 1:
        return outputs[0]
    if isinstance(outputs, dict) and len(outputs) == 1:
        return next(iter(outputs.values()))
    return outputs


def check_class_names(names: tuple[str, ...] | None, outputs: Outputs) -> None:
    """Raise `TargetError` unless there is one name a class (or two for a single output)."""
    shape = shape_of(outputs)
    if names is None or len(shape) not in {1, 2}:
        return
    classes = 1 if len(shape) == 1 else shape[1]
    if len(names) != classes and not (classes == 1 and len(names) == 2):
        raise TargetError(
            f"The model has {classes} outputs, but {len(names)} class names were given."
        )


def _arrays_in(outputs: Outputs) -> list[Any]:
    if isinstance(outputs, dict):
        return [a for value in outputs.values() for a in _arrays_in(value)]
    if isinstance(outputs, tuple | list):
        return [a for value in outputs for a in _arrays_in(value)]
    return [outputs]


def outputs_to_numpy(outputs: Outputs, adapter: Adapter) -> Any:
    """A model's outputs as arrays of NumPy, in the structure they came in."""
    if isinstance(outputs, dict):
        return {key: outputs_to_numpy(value, adapter) for key, value in outputs.items()}
    if isinstance(outputs, tuple | list):
        return tuple(outputs_to_numpy(value, adapter) for value in outputs)
    return adapter.to_numpy(outputs)


def join_outputs(parts: Sequence[Outputs], xp: Any) -> Outputs:
    """The outputs of consecutive rows as those of all rows."""
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    if isinstance(first, dict):
        return {key: join_outputs([p[key] for p in parts], xp) for key in first}
    if isinstance(first, tuple | list):
        return tuple(join_outputs([p[i] for p in parts], xp) for i in range(len(first)))
    return xp.concat(parts, axis=0)


def repeat_outputs(outputs: Outputs, count: int, xp: Any) -> Outputs:
    """Outputs of `count` samples that are all as this one."""
    return join_outputs([outputs] * count, xp)
