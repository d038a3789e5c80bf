"""Evaluating explanations: what may be judged, what comes back, what is refused."""

import numpy as np
import pytest

import pellucid
from pellucid import Explanation, evaluate, explain, register_metric
from pellucid.errors import InputError, MethodError
from pellucid.standard import default_metrics, unregister_metric
from pellucid.standard.statistics import holm, paired_p, summarise

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(12, 3)).astype(np.float32)
HIDDEN = RNG.normal(size=(12, 12)).astype(np.float32) / 3


def model(x):
    return np.tanh(np.asarray(x) @ HIDDEN) @ WEIGHTS


def data(count: int = 9) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, 12)).astype(np.float32)


FORWARD = ["I1", "I2", "I3", "C1", "C2", "C3", "C5", "C6"]


def flat(card, name):
    """All of one explanation's scores as one array `(scores, n)`."""
    return np.stack([v for ways in card.scores[name].values() for v in ways.values()])


def test_everything_that_can_be_asked_of_a_function_is_asked():
    card = evaluate(model, data(), ["occlusion", ("kernel_shap", {"budget": 300})])
    assert card.explanations == ("occlusion", "kernel_shap")
    assert set(card.scores) == {"occlusion", "kernel_shap", "random", "edges", "constant"}
    asked = set(card.scores["kernel_shap"])
    assert asked >= {"effective_fraction", "srg", "subset_correlation", "local_infidelity",
                     "input_stability", "seed_stability", "completeness", "speed"}  # fmt: skip
    assert "weights" in card.skipped["occlusion"]["parameter_dependence"]
    assert "masks" in card.skipped["occlusion"]["localisation_lift"]
    text = str(card)
    assert "kernel_shap" in text
    assert "srg (dataset) ↑" in text
    assert "FAILED" in text or "passed" in text


@pytest.mark.parametrize("rows", [1, 7])
def test_a_sample_does_not_depend_on_its_batch(rows):
    x, background = data(), data(30)
    options = {"background": background, "standard": FORWARD, "batch_size": 16}
    whole = evaluate(model, x, ["occlusion", "random"], **options)
    part = evaluate(model, x[:rows], ["occlusion", "random"], **options)
    for name in ("occlusion", "random", "edges"):
        np.testing.assert_allclose(
            flat(part, name), flat(whole, name)[:, :rows], rtol=1e-4, atol=1e-5
        )


def test_the_same_seed_gives_the_same_scores_and_another_gives_others():
    first, again, other = (
        evaluate(model, data(), ["occlusion"], standard=["C2"], seed=s, batch_size=32)
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(flat(first, "occlusion"), flat(again, "occlusion"))
    assert not np.array_equal(flat(first, "occlusion"), flat(other, "occlusion"))


def test_made_explanations_maps_and_methods_are_judged_alike():
    x = data()
    made = explain(model, x, "occlusion", target=1, batch_size=32)
    given = {"made": made, "map": made.values, "method": ("occlusion", {})}
    card = evaluate(model, x, given, target=1, standard=["C1", "C2", "I1"], batch_size=32)
    np.testing.assert_array_equal(flat(card, "made"), flat(card, "map"))
    np.testing.assert_array_equal(flat(card, "made"), flat(card, "method"))


def test_a_comparison_is_judged_and_an_explanation_evaluates_itself():
    x = data()
    comparison = pellucid.Explainer(model, ["occlusion", "lime"]).compare(x)
    assert evaluate(model, x, comparison, standard=["I1"]).explanations == ("occlusion", "lime")
    card = pellucid.Explainer(model, ["occlusion"]).evaluate(x, standard=["I1"])
    assert card.explanations == ("occlusion",)


def test_a_metric_in_five_lines():
    @register_metric("largest", axis="interpretability", better="higher")
    def largest(case):
        return np.abs(case.positions).max(axis=1)

    try:
        card = evaluate(model, data(), ["occlusion"], standard=["largest", "I1"])
        assert card.scores["occlusion"]["largest"][""].shape == (9,)
        assert card.table()[0]["metric"] == "largest"
        with pytest.raises(MethodError, match="built-in"):
            register_metric("srg")(largest)
    finally:
        unregister_metric("largest")


def test_maps_of_zeros_and_constants_get_no_number_or_nothing():
    x = data()
    card = evaluate(model, x, {"zeros": np.zeros((9, 12)), "flat": np.ones((9, 12))},
                    standard=["I1", "C1", "C2", "C3"], imputers=["zeros"],
                    batch_size=32)  # fmt: skip
    assert card.summary("zeros", "I1").missing == 9
    np.testing.assert_array_equal(card.scores["zeros"]["local_infidelity"][""], 1.0)
    np.testing.assert_array_equal(card.scores["flat"]["subset_correlation"]["zeros"], 0.0)
    np.testing.assert_array_equal(
        card.scores["zeros"]["srg"]["zeros"], card.scores["flat"]["srg"]["zeros"]
    )


def test_two_copies_of_one_method_are_tied():
    card = evaluate(model, data(), ["occlusion", "occlusion"], standard=["C1", "C2"])
    assert card.explanations == ("occlusion", "occlusion 2")
    rows = card.compare("C1")
    assert all(r["tied"] for r in rows)
    ranks = card.ranks()
    assert ranks["occlusion"]["rank"] == ranks["occlusion 2"]["rank"]


def test_adding_a_bad_method_changes_no_utility():
    x = data()
    alone = evaluate(model, x, ["occlusion"], standard=FORWARD[:5], batch_size=32).utilities()
    beside = evaluate(
        model, x, {"occlusion": "occlusion", "bad": np.random.default_rng(3).normal(size=(9, 12))},
        standard=FORWARD[:5], batch_size=32,
    ).utilities()  # fmt: skip
    assert alone["occlusion"] == pytest.approx(beside["occlusion"], nan_ok=True)
    assert alone["occlusion"]["credibility"] > beside["bad"]["credibility"]


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"standard": ["sgr"]}, MethodError, "srg"),
        ({"standard": []}, InputError, "none"),
        ({"imputers": ["blurr"]}, InputError, "blur"),
        ({"imputers": ["blur"]}, InputError, "images and series"),
        ({"masks": np.ones((9, 3))}, InputError, r"\(9, 12\)"),
        ({"background": np.ones((4, 5), np.float32)}, InputError, "12"),
        ({"seed": -1}, InputError, "seed"),
    ],
)
def test_what_does_not_fit_is_refused_with_advice(arguments, error, words):
    with pytest.raises(error, match=words):
        evaluate(model, data(), ["occlusion"], **arguments)


