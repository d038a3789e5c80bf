"""What goes in: how inputs are read, what is refused, and what stands for "nothing there"."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from pellucid import Explainer, explain, wrap
from pellucid.errors import InputError, TargetError
from pellucid.inputs.baselines import make_baseline
from pellucid.inputs.layout import input_dims, modality, space_axes
from pellucid.testing import build, to_layout

# Batches


@pytest.mark.parametrize("framework", ["torch", "keras"])
@pytest.mark.parametrize("name", ["dense", "cnn"])
def test_a_missing_batch_axis_is_added_and_removed(name, framework):
    model, x = build(name, framework)
    whole = explain(model, x, "saliency")
    one = explain(model, x[1], "saliency")
    assert one.values.shape == one.inputs.shape == x.shape[1:]
    np.testing.assert_allclose(one.values, whole.values[1], rtol=1e-5, atol=1e-7)
    assert (len(one), one.batched, one.score.shape) == (1, False, (1,))
    assert np.array_equal(one.inputs, x[1])


def test_a_table_s_row_to_a_plain_function():
    e = explain(lambda a: a @ np.ones(3), [1.0, 2.0, 3.0], "occlusion")
    np.testing.assert_allclose(e.values, [1, 2, 3])


def test_nested_lists_and_whole_numbers_become_floats():
    net, _ = build("dense", "torch")
    rows = [[1, 2, 3, 4, 5, 6], [0, 1, 0, 1, 0, 1]]
    e = explain(net, rows, "saliency")
    expected = explain(net, np.array(rows, dtype=np.float32), "saliency")
    assert np.array_equal(e.values, expected.values)
    model, _ = build("dense", "keras")
    np.testing.assert_allclose(
        explain(model, rows, "saliency").values, expected.values, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int64, np.uint8, np.bool_])
def test_other_number_types(dtype):
    net, x = build("dense", "torch")
    given = (np.abs(x) * 2).astype(dtype)
    e = explain(net, given, "integrated_gradients", steps=3)
    expected = explain(net, given.astype(np.float32), "integrated_gradients", steps=3)
    assert np.array_equal(e.values, expected.values)


def test_native_tensors_of_every_kind():
    net, x = build("dense", "torch")
    expected = explain(net, x, "saliency").values
    for given in (
        torch.from_numpy(x),
        torch.from_numpy(x).requires_grad_(),
        torch.from_numpy(x).double(),
        np.asfortranarray(x),
        np.repeat(x, 2, axis=0)[::2],
    ):
        found = explain(net, given, "saliency").values
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    read_only = x.copy()
    read_only.flags.writeable = False
    assert np.array_equal(explain(net, read_only, "saliency").values, expected)
    model, x = build("dense", "keras")
    tensor = explain(model, tf.constant(x), "saliency").values
    assert np.array_equal(tensor, explain(model, x, "saliency").values)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 3, 12, 10), r"\(12, 10, 3\) per sample, got \(3, 12, 10\)"),
        ((2, 12, 10, 1), r"\(12, 10, 3\) per sample, got \(12, 10, 1\)"),
        ((2, 12, 10), r"\(12, 10, 3\) per sample, got \(2, 12, 10\)|12, 10, 3"),
        ((12, 10), r"\(12, 10, 3\), with or without a batch axis, got 2 axes: \(12, 10\)"),
        ((1, 2, 12, 10, 3), "with or without a batch axis, got 5 axes"),
    ],
)
def test_shapes_that_a_keras_model_cannot_take(shape, message):
    model, _ = build("cnn", "keras")
    with pytest.raises(InputError, match=message):
        explain(model, np.zeros(shape, dtype=np.float32), "saliency")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("framework", ["torch", "keras", "numpy"])
def test_rows_that_are_not_finite_are_named(framework, bad):
    model, x = build("dense", framework)
    x[[1, 3], 2] = bad
    what = "NaN or infinity" if np.isnan(bad) else "holds infinity"
    with pytest.raises(InputError, match=rf"{what} in the rows \[1, 3\]"):
        explain(model, x, "occlusion")


@pytest.mark.parametrize("framework", ["torch", "keras", "numpy"])
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((0, 6), dtype=np.float32), "batch is empty"),
        (np.zeros((2, 0), dtype=np.float32), "empty axis|to have shape"),
        (np.float32(3), "single number|axes"),
        ([[1.0, 2.0], [3.0]], "differ|numbers"),
        (np.array([["a"] * 6]), "numbers"),
        (np.array([[None] * 6]), "numbers|object|arrays"),
        ("cat.png", "numbers"),
        (None, "numbers|NoneType"),
    ],
    ids=["no rows", "no columns", "number", "ragged", "text", "objects", "path", "none"],
)
def test_what_is_no_input(framework, x, message):
    model, _ = build("dense", framework)
    with pytest.raises(InputError, match=message):
        explain(model, x, "occlusion")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients", "smoothgrad", "constant"])
def test_networks_of_other_float_types(method, dtype):
    """Also one that NumPy does not have: copies of the input are made in NumPy."""
    net, x = build("dense", "torch")
    expected = explain(net, x, method, target=1, baseline=0.5) if method in {
        "occlusion", "integrated_gradients",
    } else explain(net, x, method, target=1)  # fmt: skip
    options = {"baseline": 0.5} if "baseline" in expected.parameters else {}
    e = explain(net.to(dtype), x, method, target=1, **options)
    assert e.values.dtype == np.float32
    scale = np.abs(expected.values).max()
    np.testing.assert_allclose(e.values, expected.values, atol=0.1 * scale)


# Several inputs


def named(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a.sum(axis=1) + 10 * b.sum(axis=1)


def of_dict(inputs: dict) -> np.ndarray:
    return named(inputs["b"], inputs["a"])


def test_a_tuple_comes_back_as_a_tuple():
    x = (np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
    e = explain(named, x, "occlusion")
    assert isinstance(e.values, tuple)
    np.testing.assert_allclose(e.values[0], np.ones((2, 3)))
    np.testing.assert_allclose(e.values[1], np.full((2, 4), 10))
    assert [p.name for p in e.parts] == ["x0", "x1"]


@pytest.mark.parametrize("framework", ["callable", "tensorflow", "torch"])
def test_a_dict_comes_back_as_a_dict_with_each_value_at_its_name(framework):
    """Keys not in alphabetical order, for TensorFlow sorts them."""
    functions = {
        "callable": of_dict,
        "tensorflow": lambda d: tf.reduce_sum(d["b"], 1) + 10 * tf.reduce_sum(d["a"], 1),
        "torch": lambda b, a: b.sum(1) + 10 * a.sum(1),
    }
    x = {"b": np.ones((2, 3), np.float32), "a": np.full((2, 4), 2, np.float32)}
    model = wrap(functions[framework], framework=framework)
    e = explain(model, x, "occlusion")
    assert list(e.values) == ["b", "a"]
    np.testing.assert_allclose(e.values["b"], np.ones((2, 3)))
    np.testing.assert_allclose(e.values["a"], np.full((2, 4), 20))
    shapes = {p.name: p.values.shape for p in e.parts}
    assert shapes == {"b": (2, 3), "a": (2, 4)}, "a part is called what the user calls it"
    one = explain(model, {k: v[0] for k, v in x.items()}, "occlusion")
    assert {k: v.shape for k, v in one.values.items()} == {"b": (3,), "a": (4,)}
    baseline = {"a": 1.0, "b": np.array([1, 1, 0])}
    e = explain(model, x, "occlusion", baseline=baseline)
    np.testing.assert_allclose(e.values["a"], np.full((2, 4), 10))
    np.testing.assert_allclose(e.values["b"], [[0, 0, 1]] * 2)


def test_keras_s_own_names():
    a, b = keras.Input((3,), name="zebra"), keras.Input((4,), name="ape")
    model = keras.Model([a, b], keras.layers.Dense(2)(keras.layers.Concatenate()([a, b])))
    x = {"ape": np.ones((2, 4), np.float32), "zebra": np.ones((2, 3), np.float32)}
    e = explain(model, x, "saliency")
    assert {k: v.shape for k, v in e.values.items()} == {"zebra": (2, 3), "ape": (2, 4)}
    listed = explain(model, [x["zebra"], x["ape"]], "saliency")
    assert isinstance(listed.values, list)
    assert np.array_equal(listed.values[0], e.values["zebra"])
    with pytest.raises(InputError, match=r"'ape' is.*missing"):
        explain(model, {"zebra": x["zebra"], "appe": x["ape"]}, "saliency")


def test_inputs_that_do_not_go_together():
    x = (np.ones((2, 3), np.float32), np.ones((4, 4), np.float32))
    with pytest.raises(InputError, match=r"different numbers of samples: \[2, 4\]"):
        explain(named, x, "occlusion")
    model, (image, table) = build("two_inputs", "keras")
    with pytest.raises(InputError, match="have a batch axis and some have none"):
        explain(model, (image, table[0]), "saliency")
    with pytest.raises(InputError, match=r"2 inputs.*1 came|Expected 2 inputs"):
        explain(model, image, "saliency")


# What the user says of a model


@pytest.mark.parametrize("names", ["cat", "ab", {0: "cat", 1: "dog"}, 3])
def test_what_is_no_list_of_names(names):
    """A dict's keys would be taken for the names, a string's letters too."""
    for option in ("class_names", "feature_names"):
        with pytest.raises(InputError, match=rf"{option} to be a list.*not one.*got"):
            wrap(lambda x: x, **{option: names})


@pytest.mark.parametrize(
    ("name", "count", "shape"), [("dense", 5, r"\(6,\)"), ("cnn", 3, r"\(3, 12, 10\)")]
)
def test_feature_names_that_do_not_fit(name, count, shape):
    net, x = build(name, "torch")
    runs = []
    net.register_forward_hook(lambda *_: runs.append(1))
    model = wrap(net, feature_names=[f"f{i}" for i in range(count)])
    with pytest.raises(InputError, match=rf"{count} feature names.*{shape}"):
        explain(model, x, "saliency")
    assert not runs, "said before any work"


def test_feature_names_go_to_the_table_among_several_inputs():
    net, x = build("two_inputs", "torch")
    model = wrap(net, feature_names=["a", "b", "c", "d", "e"])
    e = explain(model, x, "saliency")
    assert [p.feature_names for p in e.parts] == [None, ("a", "b", "c", "d", "e")]
    with pytest.raises(InputError, match="2 feature names"):
        explain(wrap(net, feature_names=["a", "b"]), x, "saliency")


@pytest.mark.parametrize("inputs", [5, "abc", (0,), (-1, 3), (2.5,), [True], [(3,), (0,)]])
def test_shapes_that_are_none(inputs):
    with pytest.raises(InputError, match="shape of one input without the batch axis"):
        wrap(lambda x: x, inputs=inputs)


def test_shapes_that_the_user_gives_are_held_to():
    model = wrap(lambda a: a.sum(axis=(1, 2, 3)), inputs=np.zeros((4, 5, 3)).shape)
    assert explain(model, np.ones((4, 5, 3)), "occlusion").values.shape == (4, 5, 3)
    with pytest.raises(InputError, match=r"\(4, 5, 3\) per sample, got \(3, 4, 5\)"):
        explain(model, np.ones((1, 3, 4, 5)), "occlusion")


def test_unknown_options():
    with pytest.raises(InputError, match=r"logit.*got 'logits'"):
        wrap(lambda x: x, output="logits")
    with pytest.raises(InputError, match=r"Unknown framework 'pytorch'.*torch"):
        wrap(lambda x: x, framework="pytorch")


def test_options_of_a_model_that_is_wrapped_already():
    """They make a copy that has them; nothing is dropped in silence."""
    net, x = build("dense", "torch")
    plain = wrap(net)
    assert wrap(plain) is plain
    named = wrap(plain, class_names=["a", "b", "c"], feature_names=list("uvwxyz"))
    assert plain.class_names is None
    assert named.adapter is plain.adapter
    e = explain(named, x, "saliency", target="b")
    assert e.target_names[0] == "b"
    assert wrap(named, output="probability").class_names == ("a", "b", "c")
    for options in ({"framework": "callable"}, {"inputs": (6,)}):
        with pytest.raises(InputError, match="wrapped already"):
            wrap(plain, **options)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_seeds_that_are_none(seed):
    with pytest.raises(InputError, match=r"seed that is a whole number.*got"):
        explain(lambda x: x.sum(axis=1), np.ones((1, 2)), "random", seed=seed)


# Preprocessing


def test_pictures_are_shown_as_they_were():
    model, _ = build("cnn", "keras")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3), dtype=np.uint8)
    e = explain(wrap(model, preprocess=lambda p: p / 255.0), pictures, "saliency")
    assert np.array_equal(e.parts[0].display, pictures)
    np.testing.assert_allclose(e.inputs, pictures / np.float32(255), rtol=1e-6)
    one = explain(wrap(model, preprocess=lambda p: p / 255.0), pictures[0], "saliency")
    assert np.array_equal(one.parts[0].display, pictures[:1])
    assert explain(model, pictures, "saliency").parts[0].display is None


def test_channels_first_pictures_are_shown_channels_last():
    net, _ = build("cnn", "torch")
    pictures = np.random.default_rng(0).integers(0, 256, (2, 12, 10, 3), dtype=np.uint8)
    model = wrap(net, preprocess=lambda p: p.transpose(0, 3, 1, 2).astype(np.float32))
    e = explain(model, pictures, "saliency")
    assert e.values.shape == (2, 3, 12, 10)
    assert np.array_equal(e.parts[0].display, pictures)
    assert (
        explain(wrap(net, preprocess=lambda p: p * 2), e.inputs, "edges").parts[0].display is None
    )


def test_preprocessing_that_works_in_place_does_not_reach_the_user_s_array():
    """Keras's own preprocess_input does; a second call would preprocess twice."""
    model, _ = build("cnn", "keras")
    wrapped = wrap(model, preprocess=keras.applications.mobilenet_v2.preprocess_input)
    x = np.random.default_rng(0).uniform(0, 255, (2, 12, 10, 3)).astype(np.float32)
    given = x.copy()
    first = explain(wrapped, x, "saliency")
    assert np.array_equal(x, given)
    again = Explainer(wrapped, ["saliency"]).explain(x)
    assert np.array_equal(first.inputs, again.inputs)
    np.testing.assert_allclose(first.inputs, given / 127.5 - 1, atol=1e-6)


