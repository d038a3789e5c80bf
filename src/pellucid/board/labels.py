"""The user's labels: one a row, numbers of classes or numbers to be predicted."""

from typing import Any

import numpy as np

from pellucid.errors import InputError, quote_nearest


def check_labels(y: Any, count: int) -> np.ndarray:
    """`y` as an array `(count,)` without anything missing.

    Raises `InputError` for another length or shape, and for NaN or None, naming rows.
    """
    given = np.asarray(y)
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if given.shape != (count,):
        more = ""
        if given.ndim == 2 and len(given) == count:
            more = "\n  One-hot labels become class numbers by y.argmax(axis=1)."
        raise InputError(
            f"Expected y to hold one label for each of {count} rows, got shape {given.shape}.{more}"
        )
    if given.dtype.kind == "O":
        missing = np.array([v is None or v != v for v in given.tolist()], dtype=bool)
    elif given.dtype.kind in "fc":
        missing = ~np.isfinite(given)
    else:
        missing = np.zeros(count, dtype=bool)
    if missing.any():
        rows = np.flatnonzero(missing)
        raise InputError(
            f"y is missing or not finite in {len(rows)} rows, the first of them"
            f" {rows[:10].tolist()}.\n  Leave them out, of x as well: a row without a label says"
            " nothing of how well the model does."
        )
    if given.dtype.kind not in "biufOUST":
        raise InputError(f"Expected labels that are numbers or words, got {given.dtype}.")
    return given


def are_words(labels: np.ndarray) -> bool:
    """Whether the labels are names."""
    if labels.dtype.kind == "O":
        return any(isinstance(v, str | bytes) for v in labels.tolist())
    return labels.dtype.kind in "UST"


def as_classes(labels: np.ndarray, classes: int, names: tuple[str, ...] | None) -> np.ndarray:
    """Numbers of classes `(n,)` int64: by name where all labels are names, else as numbers.

    Raises `InputError` for a label that is neither, with the names that come nearest.
    """
    plain = labels.tolist()
    words = [str(int(v)) if isinstance(v, float) and v == int(v) else str(v) for v in plain]
    known = {str(name): i for i, name in enumerate(names or ())}
    if known and all(word in known for word in set(words)):
        return np.array([known[word] for word in words], dtype=np.int64)
    if not are_words(labels):
        numbers = labels.astype(np.float64)
        whole = numbers == np.rint(numbers)
        if not whole.all():
            raise InputError(
                f"The model tells {classes} classes apart, and y holds numbers that are none"
                f" ({numbers[~whole][0]:g}).\n  Labels of a classifier are class numbers or names."
            )
        if numbers.min() >= 0 and numbers.max() < classes:
            return numbers.astype(np.int64)
    odd = next((w for w in words if w not in known and not _is_number(w, classes)), words[0])
    called = f" or one of {', '.join(map(repr, list(known)[:8]))}" if known else ""
    raise InputError(
        f"Expected each label to be a class number from 0 to {classes - 1}{called}, got {odd!r}."
        f" {quote_nearest(odd, known)}".rstrip()
        + ("" if known else "\n  wrap(model, class_names=[...]) gives the classes names.")
    )


def _is_number(word: str, classes: int) -> bool:
    return word.isdigit() and int(word) < classes


def as_numbers(labels: np.ndarray) -> np.ndarray:
    """Labels to be predicted, `(n,)` float64. Raises `InputError` for what is no number."""
    try:
        found = labels.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The model returns a number, and the labels are none: {str(labels[0])!r}."
        ) from error
    if not np.isfinite(found).all():
        raise InputError("Expected labels that are finite numbers.")
    return found
