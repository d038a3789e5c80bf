"""The 24 rows whose answer is known on paper, each by its number, through what pellucid offers.

Rows 1 to 11 and 15 to 18 are of methods, the others of metrics. Where a row is tried in depth
elsewhere (every framework, budgets, errors) this shows its numbers once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from pellucid import evaluate, explain, wrap
from pellucid.standard.case import Case
from pellucid.standard.maps import correlations, rank_correlations
from pellucid.standard.removal import area, removal_curve
from pellucid.standard.subject import Subject

D = 64


def values(function: Callable[..., Any], x: Any, method: str, **options: Any) -> np.ndarray:
    """The map of one row of a differentiable function `(n, d) -> (n,)`."""
    model = wrap(function, framework="torch")
    return explain(model, np.asarray([x], np.float32), method, **options).values[0]


def game(function: Callable[..., Any], x: Any) -> np.ndarray:
    """Exact Shapley values of a NumPy function from a baseline of zeros."""
    return explain(function, np.asarray([x], np.float64), "exact_shapley").values[0]


class Rectified(torch.nn.Module):
    """ReLU(ReLU(x1 − 1) − x2), in layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(2))
            self.first.bias.copy_(torch.tensor([-1.0, 0.0]))
            self.second.weight.copy_(torch.tensor([[1.0, -1.0]]))
            self.second.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.relu(self.first(x))))


def test_row_01_a_saturated_gradient_is_zero_and_integrated_gradients_are_one():
    def saturating(x: torch.Tensor) -> torch.Tensor:
        return 1 - torch.relu(1 - x[:, 0])

    assert values(saturating, [2.0], "saliency")[0] == 0
    found = values(saturating, [2.0], "integrated_gradients", steps=50)
    assert found[0] == pytest.approx(1.0, abs=1e-6)


def test_row_02_equivalent_networks_get_equal_integrated_gradients():
    relu = torch.relu
    outside = values(lambda x: relu(relu(x[:, 0]) - 1 - x[:, 1]), [3.0, 1.0],
                     "integrated_gradients", steps=1000)  # fmt: skip
    inside = values(Rectified(), [3.0, 1.0], "integrated_gradients", steps=1000)
    for found in (outside, inside):
        np.testing.assert_allclose(found, [1.5, -0.5], atol=2e-3)
    rescaled = values(Rectified(), [3.0, 1.0], "deeplift")
    np.testing.assert_allclose(rescaled, [2.0, -1.0], atol=1e-5)


def test_row_03_a_product_is_shared_equally_and_gradient_x_input_misses_completeness():
    a, b = 3.0, 5.0

    def product(x: Any) -> Any:
        return x[:, 0] * x[:, 1]

    half = [a * b / 2, a * b / 2]
    np.testing.assert_allclose(values(product, [a, b], "integrated_gradients"), half, rtol=1e-6)
    np.testing.assert_allclose(game(product, [a, b]), half)
    for method in ("gradient_x_input", "occlusion"):
        found = values(product, [a, b], method)
        np.testing.assert_allclose(found, [a * b, a * b], rtol=1e-6)
        assert found.sum() - a * b == pytest.approx(a * b)


def test_row_04_shapley_values_are_not_aumann_shapley_values():
    def cubic(x: Any) -> Any:
        return x[:, 0] * x[:, 0] * x[:, 1]

    np.testing.assert_allclose(game(cubic, [3.0, 2.0]), [9, 9])
    np.testing.assert_allclose(
        values(cubic, [3.0, 2.0], "integrated_gradients"), [12, 6], rtol=1e-5
    )


def test_row_05_the_maximum_of_two():
    np.testing.assert_allclose(game(lambda x: x.max(axis=1), [3.0, 2.0]), [2, 1])
    found = values(lambda x: torch.maximum(x[:, 0], x[:, 1]), [3.0, 2.0], "integrated_gradients")
    np.testing.assert_allclose(found, [3, 0], atol=1e-6)


def test_row_06_exclusive_or_and_or():
    ones = [1.0, 1.0]
    exclusive = game(lambda z: z[:, 0] + z[:, 1] - 2 * z[:, 0] * z[:, 1], ones)
    np.testing.assert_allclose(exclusive, [0, 0], atol=1e-9)
    np.testing.assert_allclose(game(lambda z: z[:, 0] * z[:, 1], ones), [0.5, 0.5])
    np.testing.assert_allclose(game(lambda z: z.max(axis=1), ones), [0.5, 0.5])


