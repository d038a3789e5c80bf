"""The result: its labels, what it is on disk, what it says of itself."""

import dataclasses
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from explanations import make_explanation, table_explanation

import pellucid
from pellucid import Explanation, explain, store, wrap
from pellucid.errors import InputError, LoadError
from pellucid.methods import registry
from pellucid.methods.base import Attribution
from pellucid.testing import build

NAMES = ("lynx", "tabby", "tiger cat")
HOSTILE = "<script>alert(1)</script>\"'{{ 7*7 }}"


@pytest.fixture
def forget():
    """Names that are registered in a test are gone after it."""
    before = dict(registry._REGISTERED)
    yield
    registry._REGISTERED.clear()
    registry._REGISTERED.update(before)


def image(framework: str, method: str = "saliency", **options) -> Explanation:
    model, x = build("cnn", framework)
    return explain(wrap(model, class_names=NAMES), x, method, **options)


def table(method: str = "integrated_gradients", **options) -> Explanation:
    net, x = build("dense", "torch")
    names = ["age", "height", "weight", "größe", "a b", ""]
    return explain(wrap(net, class_names=NAMES, feature_names=names), x, method, **options)


def two(method: str = "integrated_gradients", **options) -> Explanation:
    net, x = build("two_inputs", "torch")
    given = {"image": x[0], "table": x[1]}
    return explain(wrap(net, feature_names=list("abcde")), given, method, **options)


# The fields


