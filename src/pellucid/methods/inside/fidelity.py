"""How well a tree imitates a model on rows it did not learn from, and how that grows with size."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from pellucid.errors import InputError
from pellucid.methods.inside.imitation import Examples, grown
from pellucid.methods.inside.questions import Node, Nodes, leaves_of, outcomes, visits
from pellucid.methods.inside.sizes import Size
from pellucid.shares import wilson

LEVEL = 0.95
_DRAWS = 1000
_SPLIT, _RESAMPLE, _FOLDS = 60, 61, 62
"""What random numbers are for, in `default_rng([seed, purpose])`."""


@dataclass(frozen=True)
class Fidelity:
    """How often (of classes), or how closely (R² of a score), a tree says what the model says.

    `value` with its 95 % interval over `rows` held out; `trivial` is what the best single answer
    for all rows gets, and `skill` how much of what that misses the tree gets right: 0 is nothing, 1
    is all. `gain_low` is the lower end of the 95 % interval of value − trivial. `balanced` is the
    mean over the model's classes of the share that is imitated, with its interval, `trivial_answer`
    the one answer.
    """

    measure: str
    value: float
    low: float
    high: float
    trivial: float
    gain_low: float
    rows: int
    trivial_answer: str = ""
    balanced: float = float("nan")
    balanced_low: float = float("nan")
    balanced_high: float = float("nan")

    @property
    def skill(self) -> float:
        """(value − trivial) / (1 − trivial), never above 1."""
        return (self.value - self.trivial) / max(1 - self.trivial, 1e-12)

    @property
    def verdict(self) -> str:
        """One of "nothing", "low", "fair", "close" and "exact"."""
        if self.value == 1 and self.trivial < 1:
            return "exact"
        if not (self.gain_low > 0 and self.skill > 0):  # NaN is nothing too
            return "nothing"
        return "low" if self.skill < 0.5 else "fair" if self.skill < 0.8 else "close"

    def __str__(self) -> str:
        kind = "imitation R²" if self.measure == "r2" else "imitates the model's class of"
        spread = f"(95 % interval {_shown(self.low, self)} to {_shown(self.high, self)})"
        rows = f"{self.rows} held-out rows"
        if self.measure == "r2":
            return f"{kind} {self.value:.3f} {spread} on {rows}"
        return (
            f"{kind} {self.value:.1%} {spread} of {rows}; always saying {self.trivial_answer!r}"
            f" gets {self.trivial:.1%}"
        )

    @property
    def warning(self) -> str:
        """What a reader of the tree has to know before believing it; empty where it is close."""
        if self.verdict == "nothing":
            less = "one and the same answer for all rows"
            if self.value > self.trivial:
                return (
                    f"Not shown to be better than {less}: with {self.rows} held-out rows the 95 %"
                    f" interval of the gain starts at {_shown(self.gain_low, self)}."
                )
            return f"This shows nothing of the model: it is no better than {less}."
        if self.verdict == "low":
            return (
                "Do not take this for the model: it misses more than half"
                f" ({1 - self.skill:.0%}) of what {_than(self)} misses."
            )
        return ""


def _than(fidelity: Fidelity) -> str:
    if fidelity.measure == "r2":
        return "the mean score alone"
    return f"always saying {fidelity.trivial_answer!r}"


def _shown(value: float, fidelity: Fidelity) -> str:
    return f"{value:.3f}" if fidelity.measure == "r2" else f"{value:.1%}"


def split(examples: Examples, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows to learn from and those held out, of each class in the same share."""
    generator = np.random.default_rng([seed, _SPLIT])
    groups = [np.arange(len(examples))]
    if examples.classes:
        groups = [np.flatnonzero(examples.said == c) for c in range(examples.classes)]
    out = [generator.permutation(g)[: round(share * len(g))] for g in groups]
    held = np.sort(np.concatenate(out))
    learned = np.setdiff1d(np.arange(len(examples)), held)
    if not len(held) or len(learned) < 2:
        raise InputError(
            f"held_out={share!r} of {len(examples)} rows leaves {len(learned)} to learn from and"
            f" {len(held)} to be measured on.\n  Give more rows, or another share."
        )
    return learned, held


