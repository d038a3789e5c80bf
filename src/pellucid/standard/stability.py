"""Is it the same when nothing that matters changes: C5 and C6."""

import numpy as np

from pellucid.standard.case import Case
from pellucid.standard.local import changes_anything, noise_like
from pellucid.standard.maps import rank_correlations
from pellucid.standard.metric import register_metric

DRAWS = 10
SPREAD = 0.05
SEEDS = 5


@register_metric(
    "input_stability", better="lower", needs=("forward", "explainer"), identifier="C5",
    limits=(0.0, np.inf), ideal=0.0, told=("kept",), cost="10 F + 10 explanations",
    source="Yeh et al. 2019, section 5 (average sensitivity), class-preserving draws only",
    without=(
        "no draw changes the input (whole numbers stay, data without spread make no noise) and"
        " leaves the class as it is, or the map is 0 everywhere"
    ),
)  # fmt: skip
def input_stability(case: Case) -> dict[str, np.ndarray]:
    """How much the map changes under noise that leaves the class as it is.

    ‖a(x + δ) − a(x)‖ / ‖a(x)‖ over those of 10 draws δ ~ N(0, (0.05 σ)²) that change x and for
    which the model still decides as for x: "mean", and "p95", the 95th percentile; "kept" is the
    share of draws that counted. 0 for maps that do not change. NaN where no draw counts, as where
    x holds whole numbers only or the data have no spread, and for a map of zeros.
    """
    noise = noise_like(case, DRAWS, SPREAD, 6)
    same = case.subject.shifted_once("near", noise).same_class & changes_anything(case, noise)
    changes = np.full((case.count, DRAWS), np.nan)
    size = np.linalg.norm(case.positions, axis=1)
    for draw in range(DRAWS):
        rows = np.flatnonzero(same[:, draw] & (size > 0))
        if not rows.size or case.asker is None:
            continue
        near = case.subject.moved(tuple(z[draw] for z in noise), rows)
        found = case.asker.positions(near, target=case.target_of(rows))
        changes[rows, draw] = np.linalg.norm(found - case.positions[rows], axis=1) / size[rows]
    some = ~np.isnan(changes).all(axis=1)
    mean, high = np.full((2, case.count), np.nan)
    mean[some] = np.nanmean(changes[some], axis=1)
    high[some] = np.nanquantile(changes[some], 0.95, axis=1)
    return {"mean": mean, "p95": high, "kept": same.mean(axis=1)}


@register_metric(
    "seed_stability", better="higher", needs=("explainer",), identifier="C6", limits=(-1.0, 1.0),
    ideal=1.0, cost="4 explanations", source="Quantus lacks it; Spearman over seeds",
    without="a map is constant",
)  # fmt: skip
def seed_stability(case: Case) -> np.ndarray:
    """Whether another seed gives the same order of positions.

    Spearman's correlation of the maps of 5 seeds, the mean over their pairs; 1 for a method
    without draws. NaN where a map is constant.
    """
    if case.asker is None:
        return np.full(case.count, np.nan)
    arrays, first = case.subject.task.batch.arrays, case.positions
    second = case.asker.positions(arrays, seed=case.asker.seed + 1, target=case.target_of())
    same = (first == second).all(axis=1)
    if same.all():
        return np.ones(case.count)
    more = [
        case.asker.positions(arrays, seed=case.asker.seed + k, target=case.target_of())
        for k in range(2, SEEDS)
    ]
    maps = [first, second, *more]
    pairs = [
        rank_correlations(maps[i], maps[j]) for i in range(len(maps)) for j in range(i + 1, SEEDS)
    ]
    # Row by row: what the others in the batch are must not matter.
    return np.where(same, 1.0, np.mean(pairs, axis=0))
