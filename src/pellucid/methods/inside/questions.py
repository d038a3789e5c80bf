"""The questions a small tree asks of a row of a table, and the way a row takes through them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pellucid.plain import readable


@dataclass(frozen=True)
class Question:
    """Whether one column of a row is at most a threshold, or one of some categories.

    `missing` is the answer of a missing number: learned where `told`, else that of most rows. A
    missing category is a category of its own; one that was not seen here answers no.
    """

    column: int
    name: str
    threshold: float | None = None
    codes: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    missing: bool = False
    told: bool = False
    negated: bool = False
    presence: bool = False
    """The column says whether something is there (0 or 1)."""

    def yes(self, table: np.ndarray) -> np.ndarray:
        """Which rows `(n, columns)` answer yes, `(n,)`."""
        own = table[:, self.column]
        if self.threshold is None:
            found = np.isin(own, self.codes)
        else:
            # Rows in float32 against the whole threshold, as scikit-learn compares them.
            with np.errstate(over="ignore"):
                found = own.astype(np.float32) <= np.float64(self.threshold)
            found = np.where(np.isnan(own), self.missing, found)
        return ~found if self.negated else found

    def __invert__(self) -> "Question":
        return replace(self, negated=not self.negated)

    def words_for(self, limit: int | None = None) -> str:
        """The question as a statement, such as `age ≤ 30` or `job is sales or clerk`.

        With `limit`, no more than so many categories are named.
        """
        if self.presence:
            return f"{self.name} {'there' if self.negated else 'hidden'}"
        if self.threshold is None:
            verb = "is not" if self.negated else "is"
            return f"{self.name} {verb} {_listed(self.words, limit)}"
        if np.isinf(self.threshold):
            return f"{self.name} is {'missing' if self.negated else 'there'}"
        sign = ">" if self.negated else "≤"
        also = " or missing" if self.told and self.missing != self.negated else ""
        return f"{self.name} {sign} {readable(self.threshold)}{also}"

    def __str__(self) -> str:
        return self.words_for()


def _listed(words: Sequence[str], limit: int | None) -> str:
    shown = list(words if limit is None else words[:limit])
    rest = len(words) - len(shown)
    if rest:
        return f"{', '.join(shown)} or {rest} more"
    return " or ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


@dataclass(frozen=True)
class Drawn:
    """How the rows at a node lie along the column it asks about.

    Numbers fall into bins between `edges (b + 1,)`; categories have a bar each, `words`, of which
    the first `yes` answer yes. `counts (b, classes)`, or `(b, 1)` with the `means (b,)` of a score.
    """

    counts: np.ndarray
    edges: np.ndarray | None = None
    words: tuple[str, ...] = ()
    yes: int = 0
    means: np.ndarray | None = None
    missing: int = 0
    picture: np.ndarray | None = None
    """Where the column is looked for, uint8 `(height, width, 3)`."""


@dataclass(frozen=True)
class Node:
    """One place of the tree: the rows that reach it, and what is asked of them next.

    `values` are the rows' counts by class `(classes,)`, or the mean and standard deviation of their
    score `(2,)`. `questions` all have to hold for a yes; a tree has one, a rule list may have
    several, a leaf none. `fresh` are the held-out rows that come here, `right` those of them of
    which the model says what the leaf says; of a score `error` is the root mean square error.
    """

    number: int
    depth: int
    count: int
    values: np.ndarray
    questions: tuple[Question, ...] = ()
    yes: int = -1
    no: int = -1
    drawn: Drawn | None = None
    fresh: int = 0
    right: int = 0
    error: float = float("nan")
    listed: bool = False
    """A rule of a list: its yes is a leaf, its no the rest of the list."""

    @property
    def leaf(self) -> bool:
        return not self.questions

    def answers(self, table: np.ndarray) -> np.ndarray:
        """Which rows answer yes."""
        found = np.ones(len(table), dtype=bool)
        for question in self.questions:
            found &= question.yes(table)
        return found


Nodes = tuple[Node, ...]


def visits(nodes: Nodes, table: np.ndarray) -> list[np.ndarray]:
    """The numbers of the rows that reach each node."""
    found = [np.arange(0)] * len(nodes)
    found[0] = np.arange(len(table))
    for node in nodes:  # parents come before their children
        if not node.leaf:
            rows = found[node.number]
            yes = node.answers(table[rows])
            found[node.yes], found[node.no] = rows[yes], rows[~yes]
    return found


def leaves_of(nodes: Nodes, table: np.ndarray) -> np.ndarray:
    """The number of the leaf that each row ends in, `(n,)`."""
    found = np.zeros(len(table), dtype=np.int64)
    for node, rows in zip(nodes, visits(nodes, table), strict=True):
        if node.leaf:
            found[rows] = node.number
    return found


def outcomes(nodes: Nodes, *, classes: bool) -> np.ndarray:
    """What each node says: the number of its largest class, or its mean score."""
    found = [node.values.argmax() if classes else node.values[0] for node in nodes]
    return np.asarray(found)


def contributions(nodes: Nodes, table: np.ndarray, *, classes: bool) -> np.ndarray:
    """What each column moves the answer by on a row's way to its leaf, `(n, columns)`.

    A step from a node to the next one counts for the column that is asked about there, in equal
    shares where a rule has several conditions: the value of the next less that of this one. Values
    are mean scores, or shares of the class that the leaf says (Saabas 2014).
    """
    found = np.zeros(table.shape)
    leaves = leaves_of(nodes, table)
    for leaf in np.unique(leaves):
        said = int(nodes[leaf].values.argmax())
        worth = [n.values[said] / max(n.count, 1) if classes else n.values[0] for n in nodes]
        own = np.zeros(table.shape[1])
        for number, yes in way_to(nodes, int(leaf)):
            node = nodes[number]
            step = worth[node.yes if yes else node.no] - worth[number]
            for question in node.questions:
                own[question.column] += step / len(node.questions)
        found[leaves == leaf] = own
    return found


def way_to(nodes: Nodes, leaf: int) -> tuple[tuple[int, bool], ...]:
    """The nodes passed on the way to a leaf, each with its answer."""
    way: list[tuple[int, bool]] = []
    at = leaf
    while at:
        parent = next(n for n in nodes if at in (n.yes, n.no))
        way.append((parent.number, parent.yes == at))
        at = parent.number
    return tuple(reversed(way))


def statements(nodes: Nodes, leaf: int) -> tuple[Question, ...]:
    """What holds for every row of a leaf, each column's bounds said once.

    In a list of rules what came before is not repeated: it is said by the order.
    """
    way = way_to(nodes, leaf)
    if any(nodes[number].listed for number, _ in way):
        number, yes = way[-1]
        return tightest(nodes[number].questions) if yes else ()
    return tightest([
        question if yes else ~question
        for number, yes in way
        for question in nodes[number].questions
    ])  # fmt: skip


def tightest(held: Sequence[Question]) -> tuple[Question, ...]:
    """The same statements with one lower and one upper bound a column, and one set of categories.

    >>> first, second = Question(0, "age", 60.0), Question(0, "age", 30.0)
    >>> [str(q) for q in tightest([first, ~second])]
    ['age > 30', 'age ≤ 60']
    """
    columns: dict[int, list[Question]] = {}
    for question in held:
        columns.setdefault(question.column, []).append(question)
    return tuple(q for own in columns.values() for q in _of_column(own))


def _of_column(held: list[Question]) -> list[Question]:
    if held[0].threshold is None:
        return _of_categories(held)
    lower = [q for q in held if q.negated]
    upper = [q for q in held if not q.negated]
    found = [max(lower, key=_bound)] if lower else []
    found += [min(upper, key=_bound)] if upper else []
    if all(q.missing != q.negated for q in held):
        return found
    # A bound says that the number is there.
    bounds = [q for q in found if np.isfinite(_bound(q))] or found[:1]
    return [replace(q, told=False) for q in bounds]


def _bound(question: Question) -> float:
    assert question.threshold is not None
    return question.threshold


def _of_categories(held: list[Question]) -> list[Question]:
    words = {c: w for q in held for c, w in zip(q.codes, q.words, strict=True)}
    excluded = {c for q in held if q.negated for c in q.codes}
    sets = [set(q.codes) for q in held if not q.negated]
    if sets:
        left = set.intersection(*sets) - excluded
        return [_about(held[0], [c for c in words if c in left], words, negated=False)]
    return [_about(held[0], [c for c in words if c in excluded], words, negated=True)]


def _about(
    question: Question, codes: list[int], words: dict[int, str], *, negated: bool
) -> Question:
    return replace(
        question, codes=tuple(codes), words=tuple(words[c] for c in codes), negated=negated
    )
