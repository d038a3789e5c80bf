"""Shapley values: games with known answers, and errors that are what they say."""

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from pellucid import explain
from pellucid.errors import InputError, MethodError
from pellucid.explain import explain_each
from pellucid.inputs.features import make_features
from pellucid.methods.perturbation.coalitions import _subsets_of_ranks
from pellucid.testing import build

IMAGE_DIMS = ("sample", "height", "width", "channel")

EXACT = ("exact_shapley", "kernel_shap", "permutation_shap")
SAMPLED = ("kernel_shap", "permutation_shap")


def airport(z):
    return (z * np.array([1.0, 2.0, 3.0])).max(axis=1)


def vote(z):
    return (z @ np.array([50.0, 49.0, 1.0]) >= 51).astype(float)


def glove(z):
    return np.minimum(z[:, 0], z[:, 1] + z[:, 2])


def council(z):
    return ((z[:, :5].sum(axis=1) == 5) & (z.sum(axis=1) >= 9)).astype(float)


GAMES = {
    "product": (lambda z: z[:, 0] * z[:, 1], [3.0, 2.0], [3.0, 3.0]),
    "square": (lambda z: z[:, 0] ** 2 * z[:, 1], [3.0, 2.0], [9.0, 9.0]),
    "maximum": (lambda z: z.max(axis=1), [3.0, 2.0], [2.0, 1.0]),
    "xor": (lambda z: z[:, 0] + z[:, 1] - 2 * z[:, 0] * z[:, 1], [1.0, 1.0], [0.0, 0.0]),
    "and": (lambda z: z[:, 0] * z[:, 1], [1.0, 1.0], [0.5, 0.5]),
    "or": (lambda z: z.max(axis=1), [1.0, 1.0], [0.5, 0.5]),
    "airport": (airport, [1.0, 1.0, 1.0], [1 / 3, 5 / 6, 11 / 6]),
    "vote": (vote, [1.0, 1.0, 1.0], [2 / 3, 1 / 6, 1 / 6]),
    "glove": (glove, [1.0, 1.0, 1.0], [2 / 3, 1 / 6, 1 / 6]),
}


@pytest.mark.parametrize("game", list(GAMES))
@pytest.mark.parametrize("method", ["exact_shapley", "kernel_shap"])
def test_small_games_are_exact(method, game):
    """Rows 3 to 8 of the closed forms; kernel_shap's budget allows every coalition here."""
    function, x, expected = GAMES[game]
    e = explain(function, np.array([x]), method)
    np.testing.assert_allclose(e.values[0], expected, atol=1e-6)
    assert e.gap is not None
    assert e.evaluations.forward == 2 ** len(x)
    if method == "kernel_shap":
        assert (e.stderr == 0).all()


COUNCIL = np.array([421 / 2145] * 5 + [4 / 2145] * 10)


def test_the_security_council_is_exact():
    """Row 9: 15 players, 32 768 coalitions."""
    e = explain(council, np.ones((1, 15)), "exact_shapley")
    np.testing.assert_allclose(e.values[0], COUNCIL, atol=1e-6)


@pytest.mark.parametrize(("method", "budget"), [("kernel_shap", 6000), ("permutation_shap", 60000)])
def test_the_security_council_is_within_the_error(method, budget):
    """A small player decides 1 order in 536: permutations need many to see it at all."""
    e = explain(council, np.ones((1, 15)), method, budget=budget, seed=2)
    assert (np.abs(e.values - COUNCIL) <= 3 * e.stderr + 1e-6).all()
    np.testing.assert_allclose(e.values.sum(), 1, atol=1e-5)


@pytest.mark.parametrize("method", EXACT)
def test_a_linear_model_with_a_background_gives_its_deviations(method):
    """Row 10: φ_i = w_i (x_i − mean of the background)."""
    rng = np.random.default_rng(0)
    w, x, rows = rng.normal(size=4), rng.normal(size=(3, 4)), rng.normal(size=(7, 4))
    e = explain(lambda z: z @ w, x, method, background=rows)
    np.testing.assert_allclose(e.values, w * (x - rows.mean(axis=0)), atol=1e-5)
    np.testing.assert_allclose(e.baseline_score, (rows @ w).mean(), atol=1e-5)


def paper_form(v, players):
    """The definition, one coalition at a time (Lundberg & Lee 2017, eq. 4)."""
    phi = np.zeros(players)
    for i in range(players):
        others = [j for j in range(players) if j != i]
        for size in range(players):
            for chosen in combinations(others, size):
                z = np.zeros(players, dtype=bool)
                z[list(chosen)] = True
                without = v(z)
                z[i] = True
                share = factorial(size) * factorial(players - size - 1) / factorial(players)
                phi[i] += share * (v(z) - without)
    return phi


def network(players, seed=0):
    """A fixed random ReLU network, in float64."""
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(players, 32)) / 2, rng.normal(size=(32, 3))
    shift = rng.normal(size=32)

    def model(z):
        return np.maximum(z @ one + shift, 0) @ two

    return model, rng.normal(size=(4, players))


