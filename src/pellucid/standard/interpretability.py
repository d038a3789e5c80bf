"""Is it short, is it enough, is it about this class: I1 to I3."""

import numpy as np

from pellucid.standard.answers import other_answer
from pellucid.standard.case import Case
from pellucid.standard.maps import correlations, ranks_of
from pellucid.standard.metric import register_metric
from pellucid.standard.removal import distance

FRACTIONS = (0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.18, 0.27, 0.4, 0.6, 0.8, 1.0)
"""The shares of positions that I2 tries."""


@register_metric(
    "effective_fraction", axis="interpretability", better="lower", identifier="I1",
    limits=(0.0, 1.0), ideal=0.0, cost="0 F", source="Bhatt et al. 2020, eq. 7 (entropy)",
    without="the map is 0 everywhere",
)  # fmt: skip
def effective_fraction(case: Case) -> np.ndarray:
    """The share of positions that a map is spread over, from its entropy.

    exp(H(|a| / Σ|a|)) / d in [1/d, 1]: 1 for a constant map, 1/d for one position. NaN for a map of
    zeros. Says nothing of whether the positions are the right ones.
    """
    size = np.abs(case.positions)
    total = size.sum(axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = size / total
        entropy = -np.where(share > 0, share * np.log(share), 0.0).sum(axis=1)
    found = np.exp(entropy) / size.shape[1]
    return np.where(total[:, 0] > 0, found, np.nan)


@register_metric(
    "minimal_sufficient_fraction", axis="interpretability", better="lower", needs=("forward",),
    identifier="I2", limits=(0.0, 1.0), ideal=0.0, cost="12 F",
    source="Dabkowski & Gal 2017, section 3 (smallest sufficient region)",
    without="f(x) and f(x'), everything removed, differ by rounding alone",
)  # fmt: skip
def minimal_sufficient_fraction(case: Case) -> dict[str, np.ndarray]:
    """The smallest share of top features that alone keeps the class and 90 % of f(x) − f(x').

    Of twelve shares from 1 to 100 %, the first k/d for which the k largest units, all others
    removed, leave the model's class as it is and (f(x_k) − f(x')) / (f(x) − f(x')) ≥ 0.9. Where
    f(x) < f(x'), as for what a single output calls no, the largest are those that speak for less,
    the most negative. NaN where f(x) − f(x') is rounding: there is then nothing to keep.
    """
    return dict(case.of_each_imputer(lambda name: _sufficient(case, name)))


def _sufficient(case: Case, imputer: str) -> np.ndarray:
    size = case.units.shape[1]
    counts = np.unique(np.ceil(np.array(FRACTIONS) * size).astype(int))
    empty, full = case.subject.empty_scores(imputer), case.subject.scores
    span = np.where(np.isnan(distance(case, imputer)), np.nan, full - empty)
    ranks = ranks_of(np.where(span < 0, -1, 1)[:, None] * case.units, case.subject.generator(1))

    def kept(samples: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        return ranks[samples] < counts[numbers][:, None]

    copies = case.subject.removed(imputer, len(counts) - 1, kept)
    with np.errstate(invalid="ignore"):
        enough = (copies.scores - empty[:, None]) / span[:, None] >= 0.9
    enough &= copies.same_class
    enough = np.concatenate([enough, np.ones((len(enough), 1), dtype=bool)], axis=1)
    found = counts[enough.argmax(axis=1)] / size
    return np.where(np.isnan(span), np.nan, found)


@register_metric(
    "class_contrast", axis="interpretability", better="higher", needs=("explainer",),
    identifier="I3", limits=(0.0, 1.0), ideal=1.0, cost="1 explanation",
    source="Sixt et al. 2020, section 4 (random logit), against the runner-up",
    without="one of the two maps is constant, or there are no classes",
)  # fmt: skip
def class_contrast(case: Case) -> np.ndarray:
    """How much the map differs from that of the runner-up class.

    1 − max(0, corr(a_y, a_y')), y' the class with the largest output but y. 0 where both are the
    same map; NaN where one of them is constant, and where there are no classes. Of a single output
    that says yes or no, y' is the other answer, whose score is that of y with its sign turned: a
    map with signs gets 1 by construction, one without (|gradient|) 0.
    """
    other = case.subject.runner_up()
    target = other_answer(case.subject) if other is None else other.tolist()
    if target is None or case.asker is None:
        return np.full(case.count, np.nan)
    second = case.asker.positions(case.subject.task.batch.arrays, target=target)
    found = correlations(case.positions, second)
    return np.where(np.isnan(found), np.nan, 1 - np.maximum(found, 0))