def test_preprocessing_that_raises():
    def fail(x):
        raise KeyError("pixels")

    with pytest.raises(InputError, match="preprocess raised KeyError: 'pixels'"):
        explain(wrap(lambda x: x, preprocess=fail), np.ones((1, 2)), "random")


# Nothing shared with the caller


@pytest.mark.parametrize("framework", ["torch", "keras", "numpy"])
def test_a_result_does_not_change_with_the_caller_s_array(framework):
    model, x = build("dense", framework)
    before = x.copy()
    e = explain(model, x, "occlusion", baseline=x)
    x[:] = 0
    assert np.array_equal(e.inputs, before)
    assert np.array_equal(e.baseline, before)


def test_a_function_that_works_in_place_does_not_change_the_caller_s_array():
    def spoil(a):
        a *= 0
        a += 1
        return a.sum(axis=1)

    x = np.arange(6, dtype=np.float64).reshape(2, 3)
    given = x.copy()
    e = explain(spoil, x, "occlusion", baseline=x)
    assert np.array_equal(x, given)
    assert np.array_equal(e.inputs, given)
    pair = (x, x + 1)
    explain(lambda a, b: spoil(a) + spoil(b), pair, "occlusion")
    assert np.array_equal(pair[0], given)


# Names of axes


def test_axes_by_rank_and_layout():
    assert input_dims(4, -1) == ("sample", "height", "width", "channel")
    assert input_dims(3, 1) == ("sample", "channel", "step")
    assert input_dims(5, 1) == ("sample", "channel", "depth", "height", "width")
    assert input_dims(6, -1)[1:] == ("axis_1", "axis_2", "axis_3", "axis_4", "axis_5")
    kinds = [modality(input_dims(rank, -1)) for rank in range(1, 7)]
    assert kinds == ["array", "table", "series", "image", "volume", "array"]
    assert space_axes(input_dims(4, 1)) == (2, 3)