def test_it_cannot_be_changed():
    e = table()
    with pytest.raises(dataclasses.FrozenInstanceError):
        e.score = np.zeros(5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        e.parts[0].values = np.zeros(5)
    with pytest.raises(AttributeError):
        e.values = np.zeros(5)


def test_the_fields_that_the_contract_promises():
    net, x = build("dense_softmax", "torch")
    e = explain(wrap(net, class_names=NAMES), x, "integrated_gradients", steps=7, seed=3)
    outputs = net(torch.from_numpy(x)).detach().numpy()
    assert e.values.dtype == np.float32
    assert e.values.shape == x.shape
    assert np.array_equal(e.target, outputs.argmax(1))
    assert np.array_equal(e.prediction, outputs.argmax(1))
    assert e.prediction_names == tuple(NAMES[i] for i in e.prediction)
    assert e.explained == "logit"
    np.testing.assert_allclose(e.probabilities, outputs, rtol=1e-5)
    np.testing.assert_allclose(e.score, e.outputs.max(1))
    shares = np.exp(e.outputs) / np.exp(e.outputs).sum(1, keepdims=True)
    np.testing.assert_allclose(shares, outputs, rtol=1e-4)
    assert e.gap.shape == e.baseline_score.shape == (5,)
    assert e.stderr is None
    assert e.evaluations == (5 + 35 + 1, 35, 0)
    assert (e.method, e.seed, e.parameters["steps"]) == ("integrated_gradients", 3, 7)
    assert e.parameters["baseline"] == "zeros"
    assert e.seconds > 0
    versions = e.provenance["versions"]
    assert versions["pellucid"] == pellucid.__version__
    assert versions["torch"].startswith(torch.__version__.split("+")[0])
    assert e.provenance["fingerprint"] == wrap(net).fingerprint()
    assert e.provenance["created"][:4].isdigit()


def test_what_a_probability_is():
    net, x = build("dense_softmax", "torch")
    e = explain(wrap(net, output="probability"), x, "saliency")
    assert e.explained == "probability"
    np.testing.assert_allclose(e.score, net(torch.from_numpy(x)).detach().numpy().max(1), rtol=1e-5)
    np.testing.assert_allclose(e.probabilities, e.outputs)
    net, x = build("dense", "torch")
    assert explain(net, x, "saliency").explained == "output"


def test_a_plain_function_s_user_is_believed():
    """Nobody can look into it: output="probability" says what it returns."""

    def chance(a):
        return 1 / (1 + np.exp(-a.sum(axis=1)))

    x = np.array([[-1.0, -1.0], [2.0, 1.0]])
    model = wrap(chance, output="probability", class_names=["no", "yes"])
    e = explain(model, x, "occlusion", target="no")
    assert e.explained == "probability"
    assert e.prediction_names == ("no", "yes")
    np.testing.assert_allclose(e.score, 1 - chance(x), rtol=1e-6)
    assert explain(chance, x, "occlusion").explained == "output"


def test_sampling_methods_have_a_standard_error():
    e = image("torch", "smoothgrad", samples=4)
    assert e.stderr.shape == e.values.shape
    assert (e.stderr >= 0).all()
    assert e.gap is None
    assert e.baseline is None
    assert e.evaluations == (5 + 20, 20, 0)


def test_the_gap_is_what_it_is_defined_as():
    """|Σ values − (score − baseline_score)| / |score − baseline_score|, on a map that is off."""
    model = wrap(lambda a: a[:, 0] * a[:, 0] * a[:, 1], framework="torch")
    x = np.array([[2.0, 1.0], [1.0, 3.0], [-1.0, 0.5]], dtype=np.float32)
    e = explain(model, x, "integrated_gradients", steps=1, baseline=0.25)
    difference = e.score.astype(float) - e.baseline_score
    expected = np.abs(e.values.sum(1) - difference) / np.abs(difference)
    np.testing.assert_allclose(e.gap, expected, rtol=1e-5)
    assert (e.gap > 0.05).all()
    np.testing.assert_allclose(e.baseline_score, 0.25**3, rtol=1e-6)
    for method in ("saliency", "occlusion", "random", "edges"):
        assert explain(model, x, method).gap is None


def test_a_gap_where_nothing_is_to_be_explained():
    """f(x) = f(x'): no division by zero, and no gap where the map is zero too."""
    model = wrap(lambda a: a.sum(1) * 0 + 3, framework="torch")
    e = explain(model, np.ones((2, 3), np.float32), "integrated_gradients", steps=2)
    assert np.array_equal(e.gap, [0, 0])
    model = wrap(lambda a: a[:, 0] ** 2 - a[:, 0], framework="torch")
    e = explain(model, np.ones((1, 2), np.float32), "integrated_gradients", steps=2)
    assert e.gap[0] < 1


@pytest.mark.parametrize("method", ["saliency", "occlusion", "gradient_x_input"])
def test_maps_that_are_zero_everywhere_are_warned_of(method):
    model = wrap(lambda a: torch.relu(a).sum(1), framework="torch")
    x = np.array([[1.0, 2], [-1, -2], [0.5, -1], [-3, -1]], dtype=np.float32)
    e = explain(model, x, method)
    assert len(e.warnings) == 1
    assert "sample(s) [1, 3] is zero everywhere" in e.warnings[0]
    assert "warning: " in str(e)
    assert "does not react" in e.warnings[0]
    assert not explain(model, np.zeros((1, 2), np.float32), "constant").warnings


def test_zeros_that_come_from_the_baseline_or_a_cut_off_say_so():
    x = np.array([[1.0, 2], [0, 0]], dtype=np.float32)
    for method in ("occlusion", "integrated_gradients"):
        (word,) = explain(wrap(lambda a: a.sum(1), framework="torch"), x, method).warnings
        assert "sample(s) [1] is zero everywhere: the baseline is the input itself" in word

    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 1, 1, bias=False), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(16, 1, bias=False),
    )  # fmt: skip
    for weight, value in zip(net.parameters(), (1.0, -1.0), strict=True):
        torch.nn.init.constant_(weight, value)
    pixels = np.stack([np.ones((1, 4, 4)), np.zeros((1, 4, 4))]).astype(np.float32)
    against, dead = explain(net, pixels, "gradcam").warnings
    assert "[0] is zero everywhere: all the evidence speaks against" in against
    assert "relu=False shows it" in against
    assert "[1] is zero everywhere: the explained score does not react" in dead
    assert (explain(net, pixels, "gradcam", relu=False).values[0] < 0).all()


