"""Models that fail in the middle, and users who have seen enough: what is kept, what is said."""

import io
import subprocess
import sys

import numpy as np
import pytest

from pellucid import Explanation, explain
from pellucid.engine.progress import ProgressBar, duration
from pellucid.errors import MethodError, ModelError

X = np.random.default_rng(0).normal(size=(6, 5)) + 3
SAMPLED = {
    "exact_shapley": {},
    "kernel_shap": {"budget": 24},
    "permutation_shap": {"budget": 24},
    "partition_shap": {"budget": 24},
    "shapley_interactions": {"budget": 32},
}

OPTIONS = {**SAMPLED, "occlusion": {}}


def smooth(z):
    return np.tanh(z).sum(axis=1) + z[:, 0] * z[:, 1]


class Failing:
    """`smooth`, until so many rows have been asked for."""

    def __init__(self, after: int, error: BaseException) -> None:
        self.left, self.error = after, error

    def __call__(self, z):
        self.left -= len(z)
        if self.left < 0:
            raise self.error
        return smooth(z)


def same_as_whole(partial: Explanation, whole: Explanation) -> None:
    for name in ("values", "score", "baseline_score", "prediction"):
        if getattr(partial, name) is None:  # occlusion runs its baseline last
            continue
        np.testing.assert_allclose(
            getattr(partial, name), getattr(whole, name)[: len(partial)], atol=1e-6
        )


@pytest.mark.parametrize("method", list(SAMPLED))
def test_a_model_that_holds_five_rows(method):
    def small(z):
        if len(z) > 5:
            raise MemoryError(f"{len(z)} rows")
        return smooth(z)

    whole = explain(smooth, X, method, **OPTIONS[method])
    e = explain(small, X, method, **OPTIONS[method])
    np.testing.assert_allclose(e.values, whole.values, atol=1e-6)
    # The prediction of all six was tried, and counts; smaller batches then repeat nothing.
    assert e.evaluations.forward == whole.evaluations.forward + len(X)


