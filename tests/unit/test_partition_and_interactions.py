"""Owen values and Shapley interactions against their definitions, exact and sampled."""

from itertools import combinations, permutations
from math import factorial

import numpy as np
import pytest

from pellucid import explain, wrap
from pellucid.errors import InputError, MethodError
from pellucid.methods.perturbation.hierarchy import leaves
from pellucid.testing import build


def network(players, seed=0, count=3):
    rng = np.random.default_rng(seed)
    one, two = rng.normal(size=(players, 24)) / 2, rng.normal(size=24)

    def model(z):
        return np.maximum(z @ one + 0.3, 0) @ two

    return model, rng.normal(size=(count, players))


def keeps_together(order, tree):
    """Whether every branch's players come as a block."""
    if isinstance(tree, int):
        return True
    places = sorted(order.index(p) for p in leaves(tree))
    together = places[-1] - places[0] == len(places) - 1
    return together and all(keeps_together(order, branch) for branch in tree)


def owen_values(v, players, tree):
    """The definition: gains along every order that the hierarchy allows, each as likely."""
    allowed = [o for o in permutations(range(players)) if keeps_together(o, tree)]
    assert len(allowed) == 2 ** (players - 1)
    phi = np.zeros(players)
    for order in allowed:
        z = np.zeros(players, dtype=bool)
        for player in order:
            before = v(z)
            z[player] = True
            phi[player] += (v(z) - before) / len(allowed)
    return phi


TREES = {
    "balanced": ((0, 1), ((2, 3), (4, 5))),
    "a chain": (0, (1, (2, (3, (4, 5))))),
    "mixed": ((5, 0), ((1, (4, 2)), 3)),
}


@pytest.mark.parametrize("tree", list(TREES))
def test_partition_values_are_the_definition(tree):
    model, x = network(6)
    e = explain(model, x, "partition_shap", hierarchy=TREES[tree])
    for sample, found in zip(x, e.values, strict=True):
        expected = owen_values(lambda z, s=sample: model((z * s)[None])[0], 6, TREES[tree])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert (e.stderr == 0).all()
    assert e.gap.max() < 1e-6


def test_what_occurs_in_a_balanced_tree_is_two_thirds_of_the_square():
    model, x = network(16, count=1)
    e = explain(model, x, "partition_shap")
    assert e.extras["coalitions"] == 2 * (16**2 - 1) / 3 + 2
    assert (e.stderr == 0).all()


def test_a_linkage_matrix_is_a_hierarchy():
    model, x = network(6)
    linkage = np.array([[0, 1, 0.1, 2], [2, 3, 0.2, 2], [4, 5, 0.3, 2], [7, 8, 1, 4], [6, 9, 2, 6]])
    one = explain(model, x, "partition_shap", hierarchy=linkage)
    other = explain(model, x, "partition_shap", hierarchy=TREES["balanced"])
    np.testing.assert_allclose(one.values, other.values, atol=1e-6)


@pytest.mark.parametrize(
    ("hierarchy", "message"),
    [
        (((0, 1), (2, 3)), "each of the 6 features once"),
        (((0, 1, 2), (3, (4, 5))), "nested pairs"),
        ("columns", "nested pairs"),
        (np.zeros((3, 4)), "5 rows for 6 features"),
        (np.full((5, 4), 9), "before it is made"),
    ],
)
def test_what_is_no_hierarchy(hierarchy, message):
    model, x = network(6)
    with pytest.raises(MethodError, match=message):
        explain(model, x, "partition_shap", hierarchy=hierarchy)


def test_too_few_coalitions():
    model, x = network(20)
    with pytest.raises(MethodError, match="needs a budget of 78"):
        explain(model, x, "partition_shap", budget=50)
    with pytest.raises(MethodError, match="needs a budget of 762"):
        explain(model, x, "shapley_interactions", budget=500)


def test_sampled_partition_values_are_within_their_error():
    """Three errors of only eight pairs of orders: Student's t puts 98 % inside."""
    model, x = network(24)
    truth = explain(model, x, "partition_shap", budget=5000)
    assert (truth.stderr == 0).all()
    inside = []
    for seed in range(60):
        e = explain(model, x, "partition_shap", budget=380, seed=seed, batch_size=2000)
        np.testing.assert_allclose(e.values.sum(axis=1), e.score - e.baseline_score, atol=1e-4)
        inside.append(np.abs(e.values - truth.values) <= 3 * e.stderr + 1e-6)
    assert np.mean(inside) > 0.93, np.mean(inside)


def test_neighbouring_cells_of_an_image_go_together():
    """A patch that counts as a whole is shared by its cells alone; Shapley values agree here."""
    x = np.ones((1, 8, 8, 1))

    def patch(z):
        return z[:, :4, :4, 0].min(axis=(1, 2))

    e = explain(patch, x, "partition_shap", features="grid:4", budget=1000)
    expected = np.zeros((8, 8))
    expected[:4, :4] = 1 / 16
    np.testing.assert_allclose(e.values[0], expected, atol=1e-6)


WORDS = ("the", "film", "is", "not", "very", "good", "the", "end")
IDS = np.array([[4, 9, 2, 7, 5, 8, 4, 3]])


def said_of(ids):
    """A model of word numbers, 0 for no word: "not very good" counts, and "film" by itself."""
    assert ids.dtype.kind == "i"
    there = ids == IDS
    return 3.0 * there[:, [3, 4, 5]].all(axis=1) + there[:, 1]


