"""Does it depend on what the model learned: C7, a gate."""

import numpy as np

from pellucid.standard.case import Case
from pellucid.standard.maps import rank_correlations
from pellucid.standard.metric import register_metric

LIMIT = 0.2
FLOOR_PAIRS, FLOOR_NUMBERS = 200, 200_000
"""How many draws the floor is a mean of, and how many numbers they are at most."""


@register_metric(
    "parameter_dependence", better="lower", needs=("explainer", "weights"), identifier="C7",
    limits=(-2.0, 2.0), limit=LIMIT, told=("complexity_rise",),
    cost="2 explanations",
    source="Adebayo et al. 2018, section 3, in one step, over its null floor",
    without="a map is constant",
)  # fmt: skip
def parameter_dependence(case: Case) -> dict[str, np.ndarray]:
    """How like the map is to those of models that have learned nothing, over what chance gives.

    Spearman's correlation of the map with that of the same architecture with other weights, the
    mean of two such models, minus what the input alone makes alike: nothing where the map has
    signs, else the mean correlation of |z₁x| and |z₂x| over independent normal z₁, z₂. Only
    positions where the input is not zero count. About 0 for a map that depends on what was learned;
    0.5 or more for one that looks the same without, such as edges; a gate at 0.2. With d positions
    chance moves it by about 1/√d: of few columns only the median tells. The weights are drawn by
    `pellucid.standard.drawing.drawn_anew`. NaN where a map is constant.

    "complexity_rise" is a second reading, and no part of the gate: (H(a') − H(a)) / H(a), H the
    entropy of the histogram of a map's values in ⌈√d⌉ equal bins from its least to its largest, a'
    those of the other models, their mean (efficient MPRT, Hedström et al. 2024, arXiv 2401.06465):
    above 0 where maps of what has learned nothing are the more disorderly. NaN where H(a) is 0.
    Departs from the paper: two models, and the square-root rule for bins, on which it depends.
    """
    if case.asker is None:
        return {way: np.full(case.count, np.nan) for way in ("", "complexity_rise")}
    arrays = case.subject.task.batch.arrays
    others = [
        case.asker.with_other_weights([case.subject.seed, 44, number]).positions(
            arrays, target=case.target_of()
        )
        for number in (0, 1)
    ]
    sizes = _sizes(case)
    looked_at = sizes > 0
    pairs = int(np.clip(FLOOR_NUMBERS // sizes.shape[1], 1, FLOOR_PAIRS))
    draws = np.abs(case.subject.generator(46).standard_normal((2, pairs, sizes.shape[1])))
    found = np.empty(case.count)
    for sample in range(case.count):
        at = looked_at[sample] if looked_at[sample].sum() > 2 else slice(None)
        own, *rest = (m[sample : sample + 1, at] for m in (case.positions, *others))
        alike = [rank_correlations(own, other)[0] for other in rest]
        floor = 0.0
        if not (own < 0).any():
            first, second = draws * sizes[sample]
            floor = float(np.mean(rank_correlations(first[:, at], second[:, at])))
        found[sample] = np.mean(alike) - floor
    own, rest = _disorder(case.positions), np.mean([_disorder(m) for m in others], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rise = np.where(own > 0, (rest - own) / own, np.nan)
    return {"": found, "complexity_rise": rise}


def _disorder(positions: np.ndarray) -> np.ndarray:
    """The entropy of the histogram of each map's values, in nats, `(n,)`; NaN of a broken map."""
    bins = int(np.ceil(np.sqrt(positions.shape[1])))
    found = np.full(len(positions), np.nan)
    for sample, row in enumerate(positions):
        if np.isfinite(row).all():
            share = np.histogram(row, bins)[0] / row.size
            found[sample] = -(share[share > 0] * np.log(share[share > 0])).sum()
    return found


def _sizes(case: Case) -> np.ndarray:
    """Σ over channels of each sample's |x|, `(n, positions)`."""
    batch, found = case.subject.task.batch, []
    for array, dims in zip(batch.arrays, batch.dims, strict=True):
        size = np.nan_to_num(np.abs(array.astype(np.float64)))
        if "channel" in dims:
            size = size.sum(axis=dims.index("channel"))
        found.append(size.reshape(len(size), -1))
    return np.concatenate(found, axis=1)