def test_repr_is_short():
    e = table("saliency")
    assert repr(e) == str(e)
    assert len(repr(e)) < 300
    assert repr(e.parts[0]).startswith("<Part ")
    assert len(repr(e.parts[0])) < 100


def test_save_replaces_explanations_and_nothing_else(tmp_path):
    e, other = table("saliency"), table("occlusion")
    for name in ("e.zarr", "e.zarr.zip"):
        e.save(tmp_path / name)
        other.save(tmp_path / name)
        assert Explanation.load(tmp_path / name).method == "occlusion"
    mine = tmp_path / "mine.zarr"
    mine.mkdir()
    e.save(mine)  # an empty folder is nothing to lose
    data = tmp_path / "data.zarr"
    data.mkdir()
    (data / ".zattrs").write_text('{"units": "K"}')
    file = tmp_path / "data.zarr.zip"
    file.write_bytes(b"something else")
    for path in (data, file):
        with pytest.raises(LoadError, match="was not saved by pellucid, so it is left alone"):
            e.save(path)
    assert (data / ".zattrs").read_text() == '{"units": "K"}'
    assert file.read_bytes() == b"something else"


# One sample of several


def test_a_sample_and_a_slice():
    e = table("smoothgrad", samples=3)
    for rows, index in (
        (2, [2]), (-1, [4]), (slice(1, 3), [1, 2]), ([0, 3], [0, 3]),
        (np.array([True, False, False, True, True]), [0, 3, 4]), (slice(None, None, 2), [0, 2, 4]),
        (np.int64(1), [1]), (np.array(4), [4]),
    ):  # fmt: skip
        part = e[rows]
        assert len(part) == len(index)
        assert np.array_equal(part.values, e.values[index])
        assert np.array_equal(part.stderr, e.stderr[index])
        assert np.array_equal(part.score, e.score[index])
        assert np.array_equal(part.outputs, e.outputs[index])
        assert part.target_names == tuple(e.target_names[i] for i in index)
        assert np.array_equal(part.data["values"], e.values[index])
        assert (part.method, part.parameters) == (e.method, e.parameters)
    assert [s.score[0] for s in e] == list(e.score), "it can be walked through"


def test_a_slice_keeps_what_belongs_to_all():
    e = image("torch", "gradcam", layer="relu#2")
    assert e[1].extras["grid"].shape == (1, *e.extras["grid"].shape[1:])
    pairs = table("saliency", target=[(0, 1), (1, 2), (2, 0), (0, 2), (2, 1)])
    assert np.array_equal(pairs[2:4].target, [[2, 0], [0, 2]])
    parts = two()
    assert [p.values.shape[0] for p in parts[1:4].parts] == [3, 3]


@pytest.mark.parametrize("rows", [5, -6, slice(5, 9), [], [7], np.zeros(5, dtype=bool)])
def test_samples_that_are_not_there(rows):
    e = table()
    with pytest.raises(IndexError):
        e[rows]


# Labels


def test_a_channels_last_image_by_name():
    data = image("keras", "integrated_gradients", steps=2, baseline=0.5).data
    assert data["values"].dims == ("sample", "height", "width", "channel")
    assert data["baseline"].dims == data["inputs"].dims == data["values"].dims
    assert dict(data.sizes) == {"sample": 5, "height": 12, "width": 10, "channel": 3, "class": 3}
    assert list(data["class_name"].values) == list(NAMES)
    assert data["outputs"].dims == ("sample", "class")
    assert data["score"].dims == data["gap"].dims == data["target"].dims == ("sample",)
    tabby = data["outputs"].swap_dims({"class": "class_name"}).sel(class_name="tabby")
    assert np.array_equal(tabby, data["outputs"][:, 1])


def test_a_channels_first_image_by_name():
    e = image("torch")
    assert e.data["values"].dims == ("sample", "channel", "height", "width")
    summed = e.data["values"].sum("channel")
    np.testing.assert_allclose(summed, e.values.sum(1), rtol=1e-5, atol=1e-6)
    assert e.data is e.data, "made once"


