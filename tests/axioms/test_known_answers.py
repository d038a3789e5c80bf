"""Models set by hand: the generators are what they say, and methods give the numbers they must."""

import numpy as np
import pytest

from pellucid import evaluate, explain
from pellucid.errors import CapabilityError, InputError
from pellucid.testing import KNOWN_ANSWERS, known_answer
from pellucid.testing.known import answers, pictures, scenes, tables
from pellucid.testing.tiny import from_layout

TABLES = [n for n in KNOWN_ANSWERS if n in vars(tables) and n != "text_trigger"]
SCENES = [n for n in KNOWN_ANSWERS if n in vars(scenes)]
PICTURES = [*(n for n in KNOWN_ANSWERS if n in vars(pictures)), *SCENES]


def told(problem, method: str, **options) -> np.ndarray:
    """What a method says of a problem in torch, from the problem's own baseline."""
    if method in {"integrated_gradients", "occlusion", "kernel_shap", "exact_shapley", "deeplift"}:
        options.setdefault("baseline", problem.baseline)
    return explain(problem.model, problem.x, method, target=problem.target, **options).values


def test_all_of_them_are_listed():
    assert set(KNOWN_ANSWERS) == set(answers._makers())


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
def test_truth_is_complete_and_both_forms_of_the_model_agree(name):
    plain, torch_form = known_answer(name, count=6), known_answer(name, "torch", count=6)
    blank = np.full_like(plain.x, plain.baseline)
    change = plain.score(plain.x) - plain.score(blank)
    np.testing.assert_allclose(plain.truth.reshape(6, -1).sum(axis=1), change, rtol=1e-4, atol=1e-4)
    import torch

    with torch.no_grad():
        found = torch_form.model(torch.from_numpy(torch_form.x)).numpy()
    np.testing.assert_allclose(found, plain.network(plain.x), rtol=1e-4, atol=1e-4)
    again, other = known_answer(name, count=6), known_answer(name, count=6, seed=1)
    np.testing.assert_array_equal(again.x, plain.x)
    assert not np.array_equal(other.x, plain.x)


@pytest.mark.parametrize("name", [*TABLES, *PICTURES])
def test_gradients_are_those_of_torch_and_of_differences(name):
    plain, torch_form = known_answer(name, count=3), known_answer(name, "torch", count=3)
    e = explain(torch_form.model, torch_form.x, "saliency", target=0)
    own = plain.network.gradient(plain.x)
    np.testing.assert_allclose(from_layout(e.values, "torch"), own, rtol=1e-4, atol=1e-4)
    way = np.random.default_rng(0).normal(size=plain.x.shape) * 1e-7
    x = plain.x.astype(np.float64)
    rise = plain.network(x + way)[:, 0] - plain.network(x - way)[:, 0]
    along = 2 * (own * way).reshape(3, -1).sum(axis=1)
    if name not in {"boolean_and", "boolean_or", *(n for n in TABLES if "negatives" in n)}:
        np.testing.assert_allclose(rise, along, rtol=1e-3, atol=1e-12)  # those stand on a kink


@pytest.mark.parametrize(
    "name", [n for n in TABLES if n not in {"conflicting", "interacting_features"}]
)
def test_shapley_values_of_tables_are_the_truth(name):
    problem = known_answer(name, count=4)
    e = explain(problem.model, problem.x, "exact_shapley", target=problem.target,
                baseline=problem.baseline)  # fmt: skip
    assert problem.error(e.values).max() < 1e-9


@pytest.mark.parametrize("name", ["conflicting", "interacting_features"])
def test_shapley_values_of_sixteen_columns_are_the_truth(name):
    """An order and its reverse say all of a game of pairs."""
    problem = known_answer(name, count=4)
    e = explain(problem.model, problem.x, "permutation_shap", budget=400, baseline=0.0)
    assert problem.error(e.values).max() < 1e-9


@pytest.mark.parametrize(
    "method", ["integrated_gradients", "gradient_x_input", "kernel_shap", "occlusion", "deeplift"]
)
def test_weighted_features_leave_no_error(method):
    problem = known_answer("weighted_features", "torch")
    assert problem.error(told(problem, method)).max() < 1e-9


