"""Several methods on one model: what is kept, what is made anew, and what cannot be made."""

import re

import keras
import numpy as np
import pandas
import pytest
import torch

from pellucid import Comparison, Explainer, explain, register_method, wrap
from pellucid.errors import CapabilityError, InputError, LayerError, MethodError, TargetError
from pellucid.methods import registry
from pellucid.testing import build


@pytest.fixture
def forget():
    """Names that are registered in a test are gone after it."""
    before = dict(registry._REGISTERED)
    yield
    registry._REGISTERED.clear()
    registry._REGISTERED.update(before)


def counted(model: torch.nn.Module) -> list[int]:
    runs: list[int] = []
    model.register_forward_hook(lambda module, args, out: runs.append(len(args[0])))
    return runs


# The cache


def test_the_same_question_is_answered_once():
    net, x = build("dense", "torch")
    runs = counted(net)
    explainer = Explainer(net, ["integrated_gradients", "occlusion"], seed=2)
    first = explainer.explain(x)
    assert first.method == "integrated_gradients"
    done = len(runs)
    assert explainer.explain(x) is first
    assert explainer.explain(x.copy(), "integrated_gradients", target=None) is first
    assert explainer.explain(torch.from_numpy(x)) is first
    assert explainer.explain(x, batch_size=3, progress=lambda a, b: None) is first
    assert explainer.compare(x)["integrated_gradients"] is first
    assert len([r for r in runs[done:] if r == 5]) >= 1, "occlusion ran"
    done = len(runs)
    explainer.compare(x)
    assert len(runs) == done


@pytest.mark.parametrize(
    "change",
    [
        {"target": 1},
        {"target": [0, 1, 2, 0, 1]},
        {"target": (0, 1)},
        {"method": "occlusion"},
        {"method": "integrated_gradients", "steps": 5},
        {"baseline": 0.5},
        {"baseline": np.full(6, 0.25)},
        {"seed": 7},
        {"tolerance": 0.1},
    ],
    ids=str,
)
def test_another_question_is_answered_anew(change):
    net, x = build("dense", "torch")
    explainer = Explainer(net)
    first = explainer.explain(x)
    other = explainer.explain(x, **change)
    assert other is not first
    assert explainer.explain(x, **change) is other


def test_a_pair_is_not_a_list_of_two():
    """(0, 1): why 0 rather than 1; [0, 1]: class 0 for the first sample, 1 for the second."""
    net, x = build("dense", "torch")
    explainer = Explainer(net, ["saliency"])
    pair = explainer.explain(x[:2], target=(0, 1))
    listed = explainer.explain(x[:2], target=[0, 1])
    assert np.array_equal(pair.target, [[0, 1], [0, 1]])
    assert np.array_equal(listed.target, [0, 1])


def test_one_input_is_not_a_batch_of_one():
    net, x = build("dense", "torch")
    explainer = Explainer(net, ["saliency"])
    assert explainer.explain(x[:1]).values.shape == (1, 6)
    assert explainer.explain(x[0]).values.shape == (6,)


def test_a_dict_is_not_a_tuple():
    net, x = build("shared", "torch")
    explainer = Explainer(net, ["saliency"])
    assert isinstance(explainer.explain(x).values, tuple)
    assert isinstance(explainer.explain({"left": x[0], "right": x[1]}).values, dict)


def test_other_inputs_and_inputs_that_were_changed():
    net, x = build("dense", "torch")
    explainer = Explainer(net, ["saliency"])
    first = explainer.explain(x)
    kept = first.inputs.copy()
    x[0, 0] += 1
    other = explainer.explain(x)
    assert other is not first
    assert np.array_equal(first.inputs, kept), "what is kept does not change with the array"
    x[0, 0] -= 1
    assert np.array_equal(explainer.explain(x).inputs, x)


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_a_model_that_was_trained_is_explained_anew(framework):
    model, x = build("dense", framework)
    explainer = Explainer(model, ["saliency"])
    first = explainer.explain(x, target=1)
    assert explainer.explain(x, target=1) is first
    if framework == "torch":
        torch.nn.functional.cross_entropy(
            model(torch.from_numpy(x)), torch.tensor([0, 1, 2, 0, 1])
        ).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.5 * p.grad
    else:
        model.compile(keras.optimizers.SGD(0.5), "mse")
        model.fit(x, np.eye(3)[[0, 1, 2, 0, 1]], verbose=0)
    second = explainer.explain(x, target=1)
    assert second is not first
    assert np.abs(second.values - first.values).max() > 1e-4
    assert np.array_equal(second.values, explain(model, x, "saliency", target=1).values)
    assert second.provenance["fingerprint"] != first.provenance["fingerprint"]


