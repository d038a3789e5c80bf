"""A small tree grown by scikit-learn on what a model says of the rows of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import InputError, MissingExtraError
from pellucid.methods.inside.questions import Node, Nodes, Question
from pellucid.methods.inside.sizes import Size

Words = tuple[str, ...] | None

_SINGLE = 50
"""Categories of a column that are asked for one by one, so that codes and names take no room."""


@dataclass(frozen=True)
class Examples:
    """Rows of a table with what the model says of them: the number of a class, or a score.

    `words` are the categories of each column by number, None where it holds numbers. `classes` is
    how many classes there are, 0 for a score. `presence` says that the columns are of 0 and 1 for
    what is hidden and what is there.
    """

    table: np.ndarray
    said: np.ndarray
    names: tuple[str, ...]
    words: tuple[Words, ...]
    classes: int
    presence: bool = False

    def rows(self, rows: np.ndarray) -> "Examples":
        """The examples at some places."""
        return Examples(self.table[rows], self.said[rows], self.names, self.words, self.classes,
                        self.presence)  # fmt: skip

    def __len__(self) -> int:
        return len(self.said)

    def values(self) -> np.ndarray:
        """Counts by class, or the mean and standard deviation of the score."""
        if self.classes:
            return np.bincount(self.said, minlength=self.classes).astype(np.float64)
        return np.array([self.said.mean(), self.said.std()])


def grown(examples: Examples, size: Size, seed: int) -> Nodes:
    """A tree of at most this size: CART, by Gini's impurity of classes, the variance of a score.

    Columns of categories are asked for one category (the 50 commonest), or for a set: those up to
    some place in the order of what the model says of their rows, in which the best set of two
    classes or of a score is found (Breiman et al. 1984, theorem 4.5; of more classes in the order
    of the first principal component of their shares, Coppersmith et al. 1999).
    """
    nothing = (Node(0, 0, len(examples), examples.values()),)
    if size.depth == 0 or (examples.said == examples.said[0]).all():
        return nothing
    asked = _askable(examples)
    seen = np.stack([_numbers(examples, *a) for a in asked], axis=1)
    fitted = _estimator(size, seed, classes=examples.classes > 0).fit(seen, examples.said)
    return _read(fitted.tree_, asked, examples, seen)


def _estimator(size: Size, seed: int, *, classes: bool) -> Any:
    try:
        from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", "sklearn", "surrogate_tree") from error
    kind = DecisionTreeClassifier if classes else DecisionTreeRegressor
    return kind(
        max_depth=size.depth, max_leaf_nodes=size.leaves, min_samples_leaf=size.rows,
        random_state=seed % 2**32,
    )  # fmt: skip


Asked = tuple[int, tuple[int, ...] | None]
"""A column, and its categories in the order in which a set may begin; None for its numbers."""


def _askable(examples: Examples) -> list[Asked]:
    """What may be asked: each column's numbers; of categories each by itself, and sets of them."""
    found: list[Asked] = []
    for column, words in enumerate(examples.words):
        if words is None:
            found.append((column, None))
            continue
        codes = _in_order(examples, column)
        found += [(column, (code,)) for code in _commonest(examples.table[:, column])]
        if len(codes) > 3:  # of three or fewer every set is one category or all but one
            found.append((column, codes))
    return found


def _commonest(own: np.ndarray) -> list[int]:
    """The categories that may be asked for by themselves: of very many the commonest ones."""
    codes, counts = np.unique(own, return_counts=True)
    return [int(codes[i]) for i in np.argsort(-counts, kind="stable")[:_SINGLE]]


def _in_order(examples: Examples, column: int) -> tuple[int, ...]:
    own = examples.table[:, column]
    codes = np.unique(own)
    rows = [own == code for code in codes]
    if not examples.classes:
        worth = np.array([examples.said[r].mean() for r in rows])
    else:
        shares = np.stack([
            np.bincount(examples.said[r], minlength=examples.classes) / r.sum() for r in rows
        ])  # fmt: skip
        weights = np.sqrt(np.array([r.sum() for r in rows]))[:, None]
        centred = shares - examples.values() / len(examples)
        first = np.linalg.svd(weights * centred, full_matrices=False)[2][0]
        worth = centred @ (first * np.sign(first[np.abs(first).argmax()]))
    order = np.argsort(np.round(worth, 12), kind="stable")
    return tuple(int(codes[i]) for i in order)


def _numbers(examples: Examples, column: int, codes: tuple[int, ...] | None) -> np.ndarray:
    """A column as numbers that are small where a question is to be answered with yes."""
    own = examples.table[:, column]
    if codes is None:
        with np.errstate(over="ignore"):
            found = own.astype(np.float32)
        if np.isinf(found).any():
            raise InputError(
                f"The column {examples.names[column]!r} holds {own[np.isinf(found)][0]:g}, which is"
                " beyond what trees compare (3.4e38).\n  Give its logarithm, or leave it out:"
                " features=[...] names the columns that may be asked about."
            )
        return found
    if len(codes) == 1:
        return (own != codes[0]).astype(np.float32)
    place = np.zeros(int(max(codes)) + 1, dtype=np.float32)
    place[list(codes)] = np.arange(len(codes))
    return place[own.astype(np.int64)]


def _read(tree: Any, asked: Sequence[Asked], examples: Examples, seen: np.ndarray) -> Nodes:
    """scikit-learn's arrays as nodes, numbered as there: parents before their children."""
    nodes: list[Node] = []
    rows = {0: np.arange(len(examples))}
    depths = {0: 0}
    order, numbers = [0], {0: 0}
    for at in order:  # grows while it is walked through
        own, left, right = rows[at], int(tree.children_left[at]), int(tree.children_right[at])
        questions: tuple[Question, ...] = ()
        if left >= 0:
            feature, threshold = int(tree.feature[at]), float(tree.threshold[at])
            missing = bool(tree.missing_go_to_left[at])
            question = _question(examples, asked[feature], threshold, missing, own)
            questions = (question,)
            yes = question.yes(examples.table[own])
            if yes[0] != _goes_left(seen[own[0], feature], threshold, missing):
                left, right = right, left
            for child, taken in ((left, yes), (right, ~yes)):
                rows[child], depths[child] = own[taken], depths[at] + 1
                numbers[child] = len(order)
                order.append(child)
        nodes.append(
            Node(
                numbers[at], depths[at], len(own), examples.rows(own).values(), questions,
                numbers.get(left, -1), numbers.get(right, -1),
            )
        )  # fmt: skip
    return tuple(nodes)


def _goes_left(value: float, threshold: float, missing: bool) -> bool:
    return missing if np.isnan(value) else bool(value <= threshold)


def _question(
    examples: Examples, asked: Asked, threshold: float, missing: bool, rows: np.ndarray
) -> Question:
    column, codes = asked
    name, words = examples.names[column], examples.words[column]
    if codes is None or words is None:
        told = bool(np.isnan(examples.table[:, column]).any())
        return Question(
            column, name, threshold, missing=missing, told=told, presence=examples.presence,
            negated=examples.presence,  # yes is that it is there
        )  # fmt: skip
    chosen = codes if len(codes) == 1 else codes[: int(np.floor(threshold)) + 1]
    here = np.unique(examples.table[rows, column]).astype(int).tolist()
    rest = tuple(c for c in here if c not in chosen)
    chosen = tuple(c for c in here if c in chosen)
    if len(rest) < len(chosen):  # the shorter list is easier to read
        chosen = rest
    return Question(column, name, None, chosen, tuple(words[c] for c in chosen))