# Baselines

IMAGE = ("sample", "height", "width", "channel")
FIRST = ("sample", "channel", "height", "width")


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(3, 12, 10, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["zeros", "mean", "blur", "noise"])
def test_named_baselines_are_the_same_in_both_layouts(name, image):
    last = make_baseline(name, image, IMAGE, seed=5)
    first = make_baseline(name, to_layout(image, "torch"), FIRST, seed=5)
    back = np.moveaxis(first, 1, -1)
    assert last.dtype == first.dtype == np.float32
    if name == "mean":  # summed in another order
        np.testing.assert_allclose(back, last, rtol=1e-5, atol=1e-7)
    else:
        assert np.array_equal(back, last)


def test_what_the_names_mean(image):
    assert not make_baseline("zeros", image, IMAGE, seed=0).any()
    mean = make_baseline("mean", image, IMAGE, seed=0)
    np.testing.assert_allclose(mean[:, 4, 7], image.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)
    blurred = make_baseline("blur", image, IMAGE, seed=0)
    assert blurred.std() < 0.3 * image.std()
    flat = np.full_like(image, 7)
    np.testing.assert_allclose(make_baseline("blur", flat, IMAGE, seed=0), 7, rtol=1e-6)
    noise = make_baseline("noise", image, IMAGE, seed=0)
    low, high = image.min(axis=(1, 2, 3)), image.max(axis=(1, 2, 3))
    assert (noise.min(axis=(1, 2, 3)) >= low).all()
    assert (noise.max(axis=(1, 2, 3)) <= high).all()
    assert np.array_equal(noise, make_baseline("noise", image, IMAGE, seed=0))
    assert not np.array_equal(noise, make_baseline("noise", image, IMAGE, seed=1))
    alone = make_baseline("noise", image[1:2], IMAGE, seed=0)
    assert np.array_equal(noise[1:2], alone), "not a matter of the batch"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (0.5, 0.5),
        (2, 2.0),
        (np.float64(-1), -1.0),
        (np.array(3), 3.0),
        (np.full((12, 10, 3), 4), 4.0),
        (np.full((1, 12, 10, 3), 5), 5.0),
        (np.full((3, 12, 10, 3), 6, np.float64), 6.0),
        (np.array([[[7, 7, 7]]]), 7.0),
        (torch.full((12, 10, 3), 8.0), 8.0),
        (torch.full((12, 10, 3), 9.0, requires_grad=True).detach(), 9.0),
        (np.full((12, 10, 3), 2).tolist(), 2.0),
    ],
    ids=lambda s: f"{type(s).__name__}{getattr(s, 'shape', '')}",
)
def test_numbers_and_arrays(spec, expected, image):
    found = make_baseline(spec, image, IMAGE, seed=0)
    assert found.shape == image.shape
    assert found.dtype == image.dtype
    assert (found == expected).all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("zero", r"Unknown baseline 'zero'.*Nearest: 'zeros'"),
        ("black", "Unknown baseline 'black'"),
        ("dataset", "pass a row of the data"),
        (np.nan, "finite baseline"),
        (np.inf, "finite baseline"),
        (np.zeros((10, 12, 3)), r"\(3, 12, 10, 3\) or \(12, 10, 3\), got an array of shape"),
        (np.zeros((2, 12, 10, 3)), "does not fit"),
        (np.zeros(3), "1 axes"),
        (np.zeros((10, 3)), "2 axes"),
        (np.full((12, 10, 3), np.nan), "finite"),
        (np.full((12, 10, 3), "a"), "finite"),
        (torch.zeros((12, 10, 3), requires_grad=True), "does not fit"),
        ([[1], [2, 3]], "does not fit"),
        (object(), "does not fit"),
        ({"left": 0}, "baseline for each of the inputs 'x', got 'left'"),
    ],
    ids=range(15),
)
def test_what_is_no_baseline(spec, message, image):
    model = wrap(lambda a: a.sum(axis=(1, 2, 3)), inputs=[(12, 10, 3)])
    with pytest.raises(InputError, match=message):
        explain(wrap(model.adapter._function), image, "occlusion", baseline=spec)


