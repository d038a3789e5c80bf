"""Scores by the names that papers know, for comparison with them."""

import numpy as np

from pellucid.inputs.noise import draw_uniform
from pellucid.standard.asking import Asker
from pellucid.standard.case import Case
from pellucid.standard.local import DRAWS, fall_and_said
from pellucid.standard.maps import correlations, rank_correlations
from pellucid.standard.metric import register_metric
from pellucid.standard.removal import STEPS, removal_curve

SUBSETS = 100
SHARE = 0.2
"""Of the units, in each subset of `faithfulness_correlation`."""
NEAR = 10
RADIUS = 0.2
"""In standard deviations of the data."""


@register_metric(
    "pixel_flipping", better="lower", needs=("forward",), cost="16 F an imputer",
    source="Bach et al. 2015, section 'Evaluation by pixel-flipping'",
    without="the model returns no finite number",
)  # fmt: skip
def pixel_flipping(case: Case) -> dict[str, np.ndarray]:
    """Mean score after each of 16 steps that remove the most important units, in the score's units.

    (1/16) Σ_k f(x without the first k/16 of the units); f(x) itself is not in the mean, which is
    what sets it apart from `deletion`. Signed values order the units.
    """

    def of(imputer: str) -> np.ndarray:
        return removal_curve(case, imputer, most_first=True, steps=STEPS)[:, 1:].mean(axis=1)

    return dict(case.of_each_imputer(of))


@register_metric(
    "faithfulness_correlation", better="higher", needs=("forward",), limits=(-1.0, 1.0),
    ideal=1.0, cost="100 F an imputer", source="Bhatt et al. 2020, definition 3 (μ_F)",
    without="the map or the score is constant over the subsets",
)  # fmt: skip
def faithfulness_correlation(case: Case) -> dict[str, np.ndarray]:
    """Whether a removed subset's Σ a tells by how much the score falls, at one size of subset.

    Pearson's r over 100 random subsets S of a fifth of the units between Σ_S a and
    f(x) − f(x without S). 1 for the exact map of a linear model, 0 ± 0.1 for a random one. NaN
    where the map or the score is constant over the subsets. `subset_correlation` asks at five
    sizes.
    """
    size = case.subject.units
    wanted = min(max(1, round(SHARE * size)), max(size - 1, 1))
    generator = case.subject.generator(7)
    subsets = np.zeros((SUBSETS, size), dtype=bool)
    for row in subsets:
        row[generator.choice(size, wanted, replace=False)] = True
    said = case.units @ subsets.T.astype(np.float64)

    def of(imputer: str) -> np.ndarray:
        copies = case.subject.removed(imputer, SUBSETS, lambda _, numbers: ~subsets[numbers])
        return correlations(said, case.subject.scores[:, None] - copies.scores)

    return dict(case.of_each_imputer(of))


@register_metric(
    "infidelity", better="lower", needs=("forward",), limits=(0.0, np.inf), ideal=0.0,
    cost="50 F", source="Yeh et al. 2019, definition 2.1",
    without="the model returns no finite number",
)  # fmt: skip
def infidelity(case: Case) -> np.ndarray:
    """The mean squared error of the map's prediction of small changes, as it is scaled.

    E[(Iᵀa − (f(x) − f(x − I)))²] over the 50 draws I of `local_infidelity`, in units of the score
    squared. 0 for the gradient of a linear model; a map that is right but for its scale is
    punished, which `local_infidelity` does not do.
    """
    fall, said = fall_and_said(case)
    return ((said - fall) ** 2).sum(axis=1) / DRAWS


@register_metric(
    "max_sensitivity", better="lower", needs=("forward", "explainer"), limits=(0.0, np.inf),
    ideal=0.0, cost="10 explanations",
    source="Yeh et al. 2019, definition 3.1, over ‖a(x)‖ as in their code",
    without="noise changes nothing of the input, or the map is 0 everywhere",
)  # fmt: skip
def max_sensitivity(case: Case) -> np.ndarray:
    """How much the map changes at most within a small box around the input.

    max over 10 draws δ ~ U(−r, r) of ‖a(x + δ) − a(x)‖ / ‖a(x)‖, r = 0.2 standard deviations of the
    data. 0 for maps that never change, whether they are right or not. NaN for a map of zeros
    and where no draw changes x, as of whole numbers. Grows with the number of draws:
    `input_stability` has a mean and a percentile.
    """
    if case.asker is None:
        return np.full(case.count, np.nan)
    batch, spreads = case.subject.task.batch, case.subject.spreads()
    size = np.linalg.norm(case.positions, axis=1)
    most, changed = np.zeros(case.count), np.zeros(case.count, dtype=bool)
    generators = [case.subject.generator(8, number) for number in range(len(batch.arrays))]
    for _ in range(NEAR):
        noise = tuple(
            draw_uniform(generator, -RADIUS, RADIUS, a.shape[1:], dims[1:]) * scale
            for a, dims, generator, scale in zip(
                batch.arrays, batch.dims, generators, spreads, strict=True
            )
        )
        near = case.subject.moved(noise)
        for own, other in zip(batch.arrays, near, strict=True):
            changed |= (own != other).reshape(len(own), -1).any(axis=1)
        found = case.asker.positions(near, target=case.target_of())
        most = np.maximum(most, np.linalg.norm(found - case.positions, axis=1))
    return np.where((size > 0) & changed, most / np.where(size > 0, size, 1), np.nan)


