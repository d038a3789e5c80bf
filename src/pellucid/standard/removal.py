"""Does the score fall where the map says so: C1, C2, and the older names."""

import hashlib

import numpy as np

from pellucid.standard.case import Case
from pellucid.standard.maps import correlations, ranks_of
from pellucid.standard.metric import register_metric

STEPS = 16


def removal_curve(case: Case, imputer: str, *, most_first: bool, steps: int = STEPS) -> np.ndarray:
    """f(x) with the first 0, 1/steps, ..., all of the units removed, `(n, steps + 1)`.

    The units (see `Subject.unit_of`) go from the largest to the smallest, or the other way round;
    those that are equal in an order drawn from the seed, the same both ways: a map that is the same
    everywhere then has one curve, and no gain that is the luck of its order.
    """
    size = case.units.shape[1]
    ranks = ranks_of(case.units if most_first else -case.units, case.subject.generator(3))
    key = (imputer, steps, hashlib.sha256(ranks.tobytes()).digest())
    if key not in case.curves:
        counts = np.unique(np.rint(np.linspace(0, size, steps + 1)).astype(np.int32))
        curve = _scores_without(case, imputer, ranks, counts)
        wanted = np.linspace(0, size, steps + 1)
        case.curves[key] = np.stack([np.interp(wanted, counts, row) for row in curve])
    return case.curves[key]


def _scores_without(case: Case, imputer: str, ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """f(x) without the units of the first `counts` ranks, from none to all, `(n, counts)`."""
    inner = counts[1:-1]

    def kept(samples: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return ranks[samples] >= inner[numbers][:, None]

    between = case.subject.removed(imputer, len(inner), kept).scores
    ends = case.subject.scores[:, None], case.subject.empty_scores(imputer)[:, None]
    return np.concatenate([ends[0], between, ends[1]], axis=1)


def area(curve: np.ndarray) -> np.ndarray:
    """The mean height of each curve by the trapezoid rule, `(n,)`."""
    return (curve[:, 1:] + curve[:, :-1]).mean(axis=1) / 2


OF_RANGE = ", of the range"
"""Ends the name of the way that tells the gain in units of the score's range."""


def distance(case: Case, imputer: str) -> np.ndarray:
    """|f(x) − f(x')|, the unit of C1, `(n,)`; NaN where that is rounding."""
    full, empty = case.subject.scores, case.subject.empty_scores(imputer)
    return _beyond_rounding(np.abs(full - empty), full, empty)


def range_of(case: Case, imputer: str) -> np.ndarray:
    """What the score moves through when features are removed, `(n,)`: the unit of C1's utility.

    The range of f over x, x' and the random subsets of C2: the same for all explanations of a
    sample. NaN where the score does not move.
    """
    full, empty = case.subject.scores, case.subject.empty_scores(imputer)
    some = case.subject.subset_scores(imputer).reshape(case.count, -1)
    each = np.concatenate([full[:, None], empty[:, None], some], axis=1)
    return _beyond_rounding(each.max(axis=1) - each.min(axis=1), full, empty)


def _beyond_rounding(size: np.ndarray, full: np.ndarray, empty: np.ndarray) -> np.ndarray:
    return np.where(size > 1e-6 * np.maximum(np.abs(full) + np.abs(empty), 1e-30), size, np.nan)


@register_metric(
    "srg", better="higher", needs=("forward",), identifier="C1", ideal=1.0, utility_of=OF_RANGE,
    cost="32 F an imputer, and those of C2 once",
    source="Blücher et al. 2024, eq. 5 (symmetric relevance gain)",
    without="f(x) and f(x'), everything removed, differ by rounding alone",
)  # fmt: skip
def srg(case: Case) -> dict[str, np.ndarray]:
    """Area under the score, least important removed first, minus most important first.

    (AUC_least − AUC_most) / |f(x) − f(x')|, each curve in 16 steps and averaged by the trapezoid
    rule. About 0 for a map that knows nothing, 0 for one that is the same everywhere; no upper
    bound, for what speaks against the class may move the score further than everything together.
    NaN where |f(x) − f(x')| is rounding. What is removed as one are the cells of a grid in large
    images, single positions elsewhere (`Subject.unit_of`).

    Where what is put in says much the same as the features, |f(x) − f(x')| is next to nothing and
    the quotient says how little, not how well the map orders. The ways ", of the range" tell the
    same gain in units of the range of f over x, x' and the random subsets of `subset_correlation`,
    the same for all explanations: utilities are of that, without a bound above, and 1 is a gain as
    large as that range.
    """
    found: dict[str, np.ndarray] = {}
    for imputer in case.subject.imputers:
        last = removal_curve(case, imputer, most_first=False)
        first = removal_curve(case, imputer, most_first=True)
        gain = area(last) - area(first)
        found[imputer] = gain / distance(case, imputer)
        found[imputer + OF_RANGE] = gain / range_of(case, imputer)
    return found


@register_metric(
    "deletion", better="lower", needs=("forward",), cost="16 F an imputer",
    source="Petsiuk et al. 2018, algorithm 1",
    without="the model returns no finite number",
)  # fmt: skip
def deletion(case: Case) -> dict[str, np.ndarray]:
    """Mean score while the most important positions are removed first, in units of the score."""
    return dict(case.of_each_imputer(lambda name: area(removal_curve(case, name, most_first=True))))


@register_metric(
    "insertion", better="higher", needs=("forward",), cost="16 F an imputer",
    source="Petsiuk et al. 2018, algorithm 1",
    without="the model returns no finite number",
)  # fmt: skip
def insertion(case: Case) -> dict[str, np.ndarray]:
    """Mean score while the most important positions are put back first, in units of the score.

    The curve of the least important ones removed first, read from its other end.
    """
    return dict(
        case.of_each_imputer(lambda name: area(removal_curve(case, name, most_first=False)))
    )


@register_metric(
    "subset_correlation", better="higher", needs=("forward",), identifier="C2",
    limits=(-1.0, 1.0), ideal=1.0, cost="100 F an imputer, once for all explanations",
    source="Ancona et al. 2018, section 4.1 (sensitivity-n), over five sizes",
    without="the score never changes while features are removed",
)  # fmt: skip
def subset_correlation(case: Case) -> dict[str, np.ndarray]:
    """Whether a removed subset's Σ a tells by how much the score falls.

    Pearson's r over 20 random subsets S of one size between Σ_S a and f(x) − f(x without S), the
    mean over subsets of 5, 10, 20, 40 and 80 % of the units (those sizes that differ and are
    not all). The subsets are the same for all samples and explanations. 1 for the exact map of a
    linear model, 0 ± 0.1 for a random map; 0 for one that is the same everywhere, which tells
    nothing; NaN where the score never changes.
    """
    return dict(case.of_each_imputer(lambda name: _sensitivity(case, name)))


def _sensitivity(case: Case, imputer: str) -> np.ndarray:
    subsets = case.subject.subsets
    flat = subsets.reshape(-1, subsets.shape[-1])
    fall = case.subject.scores[:, None, None] - case.subject.subset_scores(imputer)
    said = (case.units @ flat.T.astype(np.float64)).reshape(fall.shape)
    found = []
    for number in range(subsets.shape[0]):
        r = correlations(said[:, number], fall[:, number])
        silent = np.isnan(r) & ~np.isnan(correlations(fall[:, number], fall[:, number]))
        found.append(np.where(silent, 0.0, r))
    each = np.stack(found)
    known = ~np.isnan(each)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, each, 0).sum(axis=0) / known.sum(axis=0)
    return np.where(known.any(axis=0), mean, np.nan)