def test_blur_wants_space():
    with pytest.raises(InputError, match="spatial or time axis"):
        explain(lambda a: a.sum(axis=1), np.ones((2, 3)), "occlusion", baseline="blur")


def test_a_baseline_for_each_input():
    x = (np.full((2, 3), 5.0), np.full((2, 4), 7.0))
    e = explain(named, x, "occlusion", baseline=(4.0, np.full(4, 5.0)))
    np.testing.assert_allclose(e.values[0], 1)
    np.testing.assert_allclose(e.values[1], 20)
    with pytest.raises(InputError, match="Expected 2 baselines, one per input, got 3"):
        explain(named, x, "occlusion", baseline=(1.0, 2.0, 3.0))
    with pytest.raises(InputError, match="'x0', 'x1', got 'x0', 'other': 'x1' is missing"):
        explain(named, x, "occlusion", baseline={"x0": 0, "other": 1})


def test_whole_numbers_are_covered_but_not_walked_through():
    """Occlusion replaces a whole number; a path of integrated gradients leaves it."""
    x = np.array([[3, 5, 0]], dtype=np.int64)
    e = explain(lambda a: a @ np.array([1.0, 10, 100]), x, "occlusion")
    np.testing.assert_allclose(e.values, [[3, 50, 0]])
    e = explain(lambda a: a @ np.array([1.0, 10, 100]), x, "occlusion", baseline=1)
    np.testing.assert_allclose(e.values, [[2, 40, -100]])
    with pytest.raises(InputError, match="int64"):
        explain(
            wrap(lambda a: a.sum(1) * 1.0, framework="torch"), x, "occlusion", baseline=0.5
        )  # fmt: skip
    ids, weights = x, np.ones((1, 3), dtype=np.float32)
    model = wrap(lambda i, w: (i * w).sum(1), framework="torch")
    e = explain(model, (ids, weights), "integrated_gradients", steps=3)
    np.testing.assert_allclose(e.values[1], ids, rtol=1e-6)
    assert not e.values[0].any()
    assert np.array_equal(e.baseline[0], ids)


