"""What a user may hand over to be judged, brought into one form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pellucid.comparison import Comparison
from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.methods.registry import make_method
from pellucid.standard.subject import Subject
from pellucid.types import TargetLike, is_array


@dataclass(frozen=True)
class Given:
    """A method to be asked, an explanation that was made, or the numbers of a map."""

    method: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    explanation: Explanation | None = None
    values: Any = None


def made_or_given(given: Any) -> dict[str, Given]:
    """By name, in order; a second one of the same name is numbered.

    Raises `InputError` for what is none of these, `MethodError` for unknown methods and
    parameters.
    """
    if isinstance(given, Comparison):
        given = dict(given.explanations)
    if isinstance(given, str | Explanation) or is_array(given):
        given = [given]
    if isinstance(given, Mapping):
        found = {str(name): _one(value, str(name)) for name, value in given.items()}
    elif isinstance(given, Sequence) and not _is_pair(given):
        found = {}
        for entry in given:
            own = _one(entry, "")
            name = own.method or (own.explanation.method if own.explanation else "map")
            found[_free(name, found)] = own
    else:
        found = {given[0]: _one(given, "")}
    if not found:
        raise InputError('Expected explanations or methods to judge, such as ["saliency"].')
    return found


def target_of(given: Mapping[str, Given], target: TargetLike) -> Any:
    """What is explained; of explanations that were made before, what they were made for."""
    made = [g.explanation for g in given.values() if g.explanation is not None]
    if target is not None or not made:
        return target
    first = made[0]
    if first.target is None:
        single = first.outputs is not None and first.outputs.shape[1] == 1
        if not single:
            raise InputError(
                "These explanations are of a function of the outputs, which they do not hold:"
                " pass it as target=."
            )
        return None
    numbers = np.asarray(first.target)
    pairs = numbers.ndim == 2
    return [tuple(map(int, p)) for p in numbers] if pairs else [int(i) for i in numbers]


def _is_pair(given: Sequence[Any]) -> bool:
    return len(given) == 2 and isinstance(given[0], str) and isinstance(given[1], Mapping)


def _free(name: str, taken: Mapping[str, Any]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name} {number}", number + 1
    return free


def _one(entry: Any, name: str) -> Given:
    if isinstance(entry, Explanation):
        return Given(explanation=entry)
    if isinstance(entry, str):
        make_method(entry, {})
        return Given(entry)
    if isinstance(entry, tuple | list) and _is_pair(entry):
        make_method(entry[0], entry[1])
        return Given(entry[0], dict(entry[1]))
    if isinstance(entry, Mapping) and name:
        make_method(name, entry)
        return Given(name, dict(entry))
    if is_array(entry) or (isinstance(entry, tuple | list) and entry and all(map(is_array, entry))):
        return Given(values=entry)
    raise InputError(
        "Expected the name of a method, a pair such as ('occlusion', {'window': 8}), an"
        f" Explanation or a map, got {type(entry).__name__}."
    )


def check_same(name: str, explanation: Explanation, subject: Subject) -> None:
    """Raise `InputError` for an explanation of other inputs or of another target."""
    arrays = subject.task.batch.arrays
    same = len(explanation.parts) == len(arrays) and all(
        p.inputs.shape == a.shape and np.array_equal(p.inputs, a, equal_nan=a.dtype.kind == "f")
        for p, a in zip(explanation.parts, arrays, strict=True)
    )
    if not same:
        raise InputError(
            f"{name} explains other inputs than x: evaluate it with the inputs it was made for."
        )
    if explanation.target_names != subject.task.target.names:
        raise InputError(
            f"{name} explains {explanation.target_names[0]!r}, and the others"
            f" {subject.task.target.names[0]!r}: scores of different targets do not compare."
        )