def test_products_of_two_features():
    """Integrated gradients share a product; gradient × input counts it twice."""
    for name in ("conflicting", "interacting_features"):
        problem = known_answer(name, "torch")
        assert problem.error(told(problem, "integrated_gradients")).max() < 1e-8
        assert np.median(problem.error(told(problem, "gradient_x_input"))) > 1e-2


def test_pertinent_negatives_tell_whether_the_baseline_is_honoured():
    zero, one = (known_answer(n, "torch") for n in ("pertinent_negatives",
                                                    "pertinent_negatives_from_one"))  # fmt: skip
    absent = zero.x == 0
    for problem in (zero, one):
        assert (told(problem, "gradient_x_input")[absent] == 0).all()  # wrong from one
        assert problem.error(told(problem, "occlusion")).max() < 1e-9
        found = told(problem, "integrated_gradients", steps=500)
        assert problem.error(found).max() < 5e-3
    assert (told(zero, "integrated_gradients")[absent] == 0).all()
    assert (told(one, "integrated_gradients")[absent] != 0).all()


def test_what_all_classes_share_gets_nothing():
    problem = known_answer("uncertainty", "torch")
    for method in ("integrated_gradients", "gradient_x_input", "kernel_shap", "occlusion"):
        found = told(problem, method)
        assert problem.error(found).max() < 1e-9
        np.testing.assert_allclose(found[:, 4:], 0, atol=1e-5)


def test_shattered_gradients_move_where_integrated_ones_stay():
    problem = known_answer("shattered_gradients", "torch")
    background = np.random.default_rng(1).uniform(-1, 1, (40, 8)).astype(np.float32)
    methods = ["saliency", ("integrated_gradients", {"steps": 300})]
    card = evaluate(problem.model, problem.x, methods, standard=["C5"], background=background)
    moved = {n: np.median(card.scores[n]["input_stability"]["mean"])
             for n in ("saliency", "integrated_gradients")}  # fmt: skip
    assert moved["saliency"] > 0.5
    assert moved["integrated_gradients"] < 0.15
    few = known_answer("shattered_gradients", "torch", count=6)
    assert few.error(told(few, "integrated_gradients", steps=3000)).max() < 1e-4
    assert few.error(told(few, "gradient_x_input")).min() > 0.5


def test_and_and_or_share_equally():
    for name in ("boolean_and", "boolean_or"):
        problem = known_answer(name, "torch")
        for method in ("exact_shapley", "integrated_gradients"):
            found = told(problem, method, **({"steps": 500} if "grad" in method else {}))
            assert problem.error(found).max() < 1e-4, (name, method)
    alone = known_answer("boolean_or", "torch")
    assert alone.error(told(alone, "occlusion")).max() > 1e-3  # no single bit is needed


def test_a_suppressor_gets_a_share_though_it_knows_nothing_of_the_answer():
    problem = known_answer("suppressor", "torch", count=4000)
    assert abs(np.corrcoef(problem.x[:, 1], problem.score(problem.x))[0, 1]) < 0.05
    few = known_answer("suppressor", "torch")
    for method in ("integrated_gradients", "gradient_x_input", "kernel_shap", "occlusion"):
        found = told(few, method)
        assert few.error(found).max() < 1e-9
        assert (found[:, 1] != 0).all()


def test_triggers_are_found_by_leaving_words_out():
    problem = known_answer("text_trigger")
    found = explain(problem.model, problem.x, "occlusion", baseline=0).values
    assert problem.error(found).max() < 1e-9
    in_torch = known_answer("text_trigger", "torch")
    with pytest.raises(CapabilityError, match="layer="):  # words have no derivative
        told(in_torch, "integrated_gradients")
    at_layer = told(in_torch, "integrated_gradients", layer="0").reshape(problem.truth.shape)
    assert in_torch.error(at_layer).max() < 1e-9


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "deeplift", "occlusion"])
def test_planted_objects_are_found_and_distractors_are_not(method):
    problem = known_answer("planted_objects", "torch")
    options = {"window": 1, "stride": 1} if method == "occlusion" else {}
    e = explain(problem.model, problem.x, method, **options)
    found = e.values
    green = problem.x[:, 1] > 1
    assert (found[:, 1][green] == 0).all()  # a null player
    maps = {"own": found, "uniform": np.ones((20, 16, 16))}
    card = evaluate(problem.model, problem.x, maps, masks=problem.masks,
                    standard=["relevance_mass_accuracy"])  # fmt: skip
    own, floor = (card.scores[n]["relevance_mass_accuracy"][""] for n in maps)
    np.testing.assert_allclose(own, 1, atol=1e-5)
    np.testing.assert_allclose(floor, 9 / 256)