def test_row_07_the_airport():
    found = game(lambda z: (z * np.array([1.0, 2.0, 3.0])).max(axis=1), [1.0, 1.0, 1.0])
    np.testing.assert_allclose(found, [1 / 3, 5 / 6, 11 / 6], rtol=1e-6)


def test_row_08_a_vote_and_gloves():
    weights = np.array([50.0, 49.0, 1.0])
    vote = game(lambda z: (z @ weights >= 51).astype(float), [1.0, 1.0, 1.0])
    gloves = game(lambda z: np.minimum(z[:, 0], z[:, 1] + z[:, 2]), [1.0, 1.0, 1.0])
    for found in (vote, gloves):
        np.testing.assert_allclose(found, [2 / 3, 1 / 6, 1 / 6], rtol=1e-6)


def test_row_09_the_security_council():
    def council(z: np.ndarray) -> np.ndarray:
        return ((z[:, :5].sum(axis=1) == 5) & (z.sum(axis=1) >= 9)).astype(float)

    found = game(council, np.ones(15))
    np.testing.assert_allclose(found[:5], 421 / 2145, atol=1e-6)
    np.testing.assert_allclose(found[5:], 4 / 2145, atol=1e-6)
    assert found.sum() == pytest.approx(1, abs=1e-6)


def test_row_10_linear_models_are_weight_times_deviation():
    rng = np.random.default_rng(0)
    weights, x, rows = rng.normal(size=4), rng.normal(size=(3, 4)), rng.normal(size=(7, 4))
    mean = rows.mean(axis=0)
    expected = weights * (x - mean)
    for method in ("exact_shapley", "kernel_shap", "permutation_shap"):
        e = explain(lambda z: z @ weights, x, method, background=rows)
        np.testing.assert_allclose(e.values, expected, atol=1e-5)
    line = torch.nn.Linear(4, 1)
    with torch.no_grad():
        line.weight.copy_(torch.from_numpy(weights)[None])
    for method in ("integrated_gradients", "occlusion", "deeplift"):
        e = explain(line, x.astype(np.float32), method, baseline=mean.astype(np.float32))
        np.testing.assert_allclose(e.values, expected, atol=1e-5)


def test_row_11_conditional_values_of_two_correlated_features():
    rho, one, two = 0.6, 2.0, -3.0
    rows = np.random.default_rng(0).normal(size=(60, 2))
    rows -= rows.mean(axis=0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T, bias=True))).T
    rows = rows @ np.linalg.cholesky(np.array([[1, rho], [rho, 1]])).T
    a, b = 1.0, 2.0
    e = explain(lambda z: z @ np.array([one, two]), np.array([[a, b]]), "exact_shapley",
                background=rows, value_function="conditional")  # fmt: skip
    expected = [one * a + rho / 2 * (two * a - one * b), two * b + rho / 2 * (one * b - two * a)]
    np.testing.assert_allclose(e.values[0], expected, atol=1e-6)


