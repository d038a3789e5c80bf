"""Where the model errs most: conditions on one or two columns whose rows err more than the rest."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from pellucid.board.columns import Column, cut
from pellucid.shares import wilson

_MOST_PAIRED = 24
"""Pairs are made of the pieces of at most so many columns, those that err most by themselves."""

_MOST_PIECES = 60
_MOST_COLUMNS = 1000
"""So many columns are searched: what the user gave, the class, then inputs in their order."""

_SIMPLER = 20.0
"""A pair of conditions is preferred to a single one where its p is so many times smaller."""

_Conditions = tuple[tuple[int, int], ...]
_Best = tuple[float, _Conditions] | None
"""A p value and the numbers of column and piece of each condition."""


@dataclass(frozen=True, eq=False)
class Slice:
    """Rows that meet one condition or two, and are in no slice above, beside all others left."""

    conditions: tuple[str, ...]
    size: int
    error: float
    """Share of wrong rows, or the mean absolute error."""
    low: float
    high: float
    rest: float
    """The same of the rows outside, of this slice and of those above."""
    p: float
    """One-sided, corrected for all conditions that could have been asked about."""
    rows: np.ndarray = field(repr=False)
    """Their numbers in the data set."""

    @property
    def difference(self) -> float:
        return self.error - self.rest

    def __str__(self) -> str:
        """The conditions, and the errors inside and outside."""
        return (
            f"{' and '.join(self.conditions)}: {self.size} rows, error {self.error:.3g} against"
            f" {self.rest:.3g} (p = {self.p:.2g})"
        )


@dataclass(frozen=True, eq=False)
class Slices:
    """Slices that err more than the rest, the clearest first, and how they were looked for."""

    found: tuple[Slice, ...]
    tested: int
    alpha: float
    support: int
    note: str

    def __iter__(self) -> Iterator[Slice]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, place: int) -> Slice:
        return self.found[place]


def find_slices(
    columns: Sequence[Column],
    errors: np.ndarray,
    *,
    alpha: float = 0.05,
    most: int = 6,
    support: int | None = None,
) -> Slices:
    """Search all pieces of one column, and all pairs of pieces of two, for rows that err more.

    Of wrong and right answers the test is Fisher's exact one (the upper tail of the hypergeometric
    distribution), of absolute errors the rank sum (Mann and Whitney, normal approximation with
    ties), both one-sided: errors that fall on rows at random. With m conditions that have
    `support` rows (1 %, at least 25) the smallest p is kept if m·p ≤ alpha, which is Holm's
    (and Bonferroni's) first step: where errors know nothing of the columns, anything is found with
    probability alpha at most. Two conditions are kept in place of one where their p is 20 times
    smaller. Then the rows found are left out and the rest is searched again, so that what is only
    the echo of a slice is not found beside it. Pieces are cut by the columns alone.
    Raises nothing: no columns, no slices.
    """
    count = len(errors)
    least = max(25, int(np.ceil(0.01 * count))) if support is None else support
    searched = sorted(columns, key=lambda c: c.of == "input")[:_MOST_COLUMNS]
    searched = columns if len(columns) <= _MOST_COLUMNS else searched
    pieces = [(c.name, *_narrow(*cut(c))) for c in searched]
    used = [p for p in pieces if 1 < len(p[2]) <= _MOST_PIECES]
    search = _Search([p[1] for p in used], [p[2] for p in used], errors, least)
    left = np.ones(count, dtype=bool)
    found: list[Slice] = []
    tested = 0
    while len(found) < most:
        single, pair = search.best(left)
        tested = tested or search.asked
        best = _chosen(single, pair, alpha / max(tested, 1))
        if best is None:
            break
        p, conditions = best
        rows = search.rows(conditions) & left
        left &= ~rows
        found.append(_slice(search, conditions, rows, left, errors, min(1.0, p * tested)))
        if left.sum() < 2 * least:
            break
    note = _note(pieces, used, tested, len(columns))
    return Slices(tuple(found), tested, alpha, least, note)


def _narrow(codes: np.ndarray, titles: list[str]) -> tuple[np.ndarray, list[str]]:
    """The same in two bytes a row, which hold the pieces of a pair; none of what is too wide."""
    return codes.astype(np.int16) if len(titles) <= _MOST_PIECES else codes[:0], titles


def _chosen(single: _Best, pair: _Best, limit: float) -> _Best:
    """The one to keep of the best condition and the best pair, if either is below the limit."""
    kept = [b for b in (single, pair) if b is not None and b[0] <= limit]
    if len(kept) < 2:
        return kept[0] if kept else None
    return kept[0] if kept[0][0] <= _SIMPLER * kept[1][0] else kept[1]


def _note(pieces: list, used: list, tested: int, known: int) -> str:
    some = "at most " if len(used) > _MOST_PAIRED else ""
    note = f"{len(used)} columns, {some}{tested:,} conditions with enough rows"
    if known > len(pieces):
        note += f"; {known - len(pieces):,} further columns are not searched"
    wide = [name for name, _, titles in pieces if len(titles) > _MOST_PIECES]
    if wide:
        note += f"; left out for more than {_MOST_PIECES} categories: {', '.join(wide[:4])}"
    if len(used) > _MOST_PAIRED:
        note += f"; pairs of the {_MOST_PAIRED} columns that err most, corrected as if of all"
    return note


def _slice(
    search: "_Search",
    conditions: _Conditions,
    rows: np.ndarray,
    outside: np.ndarray,
    errors: np.ndarray,
    p: float,
) -> Slice:
    own, others = errors[rows], errors[outside]
    if search.binary:
        low, high = (float(end) for end in wilson(own.sum(), len(own)))
    else:
        spread = 1.96 * own.std(ddof=1) / np.sqrt(len(own))
        low, high = float(own.mean() - spread), float(own.mean() + spread)
    return Slice(
        tuple(search.titles[c][k] for c, k in conditions), int(rows.sum()), float(own.mean()),
        low, high, float(others.mean()), p, np.flatnonzero(rows),
    )  # fmt: skip


class _Search:
    """Counts and errors of every piece and pair of pieces, and the test that ranks them."""

    def __init__(
        self, codes: list[np.ndarray], titles: list[list[str]], errors: np.ndarray, least: int
    ) -> None:
        self.codes, self.titles, self.errors, self.least = codes, titles, errors, least
        self.asked = 0
        """How many conditions there are to test, at most; known after the first search."""
        self.binary = bool(np.isin(errors, (0.0, 1.0)).all())

    def rows(self, conditions: _Conditions) -> np.ndarray:
        """Which rows meet the conditions."""
        return np.logical_and.reduce([self.codes[c] == k for c, k in conditions])

    def best(self, left: np.ndarray) -> tuple[_Best, _Best]:
        """The smallest p of one condition, and of two, with them."""
        test = _Test(self.errors[left], self.binary)
        codes = [c[left] for c in self.codes]
        smallest, large = [], []
        single: _Best = None
        best: _Best = None
        for i, own in enumerate(codes):
            counts, p = self._tested(test, own, len(self.titles[i]))
            large.append(int((counts >= self.least).sum()))
            smallest.append(p.min(initial=1.0))
            single = _better(single, p, lambda k, i=i: ((i, k),))
        order = np.sort(np.argsort(smallest, kind="stable")[:_MOST_PAIRED])
        pairs = 0
        for i, j in combinations(order.tolist(), 2):
            width = len(self.titles[j])
            pair = codes[i] * width + codes[j]
            counts, p = self._tested(test, pair, len(self.titles[i]) * width)
            pairs += int((counts >= self.least).sum())
            best = _better(best, p, lambda k, i=i, j=j, w=width: ((i, k // w), (j, k % w)))
        if not self.asked:
            pairs += _most_pairs(large) - _most_pairs([large[i] for i in order])
            self.asked = sum(large) + pairs
        return single, best

    def _tested(
        self, test: "_Test", codes: np.ndarray, width: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows and p of each piece; p is 1 where it has too few rows, or leaves too few."""
        counts = np.bincount(codes, minlength=width)
        sums = np.bincount(codes, weights=test.errors, minlength=width)
        ranks = sums if self.binary else np.bincount(codes, weights=test.ranks, minlength=width)
        fit = (counts >= self.least) & (len(codes) - counts >= self.least)
        p = np.ones(width)
        p[fit] = test.p(counts[fit], sums[fit], ranks[fit])
        return counts, p


def _most_pairs(large: list[int]) -> int:
    """How many pairs of pieces can have enough rows: only those of two pieces that have them.

    A bound that needs no look at the rows, of which the pairs of many columns are too many.
    """
    return (sum(large) ** 2 - sum(n * n for n in large)) // 2


def _better(best: _Best, p: np.ndarray, conditions: Callable[[int], _Conditions]) -> _Best:
    """The better of what was best so far and the smallest of these p; the first at a tie."""
    k = int(p.argmin()) if p.size else 0
    if p.size and p[k] < 1 and (best is None or p[k] < best[0]):
        return float(p[k]), conditions(k)
    return best


class _Test:
    """Whether rows err more than rows drawn at random, one-sided."""

    def __init__(self, errors: np.ndarray, binary: bool) -> None:
        from scipy.stats import rankdata

        self.errors, self.binary, self.count = errors, binary, len(errors)
        self.total = float(errors.sum())
        self.ranks = errors if binary else rankdata(errors)
        _, ties = np.unique(self.ranks, return_counts=True)
        self.ties = float((ties.astype(np.float64) ** 3 - ties).sum())

    def p(self, counts: np.ndarray, sums: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """The p values of groups of rows, of which counts, errors and ranks are summed up."""
        from scipy.stats import hypergeom, norm

        n, total = counts.astype(np.float64), float(self.count)
        if self.binary:
            found = hypergeom.sf(np.rint(sums) - 1, self.count, round(self.total), counts)
            return np.where(sums / n > self.total / total, found, 1.0)
        rest = (self.total - sums) / (total - n)
        mean = n * (total + 1) / 2
        variance = n * (total - n) / 12 * (total + 1 - self.ties / (total * (total - 1)))
        found = norm.sf((ranks - mean - 0.5) / np.sqrt(np.maximum(variance, 1e-300)))
        return np.where(sums / n > rest, found, 1.0)