def test_maps_without_channels_and_the_layer_s_own_grid():
    data = image("torch", "gradcam", layer="relu#2").data
    assert data["values"].dims == ("sample", "height", "width")
    assert data["inputs"].dims == ("sample", "channel", "height", "width")
    assert data["extra:grid"].dims[0] == "sample"
    assert data["extra:grid"].shape == (5, 6, 5)


def test_a_table_by_name():
    data = table().data
    assert data["values"].dims == ("sample", "feature")
    assert list(data["feature_name"].values) == ["age", "height", "weight", "größe", "a b", ""]
    by_name = data["values"].swap_dims({"feature": "feature_name"})
    assert np.array_equal(by_name.sel(feature_name="größe"), data["values"][:, 3])
    assert list(data["target_name"].values) == list(table().target_names)


def test_two_inputs_by_name():
    e = two()
    assert e.data["values:image"].shape == (5, 3, 8, 6)
    assert e.data["values:table"].shape == (5, 5)
    assert list(e.data["feature_name:table"].values) == list("abcde")
    assert np.array_equal(e.data["values:table"], e.values["table"])
    shared = set(e.data["values:image"].dims) & set(e.data["values:table"].dims)
    assert shared == {"sample"}


def test_pairs_have_an_axis_of_their_own():
    e = table("saliency", target=(2, 0))
    assert e.data["target"].shape == (5, 2)
    assert np.array_equal(e.data["target"], [[2, 0]] * 5)


# On disk


def assert_equal(one: Explanation, other: Explanation) -> None:
    """Equal in every field, array types included."""

    def same(a, b, where):
        if isinstance(a, np.ndarray):
            assert isinstance(b, np.ndarray), where
            assert a.dtype == b.dtype, where
            assert np.array_equal(a, b), where
        elif dataclasses.is_dataclass(a):
            assert type(a) is type(b), where
            for f in dataclasses.fields(a):
                same(getattr(a, f.name), getattr(b, f.name), f"{where}.{f.name}")
        elif isinstance(a, tuple) and a and dataclasses.is_dataclass(a[0]):
            assert len(a) == len(b), where
            for i, (p, q) in enumerate(zip(a, b, strict=True)):
                same(p, q, f"{where}[{i}]")
        elif isinstance(a, dict):
            assert list(a) == list(b), where
            for key in a:
                same(a[key], b[key], f"{where}[{key!r}]")
        else:
            assert type(a) is type(b), where
            assert a == b, where

    same(one, other, "explanation")


MADE = {
    "image": lambda: image("torch", "integrated_gradients", steps=2),
    "sampled": lambda: image("keras", "smoothgrad", samples=3, noise=0.1),
    "cam": lambda: image("torch", "gradcam", layer="relu#2"),
    "table": table,
    "two inputs": two,
    "pair": lambda: table("saliency", target=("lynx", "tabby")),
    "function": lambda: table("saliency", target=lambda out: out[:, 0]),
    "zero maps": lambda: explain(lambda a: a.sum(axis=1) * 0, np.ones((2, 3)), "occlusion"),
    "single": lambda: explain(build("cnn", "keras")[0], np.ones((12, 10, 3)), "edges"),
    "one output": lambda: explain(*build("sigmoid", "torch"), "occlusion", target=0),
    "a list": lambda: explain(build("shared", "keras")[0], list(build("shared", "keras")[1])),
    "numpy seed": lambda: explain(*build("dense", "torch"), "random", seed=np.int64(4)),
    "picture": lambda: explain(
        wrap(build("cnn", "keras")[0], preprocess=lambda p: p / 255.0),
        np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3), dtype=np.uint8),
        "saliency",
    ),
}