def test_explanations_of_something_else_are_refused():
    x = data()
    made = explain(model, x, "occlusion", target=1)
    with pytest.raises(InputError, match="other inputs"):
        evaluate(model, x + 1, made)
    with pytest.raises(InputError, match="different targets"):
        evaluate(model, x, made, target=2)
    with pytest.raises(InputError, match="shape"):
        evaluate(model, x, {"own": np.ones((9, 5))})
    with pytest.raises(InputError, match="judge"):
        evaluate(model, x, [])


def test_a_loaded_explanation_is_judged(tmp_path):
    x = data()
    made = Explanation.load(explain(model, x, "occlusion", target=1).save(tmp_path / "e.zarr"))
    card = evaluate(model, x, made, standard=["C1", "C5"])
    assert card.explanations == ("occlusion",)
    assert "input_stability" in card.scores["occlusion"]


def test_every_metric_of_the_standard_declares_itself():
    found = {m.identifier: m for m in default_metrics()}
    assert {"I1", "I2", "I3", "I4", "C1", "C2", "C3", "C4", "C5", "C6", "C7", "V1"} <= set(found)
    for metric in found.values():
        assert metric.cost
        assert metric.source
        assert metric.what.endswith((".", "%."))


def test_summaries_count_what_has_no_number():
    told = summarise(np.array([1.0, np.nan, 3.0, 2.0]))
    assert told.median == 2.0
    assert told.missing == 1
    assert told.low <= 2.0 <= told.high
    assert np.isnan(summarise(np.array([np.nan])).median)


def test_intervals_cover_the_median():
    """95 % intervals of 25 samples hold the true median 90 to 99 times of 100."""
    rng = np.random.default_rng(0)
    held = 0
    for draw in range(200):
        told = summarise(rng.normal(size=25), seed=draw)
        held += told.low <= 0 <= told.high
    assert 0.9 <= held / 200 <= 0.99


def test_paired_tests_and_their_correction():
    better, worse = np.arange(1, 9.0), np.arange(8.0)
    assert paired_p(better, worse) == pytest.approx(1 / 256)
    assert paired_p(worse, better) == 1.0
    assert paired_p(better, better) == 1.0
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_an_explanation_evaluates_itself(tmp_path):
    x = data()
    e = explain(model, x, "occlusion", target=lambda outputs: outputs[:, 0] + outputs[:, 1])
    assert e.evaluate(standard=["I1", "C1"]).explanations == ("occlusion",)
    part = explain(model, x, "occlusion", target=1)[2:5]
    assert part.evaluate(standard=["I1"]).count == 3
    single = explain(model, x[0], "occlusion")
    assert single.evaluate(standard=["C1"], imputers=["zeros"]).count == 1
    loaded = Explanation.load(part.save(tmp_path / "part.zarr"))
    with pytest.raises(InputError, match="holds no model"):
        loaded.evaluate()
    assert loaded.evaluate(model, standard=["I1"]).count == 3


def test_a_data_frame_is_judged_as_the_model_takes_it():
    pandas = pytest.importorskip("pandas")
    pipeline = pytest.importorskip("sklearn.pipeline")
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(0)
    frame = pandas.DataFrame(
        {"age": rng.normal(40, 9, 60), "job": rng.choice(["cook", "smith", "clerk"], 60)}
    )
    label = (frame["age"] + 12 * (frame["job"] == "cook") > 43).to_numpy()
    columns = make_column_transformer(
        (StandardScaler(), ["age"]), (OneHotEncoder(handle_unknown="ignore"), ["job"])
    )
    fitted = pipeline.make_pipeline(columns, LogisticRegression()).fit(frame, label)
    e = explain(fitted, frame[:8], "kernel_shap", background=frame[8:28])
    card = e.evaluate(standard=["I1", "C1", "C2", "C6"], background=frame[8:28])
    assert set(card.scores["kernel_shap"]) == {
        "effective_fraction", "srg", "subset_correlation", "seed_stability"
    }  # fmt: skip
    assert card.imputers == ("dataset", "mean")


def test_how_many_draws_kept_the_class_is_told_and_no_score():
    card = evaluate(model, data(), ["occlusion"], standard=["C5"], batch_size=32)
    own, random = (card.scores[n]["input_stability"] for n in ("occlusion", "random"))
    each = [1 - np.median(own[w]) / np.median(random[w]) for w in ("mean", "p95")]
    assert "kept" in own
    assert card.utilities()["occlusion"]["credibility"] == pytest.approx(np.mean(each))