@register_metric(
    "random_logit", better="lower", needs=("explainer",), limits=(-1.0, 1.0), ideal=0.0,
    cost="1 explanation", source="Sixt et al. 2020, section 4",
    without="one of the two maps is constant, or there are no classes",
)  # fmt: skip
def random_logit(case: Case) -> np.ndarray:
    """How like the map is to that of another class, drawn at random.

    Pearson's r of a_y and a_y', y' one of the other classes, drawn for each sample from the seed.
    1 for a map that is the same for all classes. NaN without classes and for constant maps.
    Departs from the paper, which compares pictures by SSIM: r works for tables too.
    `class_contrast` asks of the runner-up.
    """
    chosen, outputs = case.subject.task.target.chosen, case.subject.outputs
    if case.asker is None or outputs is None or outputs.shape[1] < 2 or chosen is None:
        return np.full(case.count, np.nan)
    classes = outputs.shape[1]
    # One step for all samples: a draw for each would depend on its place in the batch.
    step = int(case.subject.generator(9).integers(1, classes))
    other = ((chosen + step) % classes).tolist()
    second = case.asker.positions(case.subject.task.batch.arrays, target=other)
    return correlations(case.positions, second)


@register_metric(
    "randomisation_cascade", better="lower", needs=("explainer", "weights"), limits=(-1.0, 1.0),
    ideal=0.0, told=("top",), cost="one explanation a layer, 12 at most",
    source="Adebayo et al. 2018, section 3.1 (cascading randomisation)",
    without="a map is constant",
)  # fmt: skip
def randomisation_cascade(case: Case) -> dict[str, np.ndarray]:
    """How like the map stays while the layers lose what they learned, from the top down.

    Spearman's correlation with the map of the model whose 1, 2, ... uppermost layers with weights
    have been drawn anew (`pellucid.standard.drawing.drawn_anew`; 12 depths evenly spread where
    there are more): "signed" the mean over depths, "absolute" that of |a|, "top" the signed one
    after the uppermost alone. About 0 for a map that depends on what was learned; |a| of a map that
    carries the input stays alike even without: `parameter_dependence` takes that floor off. NaN
    where a map is constant.
    """
    names = ("signed", "absolute", "top")
    if case.asker is None:
        return {name: np.full(case.count, np.nan) for name in names}
    arrays, target = case.subject.task.batch.arrays, case.target_of()
    maps = [
        other.positions(arrays, target=target) for other in _from_the_top(case.asker, case)
    ]  # fmt: skip
    signed = [rank_correlations(case.positions, m) for m in maps]
    absolute = [rank_correlations(np.abs(case.positions), np.abs(m)) for m in maps]
    return dict(zip(names, (np.mean(signed, 0), np.mean(absolute, 0), signed[0]), strict=True))


DEPTHS = 12


def _from_the_top(asker: Asker, case: Case) -> list[Asker]:
    """The method on models with ever more of their upper layers drawn anew."""
    adapter = asker.model.adapter
    layers = [info.path for info in adapter.layers(case.subject.task.x)]
    groups = by_layer(list(adapter.weights()), layers)
    depths = np.unique(np.linspace(1, len(groups), min(DEPTHS, len(groups))).astype(int))
    return [
        asker.with_other_weights(
            [case.subject.seed, 40, 10], {name for group in groups[-depth:] for name in group}
        )
        for depth in depths
    ]


def by_layer(weights: list[str], layers: list[str]) -> list[list[str]]:
    """Names of weights in groups, one a layer, from the input up.

    A weight belongs to the layer whose path is the longest beginning of its name; those of no
    layer that is called keep the place of the layer before them.
    """
    places = {}
    for place, path in enumerate(layers):
        places.setdefault(path.split("#")[0].replace(".", "/"), place)
    groups: dict[int, list[str]] = {}
    last = 0
    for name in weights:
        parts = name.replace(".", "/").split("/")
        own = (places.get("/".join(parts[:k])) for k in range(len(parts), 0, -1))
        last = next((place for place in own if place is not None), last)
        groups.setdefault(last, []).append(name)
    return [groups[place] for place in sorted(groups)]


@register_metric(
    "sparseness", axis="interpretability", better="higher", limits=(0.0, 1.0), ideal=1.0,
    cost="0 F", source="Chalasani et al. 2020, section 3 (Gini index)",
    without="the map is 0 everywhere",
)  # fmt: skip
def sparseness(case: Case) -> np.ndarray:
    """The Gini index of |a|: 0 for a constant map, 1 − 1/d for one position.

    Σ_k (2 k − d − 1) |a|_(k) / (d Σ |a|), sizes from the smallest up. NaN for a map of zeros.
    """
    size = np.sort(np.abs(case.positions), axis=1)
    count, total = size.shape[1], size.sum(axis=1)
    weight = 2 * np.arange(1, count + 1) - count - 1
    return np.where(total > 0, (size @ weight) / (count * np.where(total > 0, total, 1)), np.nan)


@register_metric(
    "complexity", axis="interpretability", better="lower", limits=(0.0, np.inf), ideal=0.0,
    cost="0 F", source="Bhatt et al. 2020, eq. 7",
    without="the map is 0 everywhere",
)  # fmt: skip
def complexity(case: Case) -> np.ndarray:
    """The entropy of |a| / Σ |a|, in nats: ln d for a constant map, 0 for one position.

    NaN for a map of zeros. Grows with the number of positions: `effective_fraction` does not.
    """
    size = np.abs(case.positions)
    total = size.sum(axis=1, keepdims=True)
    share = size / np.where(total > 0, total, 1)
    entropy = -np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), 0).sum(axis=1)
    return np.where(total[:, 0] > 0, entropy, np.nan)
