"""Does the score fall where the map says so: C1, C2, and the older names."""

import numpy as np

from pellucid.standard.case import Case
from pellucid.standard.maps import correlations, ranks_of
from pellucid.standard.metric import register_metric

STEPS = 16
SIZES = (0.05, 0.1, 0.2, 0.4, 0.8)
SUBSETS = 20
"""Random subsets of each size."""


def removal_curve(case: Case, imputer: str, *, most_first: bool, steps: int = STEPS) -> np.ndarray:
    """f(x) with the first 0, 1/steps, ..., all of the positions removed, `(n, steps + 1)`.

    The positions go from the largest to the smallest, or the other way round; those that are
    equal in an order drawn from the seed.
    """
    size = case.positions.shape[1]
    counts = np.unique(np.rint(np.linspace(0, size, steps + 1)).astype(int))
    ranks = ranks_of(case.positions, case.subject.generator(3))
    ranks = ranks if most_first else size - 1 - ranks
    inner = counts[1:-1]

    def kept(samples: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return ranks[samples] >= inner[numbers][:, None]

    between = case.subject.removed(imputer, len(inner), kept).scores
    ends = case.subject.scores[:, None], case.subject.empty_scores(imputer)[:, None]
    curve = np.concatenate([ends[0], between, ends[1]], axis=1)
    wanted = np.linspace(0, size, steps + 1)
    return np.stack([np.interp(wanted, counts, row) for row in curve])


def area(curve: np.ndarray) -> np.ndarray:
    """The mean height of each curve by the trapezoid rule, `(n,)`."""
    return (curve[:, 1:] + curve[:, :-1]).mean(axis=1) / 2


def _span(case: Case, imputer: str) -> np.ndarray:
    """|f(x) − f(x')|, NaN where it is at rounding level."""
    full, empty = case.subject.scores, case.subject.empty_scores(imputer)
    span = np.abs(full - empty)
    return np.where(span > 1e-6 * np.maximum(np.abs(full) + np.abs(empty), 1e-30), span, np.nan)


@register_metric(
    "srg", better="higher", needs=("forward",), identifier="C1", ideal=1.0,
    cost="32 F an imputer", source="Blücher et al. 2024, eq. 5 (symmetric relevance gain)",
)  # fmt: skip
def srg(case: Case) -> dict[str, np.ndarray]:
    """Area under the score, least important removed first, minus most important first.

    (AUC_least − AUC_most) / |f(x) − f(x')|, each curve in 16 steps and averaged by the trapezoid
    rule: 0 for a map that knows nothing, about 1 for one that finds all. NaN where f(x) = f(x').
    """

    def of(imputer: str) -> np.ndarray:
        last = area(removal_curve(case, imputer, most_first=False))
        first = area(removal_curve(case, imputer, most_first=True))
        return (last - first) / _span(case, imputer)

    return dict(case.of_each_imputer(of))


@register_metric(
    "deletion", better="lower", needs=("forward",), cost="16 F an imputer",
    source="Petsiuk et al. 2018, algorithm 1",
)  # fmt: skip
def deletion(case: Case) -> dict[str, np.ndarray]:
    """Mean score while the most important positions are removed first, in units of the score."""
    return dict(case.of_each_imputer(lambda name: area(removal_curve(case, name, most_first=True))))


@register_metric(
    "insertion", better="higher", needs=("forward",), cost="16 F an imputer",
    source="Petsiuk et al. 2018, algorithm 1",
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
    limits=(-1.0, 1.0), ideal=1.0, cost="100 F an imputer",
    source="Ancona et al. 2018, section 4.1 (sensitivity-n), over five sizes",
)  # fmt: skip
def subset_correlation(case: Case) -> dict[str, np.ndarray]:
    """Whether a removed subset's Σ a tells by how much the score falls.

    Pearson's r over 20 random subsets S of one size between Σ_S a and f(x) − f(x without S), the
    mean over subsets of 5, 10, 20, 40 and 80 % of the positions (those sizes that differ and are
    not all). The subsets are the same for all samples and explanations. 1 for the exact map of a
    linear model, 0 ± 0.1 for a random map; 0 for one that is the same everywhere, which tells
    nothing; NaN where the score never changes.
    """
    return dict(case.of_each_imputer(lambda name: _sensitivity(case, name)))


def subsets_of(case: Case) -> np.ndarray:
    """What is removed, `(sizes, 20, positions)` booleans."""
    size, generator = case.positions.shape[1], case.subject.generator(4)
    wanted = sorted({min(max(1, round(f * size)), max(size - 1, 1)) for f in SIZES})
    drawn = [
        [np.isin(np.arange(size), generator.choice(size, k, replace=False)) for _ in range(SUBSETS)]
        for k in wanted
    ]
    return np.array(drawn)


def _sensitivity(case: Case, imputer: str) -> np.ndarray:
    subsets = subsets_of(case)
    flat = subsets.reshape(-1, subsets.shape[-1])
    scores = case.subject.removed(imputer, len(flat), lambda _, numbers: ~flat[numbers]).scores
    fall = (case.subject.scores[:, None] - scores).reshape(-1, *subsets.shape[:2])
    said = (case.positions @ flat.T.astype(np.float64)).reshape(fall.shape)
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