@pytest.fixture(scope="module")
def linear() -> tuple[Any, np.ndarray, np.ndarray]:
    """f = w·x as a torch function, with its weights and 40 rows of U[0, 1]."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=D).astype(np.float32)
    tensor = torch.from_numpy(weights)
    model = wrap(lambda x: (x @ tensor)[:, None], framework="torch")
    return model, weights, rng.uniform(size=(40, D)).astype(np.float32)


def test_row_12_subset_correlation_of_a_linear_model_is_one(linear):
    model, weights, x = linear
    chance = np.random.default_rng(5).normal(size=x.shape)
    card = evaluate(model, x, {"exact": x * weights, "random map": chance},
                    standard=["C2", "faithfulness_correlation"], imputers=["zeros"])  # fmt: skip
    for metric in ("subset_correlation", "faithfulness_correlation"):
        exact, other = (card.scores[n][metric]["zeros"] for n in ("exact", "random map"))
        np.testing.assert_allclose(exact, 1.0, atol=1e-5)
        assert abs(other.mean()) < 0.05
        assert 0.05 < other.std() < 0.25
    # Sensitivity-n is the same with one size of subset; r = 100.
    rng = np.random.default_rng(6)
    for size in (1, 8, 32, 63):
        inside = np.stack([rng.permutation(D) < size for _ in range(100)])
        fall = (x * weights).astype(np.float64) @ inside.T
        np.testing.assert_allclose(correlations((x * weights) @ inside.T, fall), 1, atol=1e-5)
        assert abs(correlations(chance @ inside.T, fall).mean()) < 0.1


def test_row_13_local_infidelity_of_the_gradient_of_a_linear_model_is_zero(linear):
    model, _, x = linear
    card = evaluate(model, x, ["saliency"], standard=["C3"])
    assert card.scores["saliency"]["local_infidelity"][""].max() < 1e-6
    assert card.scores["random"]["local_infidelity"][""].min() > 0.5


def test_row_14_a_linear_gradient_is_stable_and_gradient_x_input_moves_as_the_input(linear):
    model, _, x = linear
    card = evaluate(model, x, ["saliency"], standard=["C5"])
    for way in ("mean", "p95"):  # MaxSensitivity and the local Lipschitz estimate are 0 with them
        assert np.nanmax(card.scores["saliency"]["input_stability"][way]) < 1e-6
    noisy = x + np.random.default_rng(1).normal(scale=0.1, size=x.shape).astype(np.float32)
    pairs = {m: [explain(model, v, m).values for v in (x, noisy)]
             for m in ("saliency", "gradient_x_input")}  # fmt: skip
    moved = np.linalg.norm((x - noisy) / x, axis=1)
    still, product = (
        np.linalg.norm((a - b) / a, axis=1) / moved for a, b in pairs.values()
    )  # relative input stability, Agarwal et al. 2022, eq. 2
    np.testing.assert_array_equal(still, 0)
    np.testing.assert_allclose(product, 1, rtol=1e-4)


def test_row_15_without_biases_one_step_is_gradient_x_input():
    rng = np.random.default_rng(0)
    first, second = (torch.from_numpy(rng.normal(size=s)) for s in ((20, 64), (64, 1)))
    model = wrap(
        lambda x: torch.relu(x @ first.to(x.dtype)) @ second.to(x.dtype), framework="torch"
    )
    x = rng.normal(size=(8, 20))
    one_step = explain(model, x, "integrated_gradients", steps=1)
    other = explain(model, x, "gradient_x_input").values
    np.testing.assert_allclose(other, one_step.values, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one_step.values.sum(axis=1), one_step.score, rtol=1e-4, atol=1e-4)


def test_row_16_the_gap_of_integrated_gradients_falls_as_one_over_n():
    rng = np.random.default_rng(0)
    w, b = rng.normal(size=(20, 64)) / np.sqrt(20), rng.normal(size=64)
    v = rng.normal(size=(64, 1)) / 8
    a, c, d = (torch.from_numpy(m.astype(np.float32)) for m in (w, b, v))
    model = wrap(lambda x: torch.relu(x @ a + c) @ d, framework="torch")
    x = rng.normal(size=(200, 20)).astype(np.float32)
    for steps, published in {10: 0.033, 50: 0.0065, 100: 0.0034}.items():
        gap = explain(model, x, "integrated_gradients", steps=steps).gap
        assert gap is not None
        assert np.median(gap) <= 1.33 * published


def test_row_17_a_shift_of_the_input_that_the_model_undoes():
    shift = torch.tensor([1.0, -2.0, 0.5])

    def first(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x).sum(1) * x[:, 0]

    x, moved = [0.3, -0.8, 1.2], [1.3, -2.8, 1.7]

    def difference(method: str, **options: Any) -> float:
        after = values(lambda rows: first(rows - shift), moved, method, **options)
        return float(np.abs(values(first, x, method) - after).max())

    assert difference("saliency") < 1e-5
    assert difference("integrated_gradients", baseline=shift.numpy()) < 1e-4
    assert difference("integrated_gradients") > 0.1
    assert difference("gradient_x_input") > 0.1


def test_row_18_a_suppressor_gets_its_share_though_it_knows_nothing_of_the_label():
    rng = np.random.default_rng(0)
    z, d = rng.normal(size=(2, 4000))
    x = np.stack([z + d, d], axis=1)
    weights = np.linalg.lstsq(x, z, rcond=None)[0]
    np.testing.assert_allclose(weights, [1, -1], atol=1e-10)
    assert abs(np.corrcoef(x[:, 1], z)[0, 1]) < 0.05
    tensor = torch.from_numpy(weights.astype(np.float32))
    few = x[:20].astype(np.float32)
    model = wrap(lambda rows: (rows @ tensor)[:, None], framework="torch")
    for method in ("integrated_gradients", "gradient_x_input", "kernel_shap", "occlusion"):
        found = explain(model, few, method).values
        np.testing.assert_allclose(found, few * [1, -1], atol=1e-5)
    pattern = np.cov(x.T) @ weights  # Haufe et al. 2014, eq. 7: what a decoder's weights look for
    np.testing.assert_allclose(pattern, [1, 0], atol=0.06)


def test_row_19_localisation_has_its_floors_and_its_ceiling():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    masks = np.zeros((200, 16, 16), bool)
    for own, (row, column) in zip(masks, rng.integers(0, 13, (200, 2)), strict=True):
        own[row : row + 3, column : column + 3] = True
    x = rng.normal(size=(200, 16, 16, 1)).astype(np.float32)
    maps = {"uniform": np.ones((200, 16, 16)), "chance": rng.uniform(size=(200, 16, 16)),
            "oracle": masks.astype(float)}  # fmt: skip
    metrics = ["pointing_game", "relevance_mass_accuracy", "relevance_rank_accuracy"]
    card = evaluate(lambda a: a.sum(axis=(1, 2, 3)), x, maps, masks=masks, standard=metrics)
    share = 9 / 256
    for name in ("uniform", "chance"):
        for metric in metrics:
            found = card.scores[name][metric][""]
            assert found.mean() == pytest.approx(share, abs=0.03), (name, metric)
        top = np.argsort(-maps[name].reshape(200, -1) - 1e-9 * rng.uniform(size=(200, 256)), axis=1)
        hits = np.take_along_axis(masks.reshape(200, -1), top[:, :50], axis=1)
        assert hits.mean() == pytest.approx(share, abs=0.01)  # top-k intersection, k = 50
        auc = [roc_auc_score(m.ravel(), a.ravel()) for m, a in zip(masks, maps[name], strict=True)]
        assert np.mean(auc) == pytest.approx(0.5, abs=0.03)
    for metric in metrics:
        np.testing.assert_allclose(card.scores["oracle"][metric][""], 1)


def test_row_20_maps_of_unrelated_models_are_alike_through_the_input_alone():
    rng = np.random.default_rng(3)
    first, second = (torch.from_numpy(rng.normal(size=(784, 40)).astype(np.float32)) for _ in "ab")
    x = rng.normal(size=(40, 784)).astype(np.float32)
    sparse = np.where(rng.uniform(size=x.shape) < 0.8, 0, np.abs(x)).astype(np.float32)

    def pair(rows: np.ndarray, method: str) -> list[np.ndarray]:
        targets = list(range(40))
        return [
            explain(wrap(lambda a, w=w: a @ w, framework="torch"), rows, method, target=targets)
            .values.astype(np.float64)
            for w in (first, second)
        ]  # fmt: skip

    gradients, products = pair(x, "saliency"), pair(x, "gradient_x_input")
    sizes, empty = (
        [np.abs(p) for p in products],
        [np.abs(p) for p in pair(sparse, "gradient_x_input")],
    )
    assert rank_correlations(*map(np.abs, gradients)).mean() == pytest.approx(0, abs=0.02)
    assert rank_correlations(*gradients).std() == pytest.approx(0.036, abs=0.012)
    assert rank_correlations(*products).mean() == pytest.approx(0, abs=0.02)
    assert rank_correlations(*sizes).mean() == pytest.approx(0.473, abs=0.02)
    exact = (2 / np.pi - 4 / np.pi**2) / (1 - 4 / np.pi**2)
    assert exact == pytest.approx(0.389, abs=0.001)
    assert correlations(*sizes).mean() == pytest.approx(exact, abs=0.02)
    # Where most inputs are 0, zeros agree: a method fails for them, not for what it looks at.
    assert rank_correlations(*empty).mean() == pytest.approx(0.990, abs=0.005)


def test_row_21_complexity_has_its_floors():
    d = 784
    assert np.log(d) == pytest.approx(6.664, abs=1e-3)
    single = np.zeros((1, d))
    single[0, 5] = -2.0
    x = np.random.default_rng(0).normal(size=(1, d))
    card = evaluate(lambda a: a.sum(axis=1), x, {"uniform": np.ones((1, d)), "one-hot": single},
                    standard=["I1"])  # fmt: skip
    spread = {n: card.scores[n]["effective_fraction"][""][0] for n in ("uniform", "one-hot")}
    assert np.log(spread["uniform"] * d) == pytest.approx(np.log(d))  # the entropy H
    assert np.log(spread["one-hot"] * d) == pytest.approx(0, abs=1e-12)

    def gini(a: np.ndarray) -> float:
        size = np.sort(np.abs(a))
        place = np.arange(1, len(size) + 1)
        return float(((2 * place - len(size) - 1) * size).sum() / (len(size) * size.sum()))

    assert gini(np.ones(d)) == pytest.approx(0, abs=1e-12)
    assert gini(single[0]) == pytest.approx(1 - 1 / d)


def test_row_22_symmetric_relevance_gain_of_linear_models():
    """In units of Σ|c|, every position a step of its own, over 10 models of 20 rows."""
    rng = np.random.default_rng(1)
    gains: dict[str, list[float]] = {"exact": [], "gradient": [], "random": []}
    public: dict[str, list[float]] = {name: [] for name in gains}
    for draw in range(10):
        weights, x = rng.normal(size=D), rng.uniform(size=(20, D))
        model = wrap(lambda rows, w=weights: np.asarray(rows) @ w)
        subject = Subject(model, x, imputers=["zeros"], seed=draw)
        size = np.abs(x * weights).sum(axis=1)
        maps = (x * weights, np.broadcast_to(weights, x.shape), rng.normal(size=x.shape))
        for name, own in zip(gains, maps, strict=True):
            case = Case(subject, None, replaced=own)  # type: ignore[arg-type]
            curves = [removal_curve(case, "zeros", most_first=m, steps=D) for m in (False, True)]
            gains[name].extend((area(curves[0]) - area(curves[1])) / size)
        card = evaluate(model, x, dict(zip(gains, maps, strict=True)), standard=["srg"],
                        imputers=["zeros"], seed=draw)  # fmt: skip
        for name in gains:  # in units of |f(x) − f(x')| there
            unit = np.abs((x * weights).sum(axis=1)) / size
            public[name].extend(card.scores[name]["srg"]["zeros"] * unit)
    assert np.mean(gains["exact"]) == pytest.approx(0.755, abs=0.015)
    assert np.mean(gains["gradient"]) == pytest.approx(0.698, abs=0.015)
    assert np.mean(gains["random"]) == pytest.approx(0.001, abs=0.03)
    assert np.std(gains["random"]) == pytest.approx(0.101, abs=0.02)
    # `srg` removes several positions at a step.
    assert np.mean(public["exact"]) == pytest.approx(0.755, abs=0.03)
    assert np.mean(public["gradient"]) == pytest.approx(0.698, abs=0.03)
    assert np.mean(public["random"]) == pytest.approx(0.001, abs=0.03)


def test_row_23_the_input_gradient_of_a_logistic_regression_has_the_weights_ranks_and_signs():
    """OpenXAI's six agreements (Agarwal et al. 2022, section 3): all are 1, for every k."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=10)
    tensor = torch.from_numpy(weights.astype(np.float32))
    model = wrap(
        lambda a: torch.sigmoid(a @ tensor)[:, None], framework="torch", output="probability"
    )
    x = rng.normal(size=(12, 10)).astype(np.float32)
    e = explain(model, x, "saliency")
    p = 1 / (1 + np.exp(-(x @ weights)))
    np.testing.assert_allclose(e.values, (p * (1 - p))[:, None] * weights, rtol=1e-4, atol=1e-7)
    truth = np.argsort(-np.abs(weights))
    for own in e.values:
        order, agree = np.argsort(-np.abs(own)), np.sign(own) == np.sign(weights)
        for k in range(1, 11):
            top = order[:k]
            assert set(top) == set(truth[:k])  # feature agreement
            assert (top == truth[:k]).all()  # rank agreement
            assert agree[top].all()  # sign agreement, and signed rank agreement with the above
    ranks = rank_correlations(np.abs(e.values), np.broadcast_to(np.abs(weights), e.values.shape))
    np.testing.assert_allclose(ranks, 1)  # rank correlation
    pairs = np.abs(e.values)[:, :, None] > np.abs(e.values)[:, None, :]
    assert (pairs == (np.abs(weights)[:, None] > np.abs(weights))).all()  # pairwise rank agreement


def test_row_24_the_parts_of_funny_birds_are_joined_as_their_paper_says():
    """Hesse et al. 2023, section 4.3, on the example row of its repository."""
    controlled, preservation, deletion, distractibility = 0.7353, 0.602, 0.532, 0.54372
    single_deletion, target_sensitivity = 0.54592, 0.806
    completeness = (np.mean([controlled, preservation, deletion]) + distractibility) / 2
    assert completeness == pytest.approx(0.5834, abs=5e-5)
    assert single_deletion == pytest.approx(0.5459, abs=5e-5)
    assert np.mean([completeness, single_deletion, target_sensitivity]) == pytest.approx(
        0.645, abs=5e-4
    )