@pytest.mark.parametrize("name", PICTURES)
def test_integrated_gradients_of_pictures_are_the_truth_and_beat_edges(name):
    problem = known_answer(name, "torch")
    found = told(problem, "integrated_gradients", steps=300)
    assert problem.error(found).max() < 1e-3
    card = evaluate(problem.model, problem.x, {"own": np.abs(found)}, masks=problem.masks,
                    standard=["relevance_rank_accuracy"])  # fmt: skip
    own, edges = (card.scores[n]["relevance_rank_accuracy"][""] for n in ("own", "edges"))
    if name != "planted_objects":  # there, the blue object belongs to the map and not to the mask
        assert np.median(own) > 0.9
        assert np.median(edges) < 0.6


@pytest.mark.parametrize("name", SCENES)
def test_a_shape_is_found_where_it_lies_and_each_of_its_pixels_is_needed(name):
    """The four pixels are an AND, all else is a null player: a quarter each is Shapley's value."""
    problem = known_answer(name, count=12)
    lit = problem.truth != 0
    assert (lit.reshape(12, -1).sum(axis=1) == 4).all()
    score = problem.score(problem.x)
    np.testing.assert_allclose(np.abs(score), 1, atol=1e-6)
    np.testing.assert_allclose(problem.score(np.where(lit, problem.x, 0)), score, atol=1e-6)
    for number in range(4):
        without = problem.x.copy()
        for own, places in zip(without, lit, strict=True):
            own[tuple(np.argwhere(places)[number])] = 0
        np.testing.assert_allclose(problem.score(without), 0, atol=1e-6)
    assert (problem.network.gradient(problem.x) == 0).all()  # saturated: a gradient sees nothing


def test_what_stands_beside_the_signal_gets_nothing():
    problem = known_answer("stacked_blocks", "torch")
    found = told(problem, "integrated_gradients", steps=100)[:, 0]
    assert problem.masks is not None
    for own, mask in zip(found, problem.masks, strict=True):
        null = np.s_[8:] if mask[:8].any() else np.s_[:8]
        assert not mask[null].any()
        assert (own[null] == 0).all()
    assert 2 < sum(m[:8].any() for m in problem.masks) < 18


def test_backgrounds_are_as_balanced_as_they_say():
    both = known_answer("balanced_image", count=36), known_answer("imbalanced_image", count=20)
    striped = [
        np.array([p[::4].mean() > p[2::4].mean() + 0.2 for p in problem.x]) for problem in both
    ]
    is_t = [problem.score(problem.x) > 0 for problem in both]
    assert striped[0][is_t[0]].sum() == striped[0][~is_t[0]].sum() == 6
    colours = np.abs(both[0].truth).sum(axis=(1, 2)).argmax(axis=1)
    assert np.unique(colours[is_t[0]], return_counts=True)[1].tolist() == [6, 6, 6]
    assert (striped[1][is_t[1]].sum(), striped[1][~is_t[1]].sum()) == (8, 2)


@pytest.mark.parametrize("kind", ["linear", "multiplicative", "xor", "rigid"])
def test_correlated_backgrounds_are_and_white_ones_are_not(kind):
    alike = []
    for behind in ("", "_correlated"):
        problem = known_answer(f"tetromino_{kind}{behind}", count=200)
        assert problem.masks is not None
        left = np.where(problem.masks[..., None], np.nan, problem.x)[:, :, 0, 0]
        right = np.where(problem.masks[..., None], np.nan, problem.x)[:, :, 1, 0]
        known = ~np.isnan(left) & ~np.isnan(right)
        alike.append(np.corrcoef(left[known], right[known])[0, 1])
    assert abs(alike[0]) < 0.1
    assert alike[1] > 0.8


def test_what_there_is_not_is_named():
    with pytest.raises(InputError, match="planted_objects"):
        known_answer("planted_object")
    with pytest.raises(InputError, match="torch"):
        known_answer("conflicting", "caffe")
    problem = known_answer("conflicting", count=2)
    with pytest.raises(InputError, match=r"\(2, 16\)"):
        problem.error(np.zeros((2, 8)))
