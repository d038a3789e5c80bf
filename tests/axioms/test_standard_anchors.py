"""The metrics of the standard against what they must be where the answer is known."""

import numpy as np
import pytest

from pellucid import evaluate
from pellucid.model import wrap
from pellucid.standard.case import Case
from pellucid.standard.evaluate import Subject
from pellucid.standard.maps import levels_of, mid_ranks, order_of, positions_of, rank_correlations
from pellucid.standard.removal import area, removal_curve
from pellucid.standard.stencil import neighbour_means

D = 64


@pytest.fixture(scope="module")
def linear():
    """f = Wx with three outputs, 60 rows of U[0, 1]."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(D, 3)).astype(np.float32)
    return lambda x: np.asarray(x) @ weights, weights, rng.uniform(size=(60, D)).astype(np.float32)


def one(linear, maps, metric, **options):
    """The scores of one map, by way."""
    model, _, x = linear
    card = evaluate(model, x, {"own": maps}, target=1, standard=[metric], **options)
    return card.scores["own"][card.metrics[0].name]


def contributions(linear):
    _, weights, x = linear
    return x * weights[:, 1]


def gradient(linear):
    _, weights, x = linear
    return np.broadcast_to(weights[:, 1], x.shape)


def random_map(linear):
    return np.random.default_rng(5).normal(size=linear[2].shape)


def test_subset_correlation_of_a_linear_model_is_one(linear):
    found = one(linear, contributions(linear), "subset_correlation", imputers=["zeros"])["zeros"]
    np.testing.assert_allclose(found, 1.0, atol=1e-5)
    chance = one(linear, random_map(linear), "subset_correlation", imputers=["zeros"])["zeros"]
    assert abs(chance.mean()) < 0.05
    assert 0.05 < chance.std() < 0.2  # 5 sizes of 20 subsets: about 1/√(19 · 5)


def test_local_infidelity_of_the_gradient_of_a_linear_model_is_zero(linear):
    assert one(linear, gradient(linear), "local_infidelity")[""].max() < 1e-8
    assert np.median(one(linear, random_map(linear), "local_infidelity")[""]) > 0.9


def test_local_infidelity_takes_any_scale_of_the_map(linear):
    small = one(linear, 1e-3 * contributions(linear), "local_infidelity")[""]
    large = one(linear, 1e3 * contributions(linear), "local_infidelity")[""]
    np.testing.assert_allclose(small, large, rtol=1e-5)


def test_symmetric_relevance_gain_of_linear_models():
    """Σ|c| as the unit: .755 for exact contributions, .698 for the gradient, 0 ± .101 by chance."""
    rng = np.random.default_rng(1)
    gains = {"exact": [], "gradient": [], "random": []}
    for draw in range(25):
        weights = rng.normal(size=D)
        x = rng.uniform(size=(20, D))
        subject = Subject(
            wrap(lambda rows, w=weights: np.asarray(rows) @ w), x, imputers=["zeros"], seed=draw
        )
        size = np.abs(x * weights).sum(axis=1)
        for name, maps in (
            ("exact", x * weights),
            ("gradient", np.broadcast_to(weights, x.shape)),
            ("random", rng.normal(size=x.shape)),
        ):
            case = Case(subject, None, replaced=maps)  # type: ignore[arg-type]
            last = area(removal_curve(case, "zeros", most_first=False, steps=D))
            first = area(removal_curve(case, "zeros", most_first=True, steps=D))
            gains[name].extend((last - first) / size)
    assert np.mean(gains["exact"]) == pytest.approx(0.755, abs=0.01)
    assert np.mean(gains["gradient"]) == pytest.approx(0.698, abs=0.01)
    assert np.mean(gains["random"]) == pytest.approx(0.0, abs=0.02)
    assert np.std(gains["random"]) == pytest.approx(0.101, abs=0.02)


def test_srg_is_the_difference_of_both_orders_over_how_far_the_score_falls(linear):
    """By hand: the quotient of the definition, and the gain in units of the score's range."""
    model, weights, x = linear
    found = one(linear, contributions(linear), "srg", imputers=["zeros"])
    assert list(found) == ["zeros", "zeros, of the range"]
    sample, steps, c = 3, 16, x[3].astype(np.float64) * weights[:, 1]
    order = np.argsort(-c, kind="stable")
    curves = []
    for own in (order[::-1], order):
        left = [c.sum() - c[own[: D * k // steps]].sum() for k in range(steps + 1)]
        curves.append(np.mean([(a + b) / 2 for a, b in zip(left[1:], left[:-1], strict=True)]))
    gain = curves[0] - curves[1]
    assert found["zeros"][sample] == pytest.approx(gain / abs(c.sum()), rel=1e-5)
    subject = Subject(wrap(model), x, target=1, imputers=["zeros"])
    without = np.append((~subject.subsets.reshape(-1, D)) @ c, [0, c.sum()])
    own_range = without.max() - without.min()
    assert found["zeros, of the range"][sample] == pytest.approx(gain / own_range, rel=1e-5)


def test_srg_has_no_number_where_removing_everything_changes_nothing_and_utility_has_one():
    """Half of the columns speak for and half against, by as much: f(x) = f(x') = 0."""
    weights = np.tile([1.0, -1.0], 8)
    x = np.ones((6, 16))
    maps = {"exact": x * weights, "wrong": -x * weights}
    card = evaluate(
        lambda rows: np.asarray(rows) @ weights, x, maps, standard=["C1"], imputers=["zeros"]
    )
    assert np.isnan(card.scores["exact"]["srg"]["zeros"]).all()
    assert "srg has no number where f(x) and f(x'), everything removed, differ by rounding" in str(
        card
    )
    found = card.utilities()
    assert found["exact"]["credibility"] > 0.5
    assert found["wrong"]["credibility"] < -0.5


def test_spread_of_maps_at_its_floors(linear):
    flat, single = np.ones((60, D)), np.zeros((60, D))
    single[:, 7] = -3.0
    np.testing.assert_allclose(one(linear, flat, "I1")[""], 1.0)
    np.testing.assert_allclose(one(linear, single, "I1")[""], 1 / D)
    assert np.isnan(one(linear, np.zeros((60, D)), "I1")[""]).all()


def test_minimal_sufficient_fraction_is_found_by_hand():
    """Four of a hundred columns hold all of the score: 5 % is the first share that has them."""
    weights = np.zeros((100, 2), np.float32)
    weights[:4, 1] = 1.0
    x = np.ones((3, 100), np.float32)
    maps = x * weights[:, 1]
    card = evaluate(
        lambda rows: np.asarray(rows) @ weights, x, {"own": maps}, target=1, standard=["I2"],
        imputers=["zeros"],
    )  # fmt: skip
    np.testing.assert_allclose(card.scores["own"]["minimal_sufficient_fraction"]["zeros"], 0.05)


def planted(seed: int = 0, count: int = 12):
    """16 × 16 noise with a 3 × 3 object whose sum decides, and a dark one that says nothing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(0, 0.3, size=(count, 16, 16, 1)).astype(np.float32)
    masks = np.zeros((count, 16, 16), bool)
    for i, (row, column) in enumerate(
        zip(rng.integers(0, 5, count), rng.integers(0, 13, count), strict=True)
    ):
        x[i, row : row + 3, column : column + 3] += 2.0
        masks[i, row : row + 3, column : column + 3] = True
        place = rng.integers(8, 13)
        x[i, place : place + 3, column : column + 3] -= 2.0
    return x, masks


def windows(x: np.ndarray) -> np.ndarray:
    """The largest sum of a 3 × 3 window: a hand-set filter and a maximum."""
    views = np.lib.stride_tricks.sliding_window_view(np.asarray(x)[..., 0], (3, 3), axis=(1, 2))
    best = views.sum(axis=(-1, -2)).reshape(len(x), -1).max(axis=1)
    return np.stack([np.zeros_like(best), best - 9.0], axis=1)


def test_localisation_has_its_floors_and_its_ceiling():
    x, masks = planted()
    share = 9 / 256
    maps = {"uniform": np.ones((12, 16, 16)), "inside": masks.astype(float),
            "against": -masks.astype(float)}  # fmt: skip
    card = evaluate(
        windows, x, maps, target=1, masks=masks,
        standard=["I4", "pointing_game", "relevance_mass_accuracy", "relevance_rank_accuracy"],
    )  # fmt: skip

    def of(name: str, metric: str) -> np.ndarray:
        return card.scores[name][metric][""]

    np.testing.assert_allclose(of("uniform", "localisation_lift"), 0, atol=1e-12)
    np.testing.assert_allclose(of("uniform", "pointing_game"), share)
    np.testing.assert_allclose(of("uniform", "relevance_mass_accuracy"), share)
    for metric in ("localisation_lift", "pointing_game", "relevance_mass_accuracy",
                   "relevance_rank_accuracy"):  # fmt: skip
        np.testing.assert_allclose(of("inside", metric), 1)
    assert (of("against", "localisation_lift") < 0).all()
    assert (of("against", "relevance_mass_accuracy") == 0).all()
    assert of("random", "relevance_rank_accuracy").mean() == pytest.approx(share, abs=0.06)


def test_a_faithful_method_finds_planted_objects_and_beats_the_controls():
    x, masks = planted(count=16)
    card = evaluate(
        windows, x, ["occlusion"], target=1, masks=masks,
        standard=["C1", "C2", "I4", "completeness"], imputers=["zeros", "dataset"],
        background=np.random.default_rng(9).normal(0, 0.3, size=(20, 16, 16, 1)).astype(np.float32),
    )  # fmt: skip
    assert np.median(card.scores["occlusion"]["localisation_lift"][""]) > 0.5
    assert card.gates()["occlusion"]["controls"] is True
    for contest in card.contests["occlusion"]:
        assert contest.control == "blurred" or contest.p < 0.05


def test_empty_masks_are_no_hits():
    x, masks = planted(count=4)
    masks[1] = False
    card = evaluate(windows, x, {"own": np.ones((4, 16, 16))}, target=1, masks=masks,
                    standard=["pointing_game", "I4"])  # fmt: skip
    for metric in ("pointing_game", "localisation_lift"):
        found = card.scores["own"][metric][""]
        assert np.isnan(found[1])
        assert not np.isnan(found[[0, 2, 3]]).any()


def test_equal_positions_are_taken_in_a_random_order_that_all_samples_share():
    order = order_of(np.zeros((3, 50)), np.random.default_rng(0))
    assert (order == order[0]).all()
    assert not (order[0] == np.arange(50)).all()


def test_values_that_rounding_alone_sets_apart_are_equal():
    """A batch of another size moves values by 1e-7 of the map; its order must stay."""
    rng = np.random.default_rng(0)
    exact = rng.integers(-3, 4, (20, 30)).astype(float)
    moved = exact * (1 + 1e-8 * rng.normal(size=exact.shape)) + 1e-7 * rng.normal(size=exact.shape)
    for sign in (1, -1):
        one, other = (order_of(sign * a, np.random.default_rng(1)) for a in (exact, moved))
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(mid_ranks(moved), mid_ranks(exact))


def test_many_close_values_are_not_all_equal_and_nan_is_the_lowest():
    close = np.random.default_rng(0).permutation(np.linspace(0, 1, 50_000) ** 3)[None]
    levels = levels_of(close)[0]
    order = np.argsort(levels)
    assert (np.diff(close[0, order]) > -1e-6).all()
    assert np.ptp(levels) > 45_000
    few = np.array([[1, np.nan, 1 + 1e-8, -np.inf, 0.5, np.inf], [np.nan] * 6])
    np.testing.assert_array_equal(mid_ranks(few), [[4.5, 1, 4.5, 2, 3, 6], [3.5] * 6])


def test_a_map_that_is_the_same_everywhere_gains_nothing_from_the_order_it_is_removed_in():
    """Equal positions go in one order both ways; else one lucky order is a gain of all samples."""
    rng = np.random.default_rng(0)
    weights, x = np.arange(40.0), 1 + 0.1 * rng.random((6, 40)).astype(np.float32)

    def model(rows):
        return np.asarray(rows) @ weights

    halves = np.broadcast_to(weights >= 20, x.shape).astype(float)
    card = evaluate(model, x, {"halves": halves}, standard=["srg"], imputers=["zeros", "mean"])
    np.testing.assert_allclose(card.scores["constant"]["srg"]["zeros"], 0, atol=1e-12)
    # Σ of the upper half of the weights is 590 of 780: areas 0.628 and 0.372.
    np.testing.assert_allclose(card.scores["halves"]["srg"]["zeros"], 0.256, atol=0.01)


def test_rank_correlation_shares_ties():
    a = np.array([[1.0, 2.0, 2.0, 4.0]])
    b = np.array([[1.0, 3.0, 2.0, 4.0]])
    from scipy.stats import spearmanr

    assert rank_correlations(a, b)[0] == pytest.approx(spearmanr(a[0], b[0])[0])
    assert np.isnan(rank_correlations(np.ones((1, 4)), b)[0])


def test_null_floor_of_maps_that_carry_the_input():
    """|gradient × input| of unrelated linear models: Spearman .473 from the input alone."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 784))
    first, second = (np.abs(x * rng.normal(size=x.shape)) for _ in range(2))
    found = rank_correlations(first, second).mean()
    assert found == pytest.approx(0.473, abs=0.02)


def test_filled_positions_do_not_depend_on_what_is_filled_beside_them():
    draws = np.random.default_rng(0)
    x = draws.normal(size=(4, 12, 12)).astype(np.float32)
    kept = draws.random((4, 12, 12)) < np.array([0.05, 0.3, 0.6, 0.95])[:, None, None]
    together = neighbour_means(x, kept, ("sample", "height", "width"))
    for i in range(4):
        alone = neighbour_means(x[i : i + 1], kept[i : i + 1], ("sample", "height", "width"))
        np.testing.assert_array_equal(alone[0], together[i])


@pytest.mark.parametrize("shape", [(9,), (7, 8), (4, 3, 5)])
def test_linear_fillings_solve_their_system_exactly(shape):
    """Dense, by hand: every removed position the weighted mean of the neighbours it has."""
    rng = np.random.default_rng(5)
    x = rng.normal(size=(3, *shape, 2)).astype(np.float32)
    kept = rng.random((3, *shape)) < np.array([0.1, 0.4, 0.8]).reshape(3, *[1] * len(shape))
    kept.reshape(3, -1)[:, 0] = True
    names = {1: ("step",), 2: ("height", "width"), 3: ("depth", "height", "width")}[len(shape)]
    found = neighbour_means(x, kept, ("sample", *names, "channel"))
    places = [np.array(p) for p in np.ndindex(*shape)]
    for own, given, stay in zip(found, x, kept.reshape(3, -1), strict=True):
        matrix, right = np.eye(len(places)), given.reshape(-1, 2).astype(np.float64)
        for i in np.flatnonzero(~stay):
            far = [np.abs(places[i] - p) for p in places]
            weight = np.array([(1 / 6 if f.sum() == 1 else 1 / 12) * (f.max() == 1) for f in far])
            matrix[i] -= weight / weight.sum()
            right[i] = 0
        np.testing.assert_allclose(own.reshape(-1, 2), np.linalg.solve(matrix, right), atol=1e-5)


def test_a_control_that_the_model_is_not_defined_for_stops_nothing():
    def logarithm(x):
        x = np.asarray(x)
        with np.errstate(divide="ignore"):
            return np.log(np.abs(x).sum(axis=1, keepdims=True)) * np.ones((1, 2))

    x = 1 + np.random.default_rng(0).random((3, 6)).astype(np.float32)
    card = evaluate(logarithm, x, ["random"], standard=["I1"])
    assert card.summary("constant", "I1").median == pytest.approx(1)


def test_positions_sum_the_channels():
    from pellucid import explain

    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype(np.float32)
    e = explain(lambda rows: np.asarray(rows).sum(axis=(1, 2, 3))[:, None], x, "random")
    np.testing.assert_allclose(positions_of(e), e.values.sum(axis=-1).reshape(2, 20), rtol=1e-6)