def test_exact_values_are_the_definition():
    model, x = network(6)
    e = explain(model, x, "exact_shapley", target=1)
    for sample, found in zip(x, e.values, strict=True):
        expected = paper_form(lambda z, s=sample: model((z * s)[None])[0, 1], 6)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert e.gap.max() < 1e-6


@pytest.mark.parametrize(
    ("method", "budget"),
    [
        ("kernel_shap", 60),
        ("kernel_shap", 150),
        ("kernel_shap", 400),
        ("permutation_shap", 150),
        ("permutation_shap", 400),
    ],
)
def test_standard_errors_are_calibrated(method, budget):
    """95 % intervals cover the exact values 90 to 99 % of the time, over 200 seeds."""
    model, x = network(10)
    truth = explain(model, x, "exact_shapley", target=0).values
    inside = []
    for seed in range(200):
        e = explain(model, x, method, target=0, budget=budget, seed=seed, batch_size=2000)
        inside.append(np.abs(e.values - truth) <= 1.96 * e.stderr)
    coverage = np.mean(inside)
    assert 0.90 <= coverage <= 0.99, coverage


def test_more_coalitions_come_nearer():
    model, x = network(12)
    truth = explain(model, x, "exact_shapley", target=0).values
    errors = []
    for budget in (50, 100, 200, 400, 800):
        runs = [
            explain(model, x, "kernel_shap", target=0, budget=budget, seed=s).values - truth
            for s in range(5)
        ]
        errors.append(np.median(np.linalg.norm(runs, axis=2) / np.linalg.norm(truth, axis=1)))
    assert (np.diff(errors) < 0).all(), errors
    assert errors[-1] < 0.05, errors


def test_images_are_divided_into_cells():
    model, x = build("cnn", "torch")
    e = explain(model, x, "kernel_shap", features="grid:3", budget=64)
    assert e.values.shape == (5, 12, 10)
    np.testing.assert_allclose(
        e.values.sum(axis=(1, 2)), e.extras["unit_values"].sum(axis=1), rtol=1e-4, atol=1e-5
    )
    assert e.gap.max() < 1e-4


def test_two_inputs_are_one_game():
    model, x = build("two_inputs", "torch")
    e = explain(model, x, "kernel_shap", features=("grid:2", None))
    image, table = (p.values for p in e.parts)
    assert image.shape == (5, 8, 6)
    assert table.shape == (5, 5)
    total = image.sum(axis=(1, 2)) + table.sum(axis=1)
    np.testing.assert_allclose(total, e.score - e.baseline_score, atol=1e-4)


def test_masks_and_groups_name_the_players():
    x = np.array([[1.0, 2.0, 3.0, 4.0]])

    def model(z):
        return z.sum(axis=1)

    by_mask = explain(model, x, "exact_shapley", features=np.array([0, 0, 1, -1]))
    np.testing.assert_allclose(by_mask.extras["unit_values"], [[3, 3]], atol=1e-6)
    np.testing.assert_allclose(by_mask.values, [[1.5, 1.5, 3, 0]], atol=1e-6)
    groups = explain(model, x, "exact_shapley", features={"first": [0, 1], "last": [3]})
    np.testing.assert_allclose(groups.extras["unit_values"], [[3, 4, 3]], atol=1e-6)


@pytest.mark.parametrize("method", EXACT)
def test_a_sample_does_not_depend_on_its_batch(method):
    model, x = network(5)
    whole = explain(model, x, method, target=0, budget=24) if method in SAMPLED else None
    whole = whole or explain(model, x, method, target=0)
    options = {"budget": 24} if method in SAMPLED else {}
    for size in (1, 7):
        part = explain(model, x, method, target=0, batch_size=size, **options)
        np.testing.assert_allclose(part.values, whole.values, atol=1e-6)
    alone = explain(model, x[2:3], method, target=0, **options)
    np.testing.assert_allclose(alone.values[0], whole.values[2], atol=1e-6)


def test_every_framework_gives_the_same_numbers():
    reference = None
    for framework in ("torch", "tensorflow", "keras"):
        model, x = build("dense", framework)
        e = explain(model, x, "kernel_shap", budget=30, seed=4)
        reference = e.values if reference is None else reference
        assert np.abs(e.values - reference).max() < 1e-5 * np.abs(reference).max()