@pytest.mark.parametrize("suffix", [".zarr", ".zarr.zip"])
@pytest.mark.parametrize("name", list(MADE))
def test_saved_and_loaded_it_is_equal(name, suffix, tmp_path):
    e = MADE[name]()
    path = e.save(tmp_path / f"e{suffix}")
    assert path == tmp_path / f"e{suffix}"
    assert_equal(e, Explanation.load(path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "no litter"


def test_arrays_among_the_parameters_are_described(tmp_path):
    e = table(baseline=np.arange(30, dtype=np.float64).reshape(5, 6))
    loaded = Explanation.load(e.save(tmp_path / "e.zarr"))
    assert loaded.parameters["baseline"] == "array of shape (5, 6), float64"
    assert np.array_equal(loaded.baseline, e.baseline)


def test_names_that_are_awkward(tmp_path):
    e = table_explanation(
        [[1.0, 2.0]],
        feature_names=("a/b", HOSTILE),
        target_names=("snow ❄ 豹" * 40,),
        prediction_names=("",),
        class_names=("x", HOSTILE),
        warnings=("50 % of 'it'\n",),
    )
    for suffix in (".zarr", ".zarr.zip"):
        loaded = Explanation.load(e.save(tmp_path / f"e{suffix}"))
        assert loaded.parts[0].feature_names == ("a/b", HOSTILE)
        assert loaded.target_names == ("snow ❄ 豹" * 40,)
        assert loaded.prediction_names == ("",)
        assert loaded.warnings == e.warnings


def test_input_names_that_are_awkward(tmp_path):
    x = {"left/right": np.ones((2, 3)), "..": np.ones((2, 2)), "a b:c": np.ones((2, 2))}
    e = explain(lambda d: sum(v.sum(axis=1) for v in d.values()), x, "occlusion")
    for suffix in (".zarr", ".zarr.zip"):
        loaded = Explanation.load(e.save(tmp_path / f"e{suffix}"))
        assert list(loaded.values) == list(x)
        assert all(np.array_equal(loaded.values[k], e.values[k]) for k in x)


def test_paths_as_text_and_folders_that_are_missing(tmp_path):
    e = table()
    path = e.save(str(tmp_path / "deep" / "down" / "e.zarr"))
    assert isinstance(path, Path)
    assert_equal(e, Explanation.load(str(path)))
    current = Path.cwd()
    os.chdir(tmp_path)
    try:
        e.save("here.zarr.zip")
        assert_equal(e, Explanation.load("here.zarr.zip"))
    finally:
        os.chdir(current)


@pytest.mark.parametrize("suffix", [".zarr", ".zarr.zip"])
def test_an_older_result_is_replaced_whole(suffix, tmp_path):
    path = tmp_path / f"e{suffix}"
    two().save(path)
    e = table("saliency")
    e.save(path)
    loaded = Explanation.load(path)
    assert_equal(e, loaded)
    assert "values:image" not in loaded.data


@pytest.mark.parametrize("suffix", [".zarr", ".zarr.zip"])
@pytest.mark.parametrize("place", ["_write", "_zip", "rename", "replace"])
def test_a_save_that_dies_leaves_the_old_result_whole(suffix, place, tmp_path, monkeypatch):
    path = tmp_path / f"e{suffix}"
    old = table("saliency")
    old.save(path)

    def die(*args, **kwargs):
        raise OSError("disk full")

    if place in {"rename", "replace"}:
        original = getattr(Path, place)
        monkeypatch.setattr(
            Path,
            place,
            lambda self, to: die() if self.name.startswith("explanation") else original(self, to),
        )
    else:
        monkeypatch.setattr(store, place, die)
    dies = place != ("_zip" if suffix == ".zarr" else "rename") and not (
        suffix == ".zarr" and place == "replace"
    )
    if dies:
        with pytest.raises(LoadError, match="disk full"):
            table("occlusion").save(path)
    else:
        table("saliency").save(path)
    monkeypatch.undo()
    assert Explanation.load(path).method == "saliency"
    assert np.array_equal(Explanation.load(path).values, old.values)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["e", "e.zip", "e.pkl", "e.zarr.gz", "zarr", "e.ZARR"])
def test_suffixes_that_are_wrong(name, tmp_path):
    with pytest.raises(LoadError, match=r"\.zarr or \.zarr\.zip, got"):
        table().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_nothing_is_pickled(tmp_path):
    path = two().save(tmp_path / "e.zarr")
    for file in path.rglob("*"):
        if file.is_file() and file.name in {".zarray", ".zattrs", ".zgroup", "zarr.json"}:
            text = json.dumps(json.loads(file.read_text())).lower()
            assert "pickle" not in text
            assert '"|o"' not in text.replace("\\", ""), f"{file}: an object array"
    with zipfile.ZipFile(two().save(tmp_path / "e.zarr.zip")) as archive:
        assert not any("pickle" in name for name in archive.namelist())


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["PELLUCID_TEST_BOMB"],)