def test_a_function_that_returns_text_is_told_what_to_return():
    model = wrap(lambda a: np.array(["cat"] * len(a)))
    with pytest.raises(Exception, match="predict_proba") as caught:
        explain(model, np.ones((2, 3)), "occlusion")
    assert not isinstance(caught.value, TargetError)


def test_a_data_frame_names_its_features():
    import pandas

    frame = pandas.DataFrame({"age": [1.0, 2.0], "height": [3.0, 4.0]})
    e = explain(lambda x: x @ np.array([1.0, 10.0]), frame, "occlusion")
    assert [row[0] for row in e.top(2)] == ["height", "age"]


def test_a_torch_series_model_is_read_step_by_step():
    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = torch.nn.LSTM(3, 4, batch_first=True)
            self.head = torch.nn.Linear(4, 2)

        def forward(self, v: torch.Tensor) -> torch.Tensor:
            return self.head(self.lstm(v)[0][:, -1])

    x = np.random.default_rng(0).normal(size=(2, 10, 3)).astype(np.float32)
    e = explain(Reader(), x, "occlusion", window=1)
    assert e.parts[0].dims == ("sample", "step", "channel")
    assert e.extras["windows"] == 10
    convolved = torch.nn.Sequential(torch.nn.Conv1d(3, 2, 3), torch.nn.Flatten())
    e = explain(convolved, x.transpose(0, 2, 1).copy(), "occlusion", window=1, target=0)
    assert e.parts[0].dims == ("sample", "channel", "step")