def test_bad_arguments_are_explained():
    model, x = network(20)
    with pytest.raises(MethodError, match="above max_players"):
        explain(model, x, "exact_shapley")
    with pytest.raises(MethodError, match="needs a budget of 44"):
        explain(model, x, "kernel_shap", budget=20)
    with pytest.raises(MethodError, match="needs a budget of 78"):
        explain(model, x, "permutation_shap", budget=50)
    with pytest.raises(MethodError, match="not both"):
        explain(model, x, "kernel_shap", baseline="mean", background=x)
    with pytest.raises(MethodError, match="another shape"):
        explain(model, x, "kernel_shap", background=x[:, :5])
    with pytest.raises(InputError, match="grid:7"):
        explain(model, x, "kernel_shap", features="superpixel")
    with pytest.raises(InputError, match="two groups"):
        explain(model, x, "kernel_shap", features={"a": [0, 1], "b": [1]})


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("first", [False, True])
def test_superpixels_of_any_channel_count_and_layout(channels, first):
    """The same segments, and the same values, channels first and last."""
    x = np.random.default_rng(0).normal(size=(2, 20, 24, channels)).cumsum(axis=1)
    given = np.moveaxis(x, -1, 1).copy() if first else x
    dims = ("sample", "channel", "height", "width") if first else IMAGE_DIMS
    features = make_features("superpixels", given, dims)
    assert features.units.shape == (2, 20, 24)
    assert features.counts.min() > 10
    assert np.array_equal(features.units, make_features("superpixels", x, IMAGE_DIMS).units)


def test_values_of_superpixels_add_up():
    model, x = build("cnn", "torch")
    e = explain(model, x, "kernel_shap", features="superpixels", budget=400)
    np.testing.assert_allclose(
        e.values.sum(axis=(1, 2)), e.score - e.baseline_score, rtol=1e-3, atol=1e-3
    )


def test_a_sample_with_superpixels_of_its_own_does_not_depend_on_its_batch():
    model, x = build("cnn", "torch")
    whole = explain(model, x, "kernel_shap", features="superpixels", budget=200)
    alone = explain(model, x[2:3], "kernel_shap", features="superpixels", budget=200)
    np.testing.assert_allclose(alone.values[0], whole.values[2], atol=1e-5)


@pytest.mark.parametrize("method", [*EXACT, "partition_shap", "shapley_interactions"])
def test_several_targets_share_the_forward_passes(method):
    model, x = network(6)
    rows = np.random.default_rng(5).normal(size=(4, 6))
    options = {"budget": 160} if method in SAMPLED else {}
    for given in ({}, {"background": rows}):
        parameters = {**options, **given}
        together = explain_each(model, x, method, (0, 2), parameters=parameters)
        for target, e in zip((0, 2), together, strict=True):
            alone = explain(model, x, method, target=target, **parameters)
            np.testing.assert_allclose(e.values, alone.values, atol=1e-6)
            assert e.evaluations.forward == alone.evaluations.forward


@pytest.mark.parametrize(("method", "budget"), [("kernel_shap", 200), ("permutation_shap", 400)])
def test_seeds_differ_by_no_more_than_the_printed_error(method, budget):
    model, x = network(10)
    runs = [explain(model, x, method, target=0, budget=budget, seed=s) for s in range(12)]
    inside = [
        np.abs(a.values - b.values) <= 1.96 * np.hypot(a.stderr, b.stderr)
        for a, b in combinations(runs, 2)
    ]
    assert np.mean(inside) >= 0.9, np.mean(inside)
    again = explain(model, x, method, target=0, budget=budget, seed=3, batch_size=64)
    other = explain(model, x, method, target=0, budget=budget, seed=3, batch_size=64)
    assert np.array_equal(again.values, other.values)
    assert np.array_equal(again.stderr, other.stderr)


@pytest.mark.parametrize(("players", "size"), [(5, 2), (6, 3), (7, 1), (4, 0), (5, 5)])
def test_subsets_by_their_place_in_lexicographic_order(players, size):
    listed = list(combinations(range(players), size))
    masks = _subsets_of_ranks(np.arange(len(listed)), players, size)
    assert [tuple(np.flatnonzero(mask)) for mask in masks] == listed


def test_errors_on_a_trained_network_fall_with_the_budget():
    """12 features of digits, 4096 coalitions known: the median error is that of speed trials.

    `measured` are those of a convolutional network; a trained perceptron is no harder.
    """
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    digits, labels = load_digits(return_X_y=True)
    pixels = np.sort(digits.std(axis=0).argsort()[-12:])
    table = digits[:, pixels] / 16
    net = MLPClassifier((64, 64), max_iter=400, random_state=0, early_stopping=True)
    net.fit(table[:1500], labels[:1500])
    first, second, last = zip(net.coefs_, net.intercepts_, strict=True)

    def logits(z):
        hidden = np.maximum(z @ first[0] + first[1], 0)
        return np.maximum(hidden @ second[0] + second[1], 0) @ last[0] + last[1]

    x, mean = table[1500:1516], table[:1500].mean(axis=0)
    truth = explain(logits, x, "exact_shapley", baseline=mean).values
    size = np.linalg.norm(truth, axis=1)
    errors = {}
    for budget in (50, 100, 200, 400, 800):
        found = [
            explain(logits, x, "kernel_shap", baseline=mean, budget=budget, seed=seed).values
            for seed in range(5)
        ]
        off = [np.linalg.norm(f - truth, axis=1) / size for f in found]
        errors[budget] = float(np.median(off))
    assert list(errors.values()) == sorted(errors.values(), reverse=True)
    measured = {50: 0.077, 100: 0.034, 200: 0.017, 400: 0.0105, 800: 0.0068}
    assert all(errors[budget] <= measured[budget] for budget in measured), errors