@pytest.mark.usefixtures("forget")
def test_what_has_no_content_is_not_kept():
    """Functions: two lambdas may have one name and do different things."""
    net, x = build("dense", "torch")
    register_method("applied")(lambda model, x, target, f=None: f(x))
    explainer = Explainer(net, ["applied"])
    one = explainer.explain(x, f=lambda a: a)
    other = explainer.explain(x, f=lambda a: 2 * a)
    np.testing.assert_allclose(other.values, 2 * one.values)
    by_target = Explainer(net, ["saliency"])
    one = by_target.explain(x, target=lambda out: out[:, 0])
    other = by_target.explain(x, target=lambda out: out[:, 1])
    assert not np.array_equal(one.values, other.values)


@pytest.mark.usefixtures("forget")
def test_a_method_that_was_registered_again_is_asked_again():
    net, x = build("dense", "torch")
    register_method("mine")(lambda model, x, target: x)
    explainer = Explainer(net, ["mine"])
    one = explainer.explain(x)
    register_method("mine")(lambda model, x, target: 3 * x)
    np.testing.assert_allclose(explainer.explain(x).values, 3 * one.values)


def test_parameters_that_mean_the_same():
    net, x = build("dense", "torch")
    explainer = Explainer(net, ["occlusion"])
    one = explainer.explain(x, baseline=np.zeros(6), window=np.int64(2))
    assert explainer.explain(x, window=2, baseline=np.zeros(6)) is one
    assert explainer.explain(x, window=2, baseline=np.zeros(6, np.float32)) is not one


@pytest.mark.parametrize("size", [0, 1, 2])
def test_the_cache_holds_the_last_few(size):
    net, x = build("dense", "torch")
    explainer = Explainer(net, ["saliency"], cache_size=size)
    made = [explainer.explain(x, target=k) for k in range(3)]
    assert len(explainer._cache) == size
    kept = [explainer.explain(x, target=k) is made[k] for k in reversed(range(3))]
    assert kept == [True] * size + [False] * (3 - size)


def test_what_was_asked_for_lately_stays():
    net, x = build("dense", "torch")
    explainer = Explainer(net, ["saliency"], cache_size=2)
    first = explainer.explain(x, target=0)
    explainer.explain(x, target=1)
    explainer.explain(x, target=0)
    explainer.explain(x, target=2)
    assert explainer.explain(x, target=0) is first


# How it is made


def test_defaults_and_a_method_s_own_parameters():
    net, x = build("dense", "torch")
    explainer = Explainer(
        net, ["saliency", ("occlusion", {"window": 2, "baseline": 0.5})], seed=4, target=1
    )
    found = explainer.compare(x)
    assert {e.seed for e in found.explanations.values()} == {4}
    assert found["occlusion"].parameters["window"] == 2
    assert set(found["saliency"].target) == {1}, "a target for every call"
    assert set(explainer.compare(x, target=2)["saliency"].target) == {2}
    assert explainer.explain(x, "occlusion", window=3).parameters["window"] == 3
    assert explainer.explain(x, "random").method == "random", "also one that was not listed"


def test_a_single_name_is_a_list_of_one():
    net, x = build("dense", "torch")
    assert list(Explainer(net, "saliency").compare(x)) == ["saliency"]
    assert list(Explainer(wrap(net)).methods) == ["integrated_gradients", "occlusion"]