def test_a_map_is_laid_over_the_input_that_its_layer_sees():
    class Pair(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = torch.nn.Conv2d(1, 2, 3), torch.nn.Conv2d(1, 2, 3)

        def forward(self, one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
            return self.a(one).relu().mean((2, 3)) + self.b(two).relu().mean((2, 3))

    rng = np.random.default_rng(0)
    x = tuple(rng.normal(size=(2, 1, 6, 6)).astype(np.float32) for _ in range(2))
    first = explain(Pair(), x, "gradcam", layer="a").values
    second = explain(Pair(), x, "gradcam", layer="b").values
    assert first[0].any()
    assert not first[1].any()
    assert second[1].any()
    assert not second[0].any()


def test_a_baseline_the_model_is_not_defined_on():
    from pellucid.errors import ModelError

    model = wrap(lambda x: torch.log(x).sum(1), framework="torch")
    with pytest.raises(ModelError, match="baseline"):
        explain(model, np.ones((2, 3), dtype=np.float32), "integrated_gradients", steps=2)


def test_a_prediction_in_between_changes_nothing():
    model = wrap(lambda d: d["a"] * 10 + d["b"], framework="torch")
    a, b = (np.array([[v]], dtype=np.float32) for v in (1.0, 20.0))
    quiet = explain(model, {"a": a, "b": b}, "occlusion").values
    noisy = explain(
        model,
        {"a": a, "b": b},
        "occlusion",
        progress=lambda done, total: model.predict({"b": b, "a": a}),
    ).values
    assert {k: v.item() for k, v in noisy.items()} == {k: v.item() for k, v in quiet.items()}
    assert {k: v.item() for k, v in quiet.items()} == {"a": 10.0, "b": 20.0}


def test_results_cannot_be_written_to():
    e = explain(lambda x: x.sum(1), np.ones((2, 3)), "occlusion")
    with pytest.raises(ValueError, match="read-only"):
        e.values[:] = 0
