"""How wrong a model's answers are, row by row, against labels the user has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from pellucid.errors import MethodError
from pellucid.task import Task
from pellucid.types import Leaves, is_array

LOSSES = ("error", "log", "r2", "squared", "absolute")
_Rows = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Loss:
    """L of new rows less L of the rows as they are."""

    name: str
    change: Callable[[Leaves, np.ndarray], np.ndarray]


def make_loss(task: Task, labels: Any, loss: Any) -> Loss:
    """The loss of that name or function; without labels, how far the score moves.

    Raises `MethodError` for labels or outputs that the loss has no meaning for.
    """
    if labels is None:
        if loss != "auto":
            raise MethodError(f"loss={loss!r} needs labels=, one for each row.")
        scores = task.scores()[0]
        return Loss(
            "change of the score",
            lambda leaves, rows: np.abs(task.score_of(leaves, rows) - scores[rows]),
        )
    outputs = _matrix(task, task.outputs)
    name, function = _resolved(task, outputs, labels, loss)
    given = _labels(task, outputs, labels, numbers=name in {"r2", "squared", "absolute"})
    if name == "r2":
        variance = float(np.var(given))
        if variance == 0.0:
            raise MethodError("loss='r2' divides by the variance of the labels, which is 0.")
        squared = function
        function = lambda out, y: squared(out, y) / variance  # noqa: E731
    before = _called(function, outputs, given, task.count)

    def change(leaves: Leaves, rows: np.ndarray) -> np.ndarray:
        found = _matrix(task, task.outputs_at(leaves, rows))
        return _called(function, found, given[rows], len(rows)) - before[rows]

    return Loss(name, change)


def _matrix(task: Task, outputs: Any) -> np.ndarray:
    array = np.asarray(task.to_numpy(outputs)) if is_array(outputs) else None
    if array is None or array.ndim > 2:
        raise MethodError("A loss needs a model with one matrix of outputs, `(n, classes)`.")
    return array.astype(np.float64).reshape(len(array), -1)


def _called(function: _Rows, outputs: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    found = np.asarray(function(outputs, labels), dtype=np.float64)
    if found.shape != (count,):
        raise MethodError(f"Expected a loss of shape ({count},), got {found.shape}.")
    return found


def _resolved(task: Task, outputs: np.ndarray, labels: Any, loss: Any) -> tuple[str, _Rows]:
    if callable(loss):
        return getattr(loss, "__name__", "a function"), cast(_Rows, loss)
    classes = task.wrapped.class_names is not None or outputs.shape[1] > 1
    name = ("error" if classes else "r2") if loss == "auto" else loss
    if name not in LOSSES:
        raise MethodError(
            f"Expected loss to be one of {', '.join(LOSSES)}, or a function (outputs, labels) ->"
            f" (n,), got {loss!r}."
        )
    if name == "absolute":
        return name, lambda out, y: np.abs(out[:, 0] - y)
    if name in {"r2", "squared"}:
        return name, lambda out, y: (out[:, 0] - y) ** 2
    kind = task.wrapped.explained(task.batch.leaves)
    if outputs.shape[1] == 1 and kind == "output":
        raise MethodError(
            f"loss={name!r} needs to know whether this model's one output is a logit or a"
            " probability: wrap(model, output='logit') or 'probability' says it."
        )
    if name == "error":
        limit = 0.5 if kind == "probability" else 0.0
        return name, lambda out, y: (_predicted(out, limit) != y).astype(np.float64)
    return name, lambda out, y: -_log_probability(out, kind)[np.arange(len(y)), y]


def _predicted(outputs: np.ndarray, limit: float) -> np.ndarray:
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > limit).astype(np.int64)
    return outputs.argmax(axis=1)


def _log_probability(outputs: np.ndarray, kind: str) -> np.ndarray:
    """`(n, classes)` log p from logits, or from probabilities, which are cut off at 1e-15."""
    if kind == "logit":
        wide = outputs if outputs.shape[1] > 1 else np.hstack([np.zeros_like(outputs), outputs])
        return wide - np.logaddexp.reduce(wide, axis=1, keepdims=True)
    wide = outputs if outputs.shape[1] > 1 else np.hstack([1 - outputs, outputs])
    if (wide < 0).any() or not np.allclose(wide.sum(axis=1), 1, atol=1e-3):
        raise MethodError(
            "loss='log' needs probabilities or logits, and these outputs are not said to be"
            " either: wrap(model, output='logit') says it."
        )
    return np.log(np.maximum(wide, 1e-15))


def _labels(task: Task, outputs: np.ndarray, labels: Any, *, numbers: bool) -> np.ndarray:
    given = np.asarray(labels)
    if given.shape != (task.count,):
        raise MethodError(f"Expected {task.count} labels, one for each row, got {given.shape}.")
    names = task.wrapped.class_names
    if numbers:
        if given.dtype.kind not in "fiub" or not np.isfinite(given.astype(np.float64)).all():
            raise MethodError(f"Expected labels that are finite numbers, got {given.dtype}.")
        return given.astype(np.float64)
    known = {str(name): i for i, name in enumerate(names or ())}
    words = [str(label) for label in given.tolist()]
    if known and set(words) <= set(known):
        return np.array([known[word] for word in words])
    count = max(outputs.shape[1], 2)
    whole = given.dtype.kind in "iub" and given.min() >= 0 and given.max() < count
    if not whole:
        called = f" or {', '.join(map(repr, names))}" if names else ""
        odd = next(word for word in words if word not in known)
        raise MethodError(
            f"Expected labels to be class numbers from 0 to {count - 1}{called}, got {odd!r}."
        )
    return given.astype(np.int64)
