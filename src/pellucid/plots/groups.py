"""Points in groups: which colour and sign each group has, by class, by correctness, by a column."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.errors import InputError, quote_close
from pellucid.plots.style import OKABE_ITO

if TYPE_CHECKING:
    from pellucid.inside.embedded import Embedding

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Seven signs beside eight colours: 56 groups that differ in one or the other."""

MOST_GROUPS = 20
RIGHT, WRONG = "right", "wrong"


@dataclass(frozen=True)
class Group:
    """Some of the points, and how they are drawn."""

    name: str
    places: np.ndarray
    colour: str
    marker: str


@dataclass(frozen=True)
class Colouring:
    """`groups` of points; or, for a column of numbers, `values` one a point. `by` says by what."""

    by: str
    groups: tuple[Group, ...]
    values: np.ndarray | None = None


def colouring(found: "Embedding", colour: Any, ink: str) -> Colouring:
    """Points by "class" (the labels), "predicted", "correct", a column's name, or given values.

    "auto" takes the labels, else the predictions, else none. Groups beyond the 20 largest come
    together as "others". Raises `InputError` for what is not known of the points.
    """
    by, values = _values(found, colour)
    if values is None:
        every = np.arange(len(found.coordinates))
        return Colouring("", (Group("", every, OKABE_ITO[0], MARKERS[0]),))
    if by == "correct":
        right = np.flatnonzero(values)
        wrong = np.flatnonzero(~values.astype(bool))
        return Colouring(by, (
            Group(f"{RIGHT} ({len(right)})", right, OKABE_ITO[4], "o"),
            Group(f"{WRONG} ({len(wrong)})", wrong, OKABE_ITO[5], "X"),
        ))  # fmt: skip
    many = len(np.unique(values)) > MOST_GROUPS
    if values.dtype.kind == "f" or (values.dtype.kind in "iu" and many):
        return Colouring(by, (), values.astype(np.float64))
    return Colouring(by, _groups(values, ink))


def _values(found: "Embedding", colour: Any) -> tuple[str, np.ndarray | None]:
    known = {"class": found.labels, "predicted": found.predicted, "correct": found.correct}
    if colour is None:
        return "", None
    if not isinstance(colour, str):
        given = np.asarray(colour)
        if given.shape == (found.count,):
            given = given[found.rows]
        if given.shape != (len(found.rows),):
            raise InputError(
                f"Expected colour to hold one value for each of the {found.count} rows, got shape"
                f" {given.shape}."
            )
        return "colour", given.astype(str) if given.dtype.kind == "O" else given
    if colour == "auto":
        return next(((w, known[w]) for w in ("class", "predicted") if known[w] is not None),
                    ("", None))  # fmt: skip
    if colour in found.columns:
        return colour, found.columns[colour]
    if colour in known:
        if known[colour] is None:
            why = found.note or f"colour={colour!r} needs labels= (and a classifier's outputs)"
            raise InputError(f"{why[0].upper() if found.note else why[0]}{why[1:]}.")
        return colour, known[colour]
    words = ["class", "predicted", "correct", *found.columns]
    raise InputError(f"No {colour!r} to colour by. {quote_close(colour, words)}")


def _groups(values: np.ndarray, ink: str) -> tuple[Group, ...]:
    names, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    largest = np.sort(np.argsort(-counts, kind="stable")[:MOST_GROUPS])
    found = [
        Group(
            str(names[number]), np.flatnonzero(which == number),
            # Black of the palette is the ink, so that it is seen on a dark ground.
            ink if OKABE_ITO[i % 8] == "#000000" else OKABE_ITO[i % 8], MARKERS[i % len(MARKERS)],
        )
        for i, number in enumerate(largest)
    ]  # fmt: skip
    others = np.flatnonzero(~np.isin(which, largest))
    if len(others):
        left = len(names) - len(largest)
        found.append(Group(f"{left} others", others, "#8a8f98", "."))
    return tuple(found)