def test_a_pickle_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setenv("PELLUCID_TEST_BOMB", str(tmp_path / "exploded"))
    path = tmp_path / "e.zarr.zip"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(LoadError, match="no explanation saved by pellucid, or it is damaged"):
        Explanation.load(path)
    assert not (tmp_path / "exploded").exists()


def test_files_that_are_no_results(tmp_path):
    with pytest.raises(LoadError, match=r"No file or folder .*gone\.zarr"):
        Explanation.load(tmp_path / "gone.zarr")
    (tmp_path / "empty.zarr").mkdir()
    (tmp_path / "empty.zarr.zip").write_bytes(b"")
    (tmp_path / "text.zarr").write_text("hello")
    for name in ("empty.zarr", "empty.zarr.zip", "text.zarr"):
        with pytest.raises(LoadError, match=r"damaged|no explanation"):
            Explanation.load(tmp_path / name)


def test_some_other_zarr(tmp_path):
    import xarray

    other = xarray.Dataset({"values": ("x", np.arange(3.0))})
    other.to_zarr(tmp_path / "other.zarr", consolidated=False, zarr_format=2)
    with pytest.raises(LoadError, match="header is missing"):
        Explanation.load(tmp_path / "other.zarr")
    for header in ({"format": "else"}, {"format": store.FORMAT, "version": 99}):
        other.attrs["pellucid"] = json.dumps(header)
        path = tmp_path / f"{header['format']}.zarr"
        other.to_zarr(path, consolidated=False, zarr_format=2)
        with pytest.raises(LoadError, match="up to version 1"):
            Explanation.load(path)
    other.attrs["pellucid"] = json.dumps({"format": store.FORMAT, "version": 1})
    other.to_zarr(tmp_path / "bare.zarr", consolidated=False, zarr_format=2)
    with pytest.raises(LoadError, match="damaged"):
        Explanation.load(tmp_path / "bare.zarr")


def test_a_truncated_zip_and_a_damaged_folder(tmp_path):
    path = table().save(tmp_path / "e.zarr.zip")
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(LoadError, match="damaged"):
            Explanation.load(path)
    folder = table().save(tmp_path / "e.zarr")
    for file in folder.glob("values/[0-9]*"):
        file.write_bytes(b"not what zarr wrote")
    with pytest.raises(LoadError, match="damaged"):
        Explanation.load(folder)


# Its features


def test_the_top_of_a_table():
    e = table_explanation(
        [[0.5, -2, 1, 0], [1, 1, -1, 1]], inputs=np.arange(8.0).reshape(2, 4),
        target_names=("cat", "dog"), feature_names=("age", "height", "weight", "size"),
    )  # fmt: skip
    assert e.top(2).rows == (("height", -2.0, 1.0), ("weight", 1.0, 2.0))
    assert [r[0] for r in e.top()] == ["height", "weight", "age", "size"], "k beyond: all there are"
    assert [r[0] for r in e.top(3, sample=1)] == ["age", "height", "weight"], "ties in order"
    assert len(e.top(np.int64(3), sample=-1)) == 3
    text = str(e.top(2))
    assert "dog" not in text
    assert text.splitlines()[0] == "integrated_gradients: cat"
    assert "-2" in text.splitlines()[2]