def test_words_of_a_text_go_together_with_their_neighbours():
    """Words as numbers with their spelling as names: what there is of text so far.

    Words 3 and (4, 5) are the halves' neighbours: the first half of the text and the second come
    as blocks, so the phrase's 3 goes half to "not" and half to "very good", which share theirs.
    """
    model = wrap(said_of, feature_names=WORDS)
    e = explain(model, IDS, "partition_shap")
    expected = np.array([[0, 1, 0, 1.5, 0.75, 0.75, 0, 0]])
    np.testing.assert_allclose(e.values, expected, atol=1e-6)
    assert (e.stderr == 0).all(), "all coalitions that occur"
    assert e.evaluations.forward < 60
    np.testing.assert_allclose(e.values.sum(axis=1), e.score - e.baseline_score, atol=1e-6)
    assert float(e.gap.max()) < 1e-6
    assert [name for name, *_ in e.top(4)] == ["not", "film", "very", "good"]
    assert e.data["feature_name"].values.tolist() == list(WORDS)
    alone = explain(model, IDS[0], "partition_shap")
    assert alone.parts[0].values.shape == (1, 8)
    shapley = explain(model, IDS, "exact_shapley").values
    np.testing.assert_allclose(shapley[0, 3:6], 1, atol=1e-6)  # each a third: another question


def test_phrases_are_groups_of_words_and_embedded_words_are_steps():
    model = wrap(said_of, feature_names=WORDS)
    phrases = {"a film": ["film", "is"], "verdict": [3, 4, 5]}
    e = explain(model, IDS, "partition_shap", features=phrases)
    names = list(e.extras["unit_names"])
    found = dict(zip(names, e.extras["unit_values"][0], strict=True))
    assert found["verdict"] == pytest.approx(3)
    assert found["a film"] == pytest.approx(1)
    vectors = np.random.default_rng(0).normal(size=(10, 4))

    def of_vectors(z):
        near = (np.abs(z[:, :, None] - vectors).sum(axis=3) < 1e-6).argmax(axis=2)
        return said_of(np.where(np.abs(z).sum(axis=2) > 0, near, 0))

    e = explain(of_vectors, vectors[IDS], "partition_shap", features="grid:8")
    np.testing.assert_allclose(e.values, [[0, 1, 0, 1.5, 0.75, 0.75, 0, 0]], atol=1e-6)


def test_strings_are_refused_with_the_way_to_explain_them():
    with pytest.raises(InputError, match="numbers"):
        explain(lambda texts: np.ones(len(texts)), ["a film"], "partition_shap")


def test_superpixels_have_hierarchies_of_their_own():
    model, x = build("cnn", "torch")
    whole = explain(model, x, "partition_shap", features="superpixels", budget=250)
    assert whole.gap.max() < 1e-3
    alone = explain(model, x[3:4], "partition_shap", features="superpixels", budget=250)
    np.testing.assert_allclose(alone.values[0], whole.values[3], atol=1e-5)


def interactions_by_definition(v, players):
    """Grabisch & Roubens 1999, eq. 3, one coalition at a time; as shap lays them out."""
    found = np.zeros((players, players))
    for i, j in combinations(range(players), 2):
        others = [p for p in range(players) if p not in (i, j)]
        for size in range(players - 1):
            share = factorial(size) * factorial(players - size - 2) / factorial(players - 1)
            for chosen in combinations(others, size):

                def worth(*more, chosen=chosen):
                    z = np.zeros(players, dtype=bool)
                    z[[*chosen, *more]] = True
                    return v(z)

                found[i, j] += share / 2 * (worth(i, j) - worth(i) - worth(j) + worth())
        found[j, i] = found[i, j]
    return found


def test_interactions_are_the_definition():
    model, x = network(6)
    e = explain(model, x, "shapley_interactions")
    phi = explain(model, x, "exact_shapley").values
    np.testing.assert_allclose(e.values, phi, atol=1e-5)
    for sample, found, own in zip(x, e.extras["interactions"], phi, strict=True):
        expected = interactions_by_definition(lambda z, s=sample: model((z * s)[None])[0], 6)
        off = ~np.eye(6, dtype=bool)
        np.testing.assert_allclose(found[off], expected[off], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found.sum(axis=1), own, atol=1e-5)


@pytest.mark.parametrize(("players", "budget"), [(12, 800), (9, 434)])
def test_sampled_interactions_are_within_their_error(players, budget):
    """x₁x₂ + 3 x₃x₄ + x₅: pairs 1 and 3, everything else nothing, whatever the orders."""
    x = np.ones((1, players))

    def model(z):
        return z[:, 0] * z[:, 1] + 3 * z[:, 2] * z[:, 3] + z[:, 4]

    expected = np.zeros((players, players))
    expected[0, 1] = expected[1, 0] = 0.5
    expected[2, 3] = expected[3, 2] = 1.5
    expected[4, 4] = 1
    phi = expected.sum(axis=1)
    e = explain(model, x, "shapley_interactions", budget=budget)
    matrix, errors = e.extras["interactions"][0], e.extras["interactions_stderr"][0]
    off = ~np.eye(players, dtype=bool)
    np.testing.assert_allclose(matrix[off], expected[off], atol=1e-6)
    assert (errors[off] < 1e-6).all()
    if players == 12:  # six repetitions; of three an error may be 0 by chance
        assert (np.abs(e.values[0] - phi) <= 4 * e.stderr[0] + 1e-6).all()
    np.testing.assert_allclose(matrix.sum(), (e.score - e.baseline_score)[0], atol=1e-5)


def test_errors_of_sampled_interactions_are_calibrated():
    model, x = network(10, count=2)
    truth = explain(model, x, "shapley_interactions").extras["interactions"]
    inside = []
    for seed in range(60):
        e = explain(model, x, "shapley_interactions", budget=900, seed=seed, batch_size=2000)
        off = np.abs(e.extras["interactions"] - truth)
        inside.append(off <= 1.96 * e.extras["interactions_stderr"] + 1e-6)
    assert 0.88 <= np.mean(inside) <= 0.99, np.mean(inside)
