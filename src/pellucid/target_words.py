"""What messages say of outputs and targets, and truth values as the classes of those names."""

from typing import Any

import numpy as np

from pellucid.errors import TargetError
from pellucid.types import Outputs, shape_of


def described(outputs: Outputs) -> str:
    """Outputs in a few words."""
    shape = shape_of(outputs)
    if shape:
        return f"outputs of shape {shape}"
    if isinstance(outputs, dict):
        return f"a dict of outputs with the keys {', '.join(map(repr, outputs))}"
    return f"a {type(outputs).__name__} of outputs"


def for_instance(outputs: Outputs) -> str:
    """A target function's body that fits these outputs."""
    shape = shape_of(outputs)
    if shape:
        # Indexing and adding up are the same in every framework; methods of arrays are not.
        last = ", ".join(["0"] * (len(shape) - 2))
        return f"outputs[:, {last}, 1]" if shape[-1] <= shape[1] else f"outputs[:, 1, {last}]"
    if isinstance(outputs, dict):
        name, first = next(iter(outputs.items()))
        place = f"outputs[{name!r}]"
    else:
        first, place = outputs[0], "outputs[0]"
    rank = len(shape_of(first))
    return place + ("" if rank <= 1 else f"[:{', 0' * (rank - 1)}]")


def refuse_one_hot(target: Any, classes: int, count: int) -> None:
    """Raise `TargetError` for one-hot labels, whose class numbers are meant.

    A list as long as the batch holds class numbers, and two whole numbers a sample are a pair.
    """
    if isinstance(target, tuple) or not isinstance(target, list | np.ndarray):
        return
    try:
        given = np.asarray(target)
    except ValueError:  # lists of different lengths
        return
    width = max(classes, 2)
    if given.dtype.kind not in "biuf" or given.ndim not in {1, 2} or given.shape[-1] != width:
        return
    if (given.ndim == 1 and len(given) == count) or not np.isin(given, (0, 1)).all():
        return
    pairs = given.ndim == 2 and width == 2 and given.dtype.kind in "iu"
    if pairs or not (given.sum(axis=-1) == 1).all():
        return
    numbers = given.argmax(axis=-1)
    shown = numbers.tolist() if numbers.ndim == 0 or len(numbers) <= 8 else numbers[:8].tolist()
    more = "" if shown == numbers.tolist() else " and so on"
    raise TargetError(
        f"Expected class numbers, got one-hot labels of shape {given.shape}.\n"
        f"  target=numpy.argmax(labels, axis=-1) gives the numbers, here {shown}{more}."
    )


def named_truth(target: Any, class_names: tuple[str, ...] | None) -> Any:
    """True and False as the classes of that name, where the classes are those two."""
    if set(class_names or ()) != {"False", "True"}:
        return target
    if isinstance(target, np.ndarray) and target.dtype == bool:
        target = target.tolist()
    if isinstance(target, list | tuple):
        return type(target)(named_truth(t, class_names) for t in target)
    return str(target) if isinstance(target, bool) else target