def test_the_top_of_images_and_of_several_inputs():
    name, value, seen = image("torch").top(1).rows[0]
    e = image("torch")
    place = np.unravel_index(np.abs(e.values[0]).argmax(), e.values[0].shape)
    expected = ", ".join(f"{n} {i}" for n, i in zip(("channel", "height", "width"), place))  # noqa: B905
    assert name == expected
    assert value == e.values[0][place]
    assert seen == e.inputs[0][place]
    names = [r[0] for r in two().top(200)]
    assert {n.split(":")[0] for n in names} == {"image", "table"}
    assert len(names) == 3 * 8 * 6 + 5
    assert "table: c" in names


def test_the_top_is_escaped():
    e = table_explanation([[1.0]], feature_names=(HOSTILE,), target_names=(HOSTILE,))
    html = e.top()._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", None, True])
def test_a_number_of_features_that_is_none(k):
    with pytest.raises(InputError, match="whole number of 1 or more, got"):
        table().top(k)


@pytest.mark.parametrize("sample", [5, -6, 1.0, "0", None])
def test_a_sample_that_is_not_there(sample):
    with pytest.raises(InputError, match="among 5: expected 0 to 4"):
        table().top(3, sample=sample)


# Its words


def test_one_line_says_what_was_done():
    e = image("torch", "smoothgrad", samples=3, target="tiger cat")
    line = str(e)
    for part in (
        "smoothgrad of 5 samples (3x12x10)", "output of tiger cat", "20 forward", "15 backward",
        "standard error",
    ):  # fmt: skip
        assert part in line
    assert "\n" not in line
    assert "completeness gap" in str(table())
    assert "1 sample " in str(table()[0])
    assert "suffix" in str(image("torch", "gradcam", layer="relu#2"))


def test_a_cell_of_a_notebook_is_small_and_safe():
    model, x = build("cnn", "keras")
    for target in (None, lambda out: out[:, 0]):
        e = explain(wrap(model, class_names=[HOSTILE, "b", HOSTILE + "2"]), x, target=target)
        html = e._repr_html_()
        assert html == e.to_html()
        assert len(html) < 1_000_000
        assert "<script" not in html
        assert "49" not in html.partition("alert")[2][:40], "not a template"
    assert "&lt;script&gt;" in explain(wrap(model, class_names=[HOSTILE] * 3), x).to_html()


def test_it_draws_itself():
    import matplotlib.pyplot as plt

    for e in (image("torch"), table(), two()):
        assert e.plot() is not None
    plt.close("all")


# The code that makes it again


def remade(e: Explanation, model, x, **names) -> Explanation:
    code = e.reproduce()
    scope = {"model": model, "x": x, **names}
    exec(compile(code, "reproduce", "exec"), scope)
    return scope["explanation"]


def weighted(outputs):
    return outputs[:, 0] - 0.5 * outputs[:, 1]


REPRODUCED = {
    "the predicted class": ("saliency", {}),
    "a class": ("integrated_gradients", {"target": 2, "steps": 4}),
    "a name": ("saliency", {"target": "tabby"}),
    "a class a sample": ("gradient_x_input", {"target": [0, 1, 2, 1, 0]}),
    "a pair": ("saliency", {"target": ("lynx", "tabby")}),
    "pairs": ("saliency", {"target": [(0, 1), (1, 2), (2, 0), (0, 2), (2, 1)]}),
    "a function": ("saliency", {"target": weighted}),
    "a baseline": ("occlusion", {"baseline": 0.5}),
    "a baseline by name": ("integrated_gradients", {"baseline": "mean", "steps": 3}),
    "numpy's numbers": ("occlusion", {"baseline": np.float64(0.5), "window": np.int64(2)}),
    "a seed": ("random", {"seed": 12}),
    "draws": ("smoothgrad", {"samples": 3, "noise": 0.2, "seed": np.int64(7), "target": 1}),
    "a budget": ("smoothgrad", {"budget": 4, "target": 1}),
    "a flag": ("saliency", {"absolute": True}),
}


