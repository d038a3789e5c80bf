"""What the model says of every row beside what the labels say, on one scale."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.board.labels import are_words, as_classes, as_numbers, check_labels
from pellucid.errors import CapabilityError, InputError
from pellucid.model import Model
from pellucid.task import Task
from pellucid.types import is_array

_ROUNDING = 1e-6
"""How far a probability in single precision may lie outside 0 and 1."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Labels and answers, `(n,)` each: numbers of classes, or numbers to be predicted.

    Of classes `probabilities (n, classes)` too, of numbers None. `limit` is where a single
    explained output passes to the second class. `notes` say how outputs were read.
    """

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None
    class_names: tuple[str, ...]
    limit: float
    notes: tuple[str, ...]

    @property
    def errors(self) -> np.ndarray:
        """How wrong each row is, `(n,)` float64: 1 for a wrong class, |residual| of a number."""
        if self.probabilities is None:
            return np.abs(self.labels - self.predicted)
        return (self.labels != self.predicted).astype(np.float64)


def read_answers(task: Task, y: Any) -> Answers:
    """Labels checked and outputs read as probabilities of classes, or as numbers.

    `task` has predicted with the model's own outputs. Raises `InputError` for labels that do not
    fit, `CapabilityError` for outputs that are no matrix.
    """
    model, outputs = task.wrapped, _matrix(task)
    given = check_labels(y, len(outputs))
    final = _final(task)
    if outputs.shape[1] == 1 and not _is_of_classes(model, given, outputs[:, 0], final):
        return _numbers(model, given, outputs[:, 0])
    probabilities, limit, note = _probabilities(model, outputs, final)
    classes = probabilities.shape[1]
    names = model.class_names or tuple(f"class {i}" for i in range(classes))
    labels = as_classes(given, classes, model.class_names)
    if outputs.shape[1] == 1:
        predicted = (probabilities[:, 1] > 0.5).astype(np.int64)
    else:
        predicted = probabilities.argmax(axis=1)
    return Answers(labels, predicted, probabilities, names, limit, (note,) if note else ())


def _matrix(task: Task) -> np.ndarray:
    array = task.to_numpy(task.outputs) if is_array(task.outputs) else None
    if array is None or array.ndim > 2:
        raise CapabilityError(
            "A board is of a model that returns one row of numbers for each input, got"
            f" {'several outputs' if array is None else f'outputs of shape {array.shape}'}.\n"
            "  Give it a function that returns the one to look at."
        )
    if array.dtype.kind == "c":
        raise CapabilityError("A board is of real outputs, and these are complex numbers.")
    return array.astype(np.float64).reshape(len(array), -1)


def _final(task: Task) -> str | None:
    found = task.model.adapter.final_activation(task.x)
    return found[0] if len(found) == 1 else None


def _is_of_classes(
    model: Model, labels: np.ndarray, outputs: np.ndarray, final: str | None
) -> bool:
    """Whether one output tells two classes apart, rather than being a number."""
    if final == "sigmoid" or model.class_names is not None or model.output != "auto":
        return True
    shares = bool((outputs >= 0).all() and (outputs <= 1).all())
    if are_words(labels):
        raise InputError(
            f"The labels are words ({str(labels[0])!r}), and the model returns one number that is"
            " not said to be of a class.\n  wrap(model, class_names=[first, second]) says so; a"
            " regression model needs labels that are numbers."
        )
    return shares and bool(np.isin(labels, (0, 1)).all())


def _probabilities(
    model: Model, outputs: np.ndarray, final: str | None
) -> tuple[np.ndarray, float, str]:
    """`(n, classes)`, the limit of one explained output, and what has to be said of it."""
    if outputs.shape[1] == 1:
        p = outputs[:, 0]
        shares = bool((p >= 0).all() and (p <= 1).all())
        note, limit = "", 0.0 if final == "sigmoid" and model.peel else 0.5
        if final != "sigmoid" and (model.output == "logit" or not shares):
            if model.output == "probability":
                raise InputError("The model's output is said to be a probability and leaves 0–1.")
            note = "The one output is read as a logit: a sigmoid makes it a probability."
            p, limit = 1 / (1 + np.exp(-np.clip(p, -700, 700))), 0.0
        elif final != "sigmoid" and model.output == "auto":
            note = "The one output lies within 0 and 1 and is read as a probability."
        return np.stack([1 - p, p], axis=1), limit, note
    # Where two probabilities are shown and one number is explained, that is a decision function.
    if final == "log_softmax":
        return np.exp(outputs), 0.0, ""
    if final == "softmax":
        return outputs, 0.0, ""
    if model.output == "probability":
        if not ((outputs >= -_ROUNDING) & (outputs <= 1 + _ROUNDING)).all():
            raise InputError("The model's outputs are said to be probabilities and leave 0–1.")
        return outputs, 0.0, ""
    sums = outputs.sum(axis=1)
    if (outputs >= 0).all() and np.allclose(sums, 1, atol=1e-3):
        return outputs, 0.0, ""
    if final == "sigmoid":
        note = (
            "The classes have a sigmoid each: the largest is taken for the answer, and their"
            " probabilities do not add up to 1."
        )
        return outputs, 0.0, note
    shifted = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    note = "The outputs are read as logits: a softmax makes them probabilities."
    return shifted / shifted.sum(axis=1, keepdims=True), 0.0, note


def _numbers(model: Model, labels: np.ndarray, outputs: np.ndarray) -> Answers:
    given = as_numbers(labels)
    notes = ()
    leaves = bool(((outputs < 0) | (outputs > 1)).any())
    if leaves and np.array_equal(np.unique(given), (0, 1)):
        notes = (
            "The labels are 0 and 1, and the one output leaves that range, so it is read as a"
            " number. If it is the logit of a class: wrap(model, output='logit').",
        )
    return Answers(given, outputs, None, (), 0.0, notes)