@pytest.mark.parametrize("error", [ValueError("the thousandth"), KeyboardInterrupt()])
@pytest.mark.parametrize("method", [*SAMPLED, "occlusion"])
def test_what_was_computed_before_is_kept(method, error):
    whole = explain(smooth, X, method, **OPTIONS[method])
    first = len(X) + (method != "occlusion")  # the prediction, and v(∅)
    each = (whole.evaluations.forward - len(X) - 1) // len(X)
    model = Failing(first + 3 * each + each // 2, error)
    expected = ModelError if isinstance(error, ValueError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        explain(model, X, method, batch_size=4, **OPTIONS[method])
    partial = caught.value.partial
    assert len(partial) == 3
    same_as_whole(partial, whole)
    assert "the samples [0, 1, 2] of a batch of 6" in partial.warnings[0]
    assert "[3, 4, 5] have none" in caught.value.__notes__[0]


SURROGATES = {
    "lime": {"budget": 20},
    "lime with a draw each": {"budget": 40, "background": X, "fresh": True},
    "rise": {"budget": 24},
    "rise classic": {"budget": 24, "estimator": "classic"},
    "sobol": {"budget": 28},
    "hsic": {"budget": 24},
}


@pytest.mark.parametrize("error", [ValueError("the hundredth"), KeyboardInterrupt()])
@pytest.mark.parametrize("name", list(SURROGATES))
def test_samples_that_a_surrogate_finished_are_kept(name, error):
    method, options = name.partition(" ")[0], SURROGATES[name]
    whole = explain(smooth, X, method, **options)
    each = (whole.evaluations.forward - len(X)) // len(X)
    model = Failing(len(X) + 3 * each + each // 2, error)
    expected = ModelError if isinstance(error, ValueError) else KeyboardInterrupt
    with pytest.raises(expected) as caught:
        explain(model, X, method, batch_size=4, **options)
    partial = caught.value.partial
    assert len(partial) == 3
    np.testing.assert_allclose(partial.values, whole.values[:3], atol=1e-6)
    np.testing.assert_allclose(partial.stderr, whole.stderr[:3], atol=1e-6)
    assert "the samples [0, 1, 2] of a batch of 6" in partial.warnings[0]


def test_shuffles_that_were_whole_are_kept():
    x = np.random.default_rng(2).normal(size=(20, 3))
    each = 3 * len(x)
    model = Failing(len(x) + 5 * each + 17, ValueError("late"))
    with pytest.raises(ModelError) as caught:
        explain(model, x, "feature_permutation", batch_size=20)
    partial = caught.value.partial
    assert partial is not None
    assert len(partial) == 20
    assert partial.parameters["repeats"] == 5
    whole = explain(smooth, x, "feature_permutation", repeats=5)
    np.testing.assert_allclose(partial.values, whole.values, atol=1e-6)
    with pytest.raises(ModelError) as caught:
        explain(Failing(len(x) + each, ValueError("early")), x, "feature_permutation")
    assert caught.value.partial is None


def test_shuffles_end_when_the_importances_are_known():
    x = np.random.default_rng(2).normal(size=(200, 3))
    quick = explain(smooth, x, "feature_permutation", repeats=60, tolerance=0.05)
    assert 4 <= quick.parameters["repeats"] < 60
    assert quick.extras["importance_stderr"].max() <= 0.05 * quick.extras["importance"].max()
    assert quick.evaluations.forward == 200 * (1 + 3 * quick.parameters["repeats"])
    same = explain(smooth, x, "feature_permutation", repeats=quick.parameters["repeats"])
    np.testing.assert_allclose(quick.extras["importance"], same.extras["importance"], rtol=1e-5)
    hard = explain(smooth, x, "feature_permutation", repeats=6, tolerance=1e-6)
    assert "not converged: 6 shuffles" in hard.warnings[0]


def test_the_thousandth_evaluation():
    """Of 40 samples with 2^5 coalitions, the prediction and v(∅): 31 samples are finished."""
    x = np.random.default_rng(1).normal(size=(40, 5))
    model = Failing(999, RuntimeError("out of luck"))
    with pytest.raises(ModelError, match="out of luck") as caught:
        explain(model, x, "exact_shapley", batch_size=1)
    assert len(caught.value.partial) == (999 - 41) // 30
    same_as_whole(caught.value.partial, explain(smooth, x, "exact_shapley"))


def test_nothing_is_kept_where_nothing_was_finished():
    with pytest.raises(ModelError) as caught:
        explain(Failing(10, ValueError("early")), X, "exact_shapley", batch_size=4)
    assert caught.value.partial is None
    with pytest.raises(ModelError) as caught:
        explain(Failing(3, ValueError("at once")), X, "exact_shapley", batch_size=4)
    assert caught.value.partial is None


@pytest.mark.parametrize("method", list(SAMPLED))
def test_a_model_that_returns_nan_for_some_masks_names_the_samples(method):
    """Sample 3 without its first feature is what it cannot compute."""
    x = X.copy()
    x[3, 1] = 50

    def picky(z):
        return np.where((z[:, 0] == 0) & (z[:, 1] == 50), np.nan, smooth(z))

    with pytest.raises(ModelError, match=r"NaN or infinity for changed copies of.*\[3\]") as caught:
        explain(picky, x, method, batch_size=5, **OPTIONS[method])
    # The last rows of sample 2 may have run together with the first of sample 3.
    assert len(caught.value.partial) >= 2


def test_a_stage_that_fails_keeps_the_stage_before():
    x = np.random.default_rng(0).normal(size=(2, 8))

    def kinked(z):
        return np.maximum(z @ np.random.default_rng(1).normal(size=(8, 16)), 0).sum(axis=1)

    whole = explain(kinked, x, "kernel_shap", tolerance=1e-9, budget=200)
    assert (whole.extras["coalitions"] == 200).all()
    calls = []

    def interrupted(z):
        calls.append(len(z))
        if sum(calls) > 300:
            raise KeyboardInterrupt
        return kinked(z)

    with pytest.raises(KeyboardInterrupt) as caught:
        explain(interrupted, x, "kernel_shap", tolerance=1e-9, budget=200, batch_size=10)
    partial = caught.value.partial
    assert len(partial) == 2
    assert (partial.extras["coalitions"] == 132).all()
    assert "not converged: sample(s) [0, 1]" in partial.warnings[1]
    assert "2 of 2 samples have values" in caught.value.__notes__[0]


def test_equal_rows_of_a_sample_run_once():
    """Features that are as in the baseline make no difference: 2³ coalitions are left of 2⁶."""
    seen = []

    def model(z):
        seen.extend(map(tuple, z))
        return smooth(z)

    x = np.array([[1.0, 0, 2, 0, 3, 0], [7.0, 2, 3, 4, 5, 6], np.zeros(6)])
    e = explain(model, x, "exact_shapley")
    # The predictions, v(∅) once, 2³ − 2 and 2⁶ − 2 coalitions between; nothing for zeros.
    assert e.evaluations.forward == len(seen) == 3 + 1 + 6 + 62
    assert len(set(seen)) == len(seen) - 1, "zeros are a sample and the baseline"
    np.testing.assert_array_equal(e.values[0, 1::2], 0)
    np.testing.assert_array_equal(e.values[2], 0)
    alone = explain(smooth, x[:1, ::2].repeat(2, axis=0), "exact_shapley")
    assert alone.evaluations.forward == 2 + 1 + 12


def test_equal_rows_of_a_background_run_once():
    rng = np.random.default_rng(0)
    rows, x = rng.integers(0, 2, (20, 6)).astype(float), rng.integers(0, 2, (3, 6)).astype(float)
    model = np.vectorize(lambda *z: np.sin(np.arange(1, 7) @ z), signature="(),(),(),(),(),()->()")
    seen = []

    def counted(z):
        seen.append(len(z))
        return model(*z.T)

    e = explain(counted, x, "exact_shapley", background=rows)
    assert sum(seen) < 0.6 * 3 * 64 * 20
    # The definition, without any saving.
    masks = np.array(np.meshgrid(*[[0, 1]] * 6, indexing="ij")).reshape(6, -1).T.astype(bool)
    for sample, found in zip(x, e.values, strict=True):
        worth = {m.tobytes(): model(*np.where(m, sample, rows).T).mean() for m in masks}
        expected = [shapley_value(worth, masks, i) for i in range(6)]
        np.testing.assert_allclose(found, expected, atol=1e-6)


def shapley_value(worth, masks, player):
    from math import factorial

    total = 0.0
    for mask in masks[~masks[:, player]]:
        with_player = mask.copy()
        with_player[player] = True
        share = factorial(mask.sum()) * factorial(5 - mask.sum()) / factorial(6)
        total += share * (worth[with_player.tobytes()] - worth[mask.tobytes()])
    return total


@pytest.mark.parametrize(
    "features", [None, "grid:3", np.array([[0, 0, 1, 1]] * 3 + [[2, 2, -1, 3]])]
)
def test_equal_rows_of_images_run_once(features):
    """Three channels stand or fall together; some cells are as in the baseline."""
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 3))
    x[0, :, 2:] = 0
    spec = "grid:4" if features is None else features
    options = {"features": spec, "budget": 60}

    def model(z):
        return np.tanh(z).sum(axis=(1, 2, 3))

    e = explain(model, x, "kernel_shap", **options)
    alone = explain(model, x[1:], "kernel_shap", **options)
    np.testing.assert_allclose(alone.values[0], e.values[1], atol=1e-6)
    np.testing.assert_allclose(e.values[0, :, 3], 0, atol=1e-6)
    assert e.evaluations.forward < 2 * alone.evaluations.forward


def test_progress_counts_evaluations_up_to_what_was_expected():
    calls = []
    e = explain(smooth, X, "exact_shapley", progress=lambda *c: calls.append(c), batch_size=8)
    expected = len(X) * (1 + 2**5 - 2) + len(X)
    assert {total for _, total in calls} == {expected}
    done = [d for d, _ in calls]
    assert done == sorted(done)
    assert expected - len(X) <= done[-1] <= e.evaluations.forward <= expected
    assert e.provenance["expected_rows"] == expected


def test_a_bar_in_evaluations_with_the_time_left(capsys):
    explain(smooth, X, "kernel_shap", progress=True, budget=24, batch_size=4)
    captured = capsys.readouterr()
    assert not captured.out
    assert captured.err.startswith("\rkernel_shap |")
    assert captured.err.endswith("\n")
    assert "evaluations, " in captured.err
    explain(smooth, X, "kernel_shap", progress=False, budget=24)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(ModelError):
        explain(Failing(20, ValueError()), X, "kernel_shap", progress=True, budget=24)
    assert capsys.readouterr().err.endswith("\n")


def test_the_line_of_the_bar(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    out = io.StringIO()
    bar = ProgressBar("occlusion", out)
    bar.close()
    assert out.getvalue() == ""
    for seconds, done in ((10, 250), (10.01, 260), (20, 500)):
        now[0] = seconds
        bar(done, 1000)
    bar.close()
    lines = out.getvalue().split("\r")[1:]
    assert len(lines) == 2, "a tenth of a second between two looks"
    assert lines[0].rstrip().endswith("250 of 1,000 evaluations, 30 s left")
    assert lines[1].endswith("500 of 1,000 evaluations, 20 s left\n")
    assert [duration(s) for s in (0.4, 75, 7300)] == ["0 s", "1 min 15 s", "2 h 1 min"]


def test_a_tolerance_is_reached_or_said_not_to_be():
    rng = np.random.default_rng(3)
    one, two = rng.normal(size=(12, 32)), rng.normal(size=32)
    x = rng.normal(size=(5, 12))
    x[0, 4:] = 0  # as in the baseline: fewer coalitions tell all

    def net(z):
        return np.maximum(z @ one, 0) @ two

    def reached(e):
        values, errors = e.extras["unit_values"], e.extras["unit_stderr"]
        return errors.max(axis=1) / np.abs(values).max(axis=1)

    for method in ("kernel_shap", "permutation_shap", "partition_shap"):
        e = explain(net, x, method, tolerance=0.05, budget=2000)
        late = reached(e) > 0.05
        assert e.extras["coalitions"].max() <= 2000
        said = [w for w in e.warnings if w.startswith("not converged")]
        assert bool(said) == late.any(), method
        if said:
            assert str(np.flatnonzero(late).tolist()) in said[0]
        spent = e.extras["coalitions"]
        assert not late[spent < spent.max()].any(), "who stopped early is there"
        hard = explain(net, x, method, tolerance=1e-12, budget=64)
        assert any(w.startswith("not converged") for w in hard.warnings), method
    kernel = explain(net, x, "kernel_shap", tolerance=0.05, budget=4096)
    assert kernel.extras["coalitions"].max() < 4096
    assert not kernel.warnings
    truth = explain(net, x, "exact_shapley").values
    off = np.abs(kernel.values - truth).max(axis=1) / np.abs(truth).max(axis=1)
    assert off.max() < 4 * 0.05
    alone = explain(net, x[2:3], "kernel_shap", tolerance=0.05, budget=4096)
    np.testing.assert_allclose(alone.values[0], kernel.values[2], atol=1e-6)


def test_the_order_of_the_top_features_settles():
    weights = np.array([8.0, 4, 2, 1, 1, 1, 1, 1, 1, 1])
    x = np.ones((2, 10))

    def nearly_linear(z):
        return z @ weights + 0.2 * np.sin(z.sum(axis=1))

    e = explain(nearly_linear, x, "kernel_shap", top=3, budget=1024)
    assert (e.extras["coalitions"] < 200).all()
    assert [name for name, *_ in e.top(3)] == ["feature 0", "feature 1", "feature 2"]
    assert not e.warnings
    ties = explain(nearly_linear, x, "kernel_shap", top=5, budget=200)
    assert any("order of their top features" in w for w in ties.warnings)


@pytest.mark.parametrize("bad", [{"tolerance": 0.0}, {"tolerance": -1}, {"top": 0}, {"top": 1.5}])
def test_precisions_that_cannot_be(bad):
    for method in ("kernel_shap", "permutation_shap", "partition_shap"):
        with pytest.raises(MethodError, match=r"tolerance above 0|top to be a whole number"):
            explain(smooth, X, method, **bad)


MEASURED = """
import sys, tracemalloc
import numpy as np
from pellucid import explain

def model(z):
    return z[:, 0] * z[:, 1] + z[:, 2] - z[:, 3]

def peak(count):
    x = np.random.default_rng(0).normal(size=(count, 4))
    kept = explain(model, x, "kernel_shap", budget=16, batch_size=2000)
    del kept
    tracemalloc.start()
    e = explain(model, x, "kernel_shap", budget=16, batch_size=2000)
    held, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most - held, held

few, many = peak(10_000), peak(100_000)
print(few[0] / 2**20, many[0] / 2**20, few[1] / 2**20, many[1] / 2**20)
"""


def test_a_hundred_thousand_rows_stream():
    """What is held beyond the result grows by less than the rows: 16 coalitions a row."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    few, many, result_few, result_many = map(float, done.stdout.split())
    sys.stderr.write(
        f"beyond the result: {few:.1f} MiB for 10 000 rows, {many:.1f} for 100 000;"
        f" results {result_few:.1f} and {result_many:.1f}\n"
    )
    # All rows of all coalitions at once would be 16 · 100 000 · 4 · 8 bytes = 49 MiB.
    assert many < 4 * max(few, 5)