@pytest.mark.parametrize("name", list(REPRODUCED))
def test_the_code_makes_the_same_values(name):
    method, options = REPRODUCED[name]
    net, x = build("dense", "torch")
    model = wrap(net, class_names=NAMES)
    e = explain(model, x, method, **options)
    again = remade(e, model, x, weighted=weighted)
    assert np.array_equal(again.values, e.values)
    assert np.array_equal(again.score, e.score)
    assert again.parameters == e.parameters
    assert again.target_names == e.target_names


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("gradcam", {}),
        ("gradcam", {"layer": "relu#2", "relu": False}),
        ("gradcam", {"layer": "conv1"}),
        ("occlusion", {"window": (5, 4), "stride": [5, 4]}),
        ("occlusion", {"window": 6, "stride": 6, "baseline": "blur"}),
    ],
)
def test_the_code_names_the_layer_and_the_windows(method, options):
    net, x = build("cnn", "torch")
    e = explain(net, x, method, **options)
    again = remade(e, net, x)
    assert np.array_equal(again.values, e.values)
    assert again.parameters["layer" if method == "gradcam" else "window"] is not None or options


@pytest.mark.parametrize("target", [None, 0, "dog", "cat", ["dog", "cat", "cat", "dog", "cat"]])
def test_the_code_keeps_the_side_of_one_output(target):
    """Either of two names, although no class number is recorded."""
    net, x = build("sigmoid", "torch")
    model = wrap(net, class_names=["dog", "cat"])
    e = explain(model, x, "saliency", target=target)
    again = remade(e, model, x)
    assert np.array_equal(again.values, e.values)
    assert again.target_names == e.target_names


def test_the_code_of_a_function_on_one_output():
    net, x = build("sigmoid", "torch")

    def doubled(outputs):
        return 2 * outputs[:, 0]

    e = explain(net, x, "saliency", target=doubled)
    assert "target=doubled" in e.reproduce()
    assert np.array_equal(remade(e, net, x, doubled=doubled).values, e.values)


def test_the_code_after_loading(tmp_path):
    net, x = build("dense", "torch")
    e = explain(net, x, "occlusion", baseline=[1, 2, 3, 4, 5, 6], target=[0, 1, 2, 0, 1])
    loaded = Explanation.load(e.save(tmp_path / "e.zarr.zip"))
    assert np.array_equal(remade(loaded, net, x).values, e.values)


def test_the_code_names_arrays_as_variables():
    net, x = build("dense", "torch")
    reference = np.linspace(0, 1, 30).reshape(5, 6)
    e = explain(net, x, "occlusion", baseline=reference)
    assert "baseline=baseline" in e.reproduce()
    assert np.array_equal(remade(e, net, x, baseline=reference).values, e.values)


@pytest.mark.usefixtures("forget")
def test_the_code_of_a_user_s_own_method():
    @pellucid.register_method("noisy_gradient")
    def noisy_gradient(model, x, target, power=1.0, mode="plain", weights=(1, 2.5), seed=0):
        draws = np.random.default_rng(seed).normal(size=x.shape)
        return model.gradient(x) ** power * sum(weights) + draws * (mode == "noisy")

    net, x = build("dense", "torch")
    e = explain(net, x, "noisy_gradient", power=2, mode="noisy", weights=[0.5, 1], seed=9, target=0)
    again = remade(e, net, x)
    assert np.array_equal(again.values, e.values)
    assert e.reproduce().count("seed=") == 1
    assert e.parameters == {"power": 2, "mode": "noisy", "weights": [0.5, 1]}


def test_the_code_loads_a_model_that_came_from_a_file():
    e = table()
    from_file = dataclasses.replace(e, provenance={**e.provenance, "source": "models/cat's.keras"})
    code = from_file.reproduce()
    assert 'model = pellucid.load("models/cat\'s.keras"' in code
    compile(code, "reproduce", "exec")


def test_hand_made_results_are_results_too():
    """What plots and reports are tested with can be saved."""
    e = make_explanation(np.ones((2, 4, 5, 3)))
    assert e.data["values"].dims == ("sample", "height", "width", "channel")
    assert len(Attribution((e.values,)).values) == 1