@pytest.mark.parametrize(
    ("methods", "error", "message"),
    [
        (["saliency", "lrpp"], MethodError, "No method 'lrpp'"),
        (["salency"], MethodError, "'saliency'"),
        ([("occlusion", {"widow": 3})], MethodError, "no parameter 'widow'.*'window'"),
        ([("smoothgrad", {"samples": 1})], MethodError, "at least 2"),
        ([], InputError, "at least one method"),
        ([("occlusion",)], InputError, "name or a pair"),
        ([("occlusion", 3)], InputError, "name or a pair"),
        ([3], InputError, "name or a pair"),
        ([("occlusion", {"window": 2}), ("occlusion", {"window": 3})], InputError, "listed twice"),
    ],
    ids=str,
)
def test_methods_that_cannot_be_are_refused_at_once(methods, error, message):
    net, _ = build("dense", "torch")
    with pytest.raises(error, match=message):
        Explainer(net, methods)


def test_defaults_that_no_method_takes_are_refused_at_once():
    net, _ = build("cnn", "torch")
    with pytest.raises(MethodError, match=r"saliency, occlusion takes the parameter 'sede'"):
        Explainer(net, ["saliency", "occlusion"], sede=1)
    with pytest.raises(MethodError, match="'method'"):
        Explainer(net, ["saliency"], method="occlusion")
    Explainer(net, ["saliency", "occlusion"], window=3, seed=1, batch_size=2, progress=print)


@pytest.mark.parametrize("size", [-1, 2.5, None, "8", True])
def test_cache_sizes_that_are_none(size):
    with pytest.raises(InputError, match="cache_size to be 0 or more"):
        Explainer(build("dense", "torch")[0], cache_size=size)


# Comparing


def test_a_baseline_that_fits_no_category_is_its_method_s_failure():
    frame = pandas.DataFrame({"age": [20.0, 40.0, 60.0], "city": ["Oslo", "Rome", "Oslo"]})
    model = lambda t: np.stack([t["age"] / 60, t["city"] == "Oslo"], axis=1)  # noqa: E731
    found = Explainer(model, ["random", ("occlusion", {"baseline": "zeros"})]).compare(frame)
    assert list(found) == ["random"], found.failures
    assert "'city' holds categories" in found.failures["occlusion"]
    with pytest.raises(InputError, match="occlusion: The column 'city' holds categories"):
        Explainer(model, [("occlusion", {"baseline": "zeros"})]).compare(frame)


def test_a_method_that_cannot_run_is_named_and_the_others_are_kept():
    function, x = build("dense", "numpy")
    explainer = Explainer(function, ["saliency", "occlusion", "gradcam", "random"])
    found = explainer.compare(x)
    assert list(found) == ["occlusion", "random"]
    assert set(found.failures) == {"saliency", "gradcam"}
    assert "occlusion works on it" in found.failures["saliency"]
    assert "saliency failed: saliency needs gradients" in str(found)
    assert len(found) == 2
    assert "occlusion" in found


def test_a_layer_and_a_kind_of_input_that_do_not_fit():
    net, x = build("cnn", "torch")
    found = Explainer(net, [("gradcam", {"layer": "conv9"}), "saliency"]).compare(x)
    assert list(found) == ["saliency"]
    assert "conv1" in found.failures["gradcam"]
    net, x = build("dense", "torch")
    found = Explainer(net, ["gradcam", "saliency"]).compare(x)
    assert "image" in found.failures["gradcam"]
    with pytest.raises(LayerError):
        Explainer(build("cnn", "torch")[0], [("gradcam", {"layer": "conv9"})]).explain(
            build("cnn", "torch")[1]
        )


def test_what_is_wrong_with_the_question_is_an_error():
    net, x = build("dense", "torch")
    explainer = Explainer(net, ["saliency", "random"])
    with pytest.raises(TargetError):
        explainer.compare(x, target=9)
    with pytest.raises(InputError, match="NaN") as raised:
        explainer.compare(np.full((2, 6), np.nan))
    assert "saliency" not in str(raised.value)