def measured(
    nodes: Nodes, fresh: Examples, answer: np.ndarray, seed: int, *, names: tuple[str, ...] = ()
) -> Fidelity:
    """The fidelity of a tree on `fresh` rows; `answer` is the one best answer of what it learned.

    Of classes the interval is Wilson's; of R², of the balanced share and of the gain it holds the
    middle 95 % of 1 000 resamplings of the rows, multinomial weights of `default_rng([seed, 61])`.
    """
    said = outcomes(nodes, classes=fresh.classes > 0)[leaves_of(nodes, fresh.table)]
    count = len(fresh)
    draws = np.random.default_rng([seed, _RESAMPLE]).multinomial(
        count, np.full(count, 1 / count), size=_DRAWS
    )
    if fresh.classes:
        return _of_classes(said, fresh, int(answer.argmax()), draws, names)
    if (fresh.said == fresh.said[0]).all():  # R² of what does not vary is no number
        nothing = float("nan")
        return Fidelity("r2", nothing, nothing, nothing, nothing, nothing, count)
    weights = np.concatenate([np.ones((1, count)), draws])
    tree = _r2(fresh.said, said, weights)
    trivial = _r2(fresh.said, np.full(count, answer[0]), weights)
    low, high = np.nanquantile(tree[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    gain_low = np.nanquantile((tree - trivial)[1:], (1 - LEVEL) / 2)
    return Fidelity("r2", float(tree[0]), float(low), float(high), float(trivial[0]),
                    float(gain_low), count)  # fmt: skip


def _r2(truth: np.ndarray, said: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """1 − Σ(f − t)² / Σ(f − f̄)² for each row of weights; NaN where f is one value."""
    total = weights.sum(axis=1)
    mean = weights @ truth / total
    spread = weights @ truth**2 - total * mean**2
    spread = np.where(spread > 1e-12 * (weights @ truth**2), spread, np.nan)
    return 1 - weights @ (truth - said) ** 2 / spread


def _of_classes(
    said: np.ndarray, fresh: Examples, most: int, draws: np.ndarray, names: tuple[str, ...]
) -> Fidelity:
    hits = said == fresh.said
    low, high = map(float, wilson(hits.sum(), len(hits)))
    trivial = fresh.said == most
    gains = draws @ (hits.astype(float) - trivial) / len(hits)
    classes = np.unique(fresh.said)
    own = (fresh.said[:, None] == classes).astype(np.float64)
    there = np.concatenate([np.ones((1, len(hits))), draws])
    with np.errstate(invalid="ignore", divide="ignore"):
        balanced = np.nanmean((there * hits) @ own / (there @ own), axis=1)
    ends = np.quantile(balanced[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Fidelity(
        "accuracy", float(hits.mean()), low, high, float(trivial.mean()),
        float(np.quantile(gains, (1 - LEVEL) / 2)), len(hits),
        names[most] if names else f"class {most}", float(balanced[0]), *map(float, ends),
    )  # fmt: skip


@dataclass(frozen=True)
class TradeOffRow:
    """A tree of one depth (a list of so many rules), and its fidelity on the held-out rows."""

    depth: int
    leaves: int
    fidelity: float
    low: float
    high: float
    balanced: float


@dataclass(frozen=True)
class TradeOff:
    """What each further level of the tree buys; depth 0 is one answer for all rows."""

    rows: tuple[TradeOffRow, ...]
    chosen: int
    measure: str

    def __iter__(self) -> Iterator[TradeOffRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> TradeOffRow:
        return self.rows[number]

    def __str__(self) -> str:
        head = "depth  leaves  fidelity  95 % interval"
        lines = [
            f"{r.depth:>5}  {r.leaves:>6}  {r.fidelity:>8.3f}  {r.low:.3f} to {r.high:.3f}"
            + ("  ← this tree" if r.depth == self.chosen else "")
            for r in self.rows
        ]
        return "\n".join([head, *lines])


def best_depth(examples: Examples, size: Size, seed: int) -> int:
    """The smallest depth up to `size.depth` within one standard error of the best one.

    By five-fold cross-validation over the rows to learn from, in folds of `default_rng([seed,
    62])`, so that the held-out rows have no part in it (Breiman et al. 1984, section 3.4.3).
    """
    count = len(examples)
    folds = np.random.default_rng([seed, _FOLDS]).permutation(count) % min(5, count)
    losses = np.empty((size.depth + 1, count))
    for depth in range(size.depth + 1):
        for fold in np.unique(folds):
            learned, fresh = examples.rows(folds != fold), examples.rows(folds == fold)
            nodes = grown(learned, replace(size, depth=depth), seed)
            said = outcomes(nodes, classes=examples.classes > 0)[leaves_of(nodes, fresh.table)]
            wrong = said != fresh.said if examples.classes else (said - fresh.said) ** 2
            losses[depth, folds == fold] = wrong
    means = losses.mean(axis=1)
    best = int(means.argmin())
    slack = losses[best].std(ddof=1) / np.sqrt(count)
    return int(np.flatnonzero(means <= means[best] + slack)[0])


def with_fresh(nodes: Nodes, fresh: Examples) -> Nodes:
    """The nodes with how many held-out rows reach them, and how well their own answer fits."""
    said = outcomes(nodes, classes=fresh.classes > 0)
    return tuple(
        _with_rows(node, fresh, rows, said[node.number])
        for node, rows in zip(nodes, visits(nodes, fresh.table), strict=True)
    )


def _with_rows(node: Node, fresh: Examples, rows: np.ndarray, said: float) -> Node:
    own = fresh.said[rows]
    if fresh.classes:
        return replace(node, fresh=len(rows), right=int((own == said).sum()))
    error = float(np.sqrt(np.mean((own - said) ** 2))) if len(rows) else float("nan")
    return replace(node, fresh=len(rows), error=error)