@pytest.mark.usefixtures("forget")
def test_rank_correlation():
    maps = {
        "up": lambda x: np.arange(x.size, dtype=float).reshape(x.shape),
        "squared": lambda x: np.arange(x.size, dtype=float).reshape(x.shape) ** 2,
        "down": lambda x: -np.arange(x.size, dtype=float).reshape(x.shape),
        "flat": lambda x: np.ones(x.shape),
    }
    for name, made in maps.items():
        register_method(name)(lambda model, x, target, made=made: made(x[:1]))
    net, x = build("dense", "torch")
    names, matrix = Explainer(net, list(maps)).compare(x[:1]).correlation()
    assert names == list(maps)
    np.testing.assert_allclose(matrix[:3, :3], [[1, 1, -1], [1, 1, -1], [-1, -1, 1]], atol=1e-12)
    assert np.isnan(matrix[3]).all(), "a constant map has no ranks"


def test_rank_correlation_equals_scipy_s_definition_with_ties():
    net, x = build("dense", "torch")
    found = Explainer(net, ["saliency", ("occlusion", {"window": 2, "stride": 2})]).compare(x)
    assert len(np.unique(found["occlusion"].values[2])) < 6, "windows make ties"

    def ranks(a):
        return np.array([(a < v).sum() + ((a == v).sum() + 1) / 2 for v in a])

    one, other = (ranks(found[n].values[2]) for n in ("saliency", "occlusion"))
    np.testing.assert_allclose(found.correlation(2)[1][0, 1], np.corrcoef(one, other)[0, 1])


def test_maps_with_and_without_channels_are_compared():
    net, x = build("cnn", "torch")
    found = Explainer(net, ["saliency", ("gradcam", {"layer": "relu#2"}), "edges"]).compare(x)
    names, matrix = found.correlation(1)
    assert names == ["saliency", "gradcam", "edges"]
    assert matrix.shape == (3, 3)
    np.testing.assert_allclose(np.diag(matrix), 1)
    np.testing.assert_allclose(matrix, matrix.T)
    alone = Explainer(net, ["saliency"]).compare(x).correlation()
    assert alone[1].shape == (1, 1)
    assert Comparison({}, {}).correlation()[1].shape == (0, 0)


def test_the_table_has_a_row_a_method():
    net, x = build("dense", "torch")
    found = Explainer(
        net, ["integrated_gradients", ("smoothgrad", {"samples": 3}), "saliency"]
    ).compare(x)
    rows = {row["method"]: row for row in found.table()}
    assert list(rows) == ["integrated_gradients", "smoothgrad", "saliency"]
    assert rows["integrated_gradients"]["gap"] == float(found["integrated_gradients"].gap.max())
    assert rows["smoothgrad"]["stderr"] == pytest.approx(found["smoothgrad"].stderr.mean())
    assert rows["saliency"]["gap"] is None
    assert rows["saliency"]["stderr"] is None
    assert (rows["smoothgrad"]["forward"], rows["smoothgrad"]["backward"]) == (20, 15)
    assert all(row["seconds"] > 0 for row in rows.values())
    assert str(found).count("\n") == 2 + sum(len(row["warnings"]) for row in rows.values())
    assert repr(found) == str(found)


# Pictures


def test_every_picture_that_is_named_is_there(tmp_path):
    net, x = build("cnn", "torch")
    explainer = Explainer(
        wrap(net, class_names=["a/b", "c<d>", "e"]), ["saliency", "gradcam", "occlusion"],
    )  # fmt: skip
    files = explainer.visualize_all(x[:2], tmp_path / "new" / "folder")
    assert files[0].name == "report.html"
    assert len(files) == len(set(files)) == 1 + 2 * 3
    assert all(f.is_file() and f.stat().st_size > 500 for f in files)
    assert all(f.read_bytes()[:4] == b"\x89PNG" for f in files[1:])
    page = files[0].read_text()
    assert "c<d>" not in page
    assert not re.search(r'(src|href)="(https?:)?//', page)


def test_pictures_of_what_worked_and_words_for_what_did_not(tmp_path):
    function, x = build("dense", "numpy")
    files = Explainer(function, ["saliency", "occlusion"]).visualize_all(x[:1], str(tmp_path))
    assert len(files) == 2
    assert "saliency failed" in files[0].read_text()
    with pytest.raises(CapabilityError, match=r"None of the methods.*\n.*saliency:"):
        Explainer(function, ["saliency"]).visualize_all(x, tmp_path / "none")
    assert not (tmp_path / "none").exists()
