"""What is explained: every way to say it, and every way to say it wrongly."""

import numpy as np
import pytest
import torch

from pellucid import explain, wrap
from pellucid.errors import TargetError
from pellucid.testing import build

NAMES = ["tabby", "tiger cat", "lynx"]


@pytest.fixture
def rows() -> tuple[torch.nn.Module, np.ndarray]:
    """Three classes, five samples."""
    return build("dense", "torch")


@pytest.fixture
def single() -> tuple[torch.nn.Module, np.ndarray]:
    """One output behind a sigmoid, five samples."""
    return build("sigmoid", "torch")


def maps(rows, target, **options) -> np.ndarray:
    net, x = rows
    return explain(wrap(net, class_names=NAMES), x, "saliency", target=target, **options).values


def singles(rows) -> np.ndarray:
    """The map of each class for each sample, `(3, 5, 6)`."""
    return np.stack([maps(rows, k) for k in range(3)])


PER_SAMPLE = [0, 1, 2, 1, 0]


@pytest.mark.parametrize(
    "target",
    [
        PER_SAMPLE,
        tuple(PER_SAMPLE),
        np.array(PER_SAMPLE),
        np.array(PER_SAMPLE, dtype=np.uint8),
        torch.tensor(PER_SAMPLE),
        [NAMES[i] for i in PER_SAMPLE],
        np.array([NAMES[i] for i in PER_SAMPLE]),
        ["tabby", 1, np.int64(2), "TIGER CAT", 0],
    ],
    ids=lambda t: type(t).__name__,
)
def test_one_class_a_sample(rows, target):
    assert np.array_equal(maps(rows, target), singles(rows)[PER_SAMPLE, range(5)])


@pytest.mark.parametrize(
    "target",
    [1, np.int64(1), np.array(1), torch.tensor(1), "tiger cat", "Tiger CAT", [1] * 5],
    ids=repr,
)
def test_one_class_for_all(rows, target):
    assert np.array_equal(maps(rows, target), singles(rows)[1])


def test_none_is_each_sample_s_own_predicted_class(rows):
    net, x = rows
    e = explain(net, x, "saliency")
    predicted = net(torch.from_numpy(x)).detach().numpy().argmax(1)
    assert np.array_equal(e.target, predicted)
    assert np.array_equal(e.prediction, predicted)
    assert np.array_equal(e.values, singles(rows)[predicted, range(5)])


@pytest.mark.parametrize(
    "target",
    [
        (2, 0),
        ("lynx", "tabby"),
        ("LYNX", 0),
        (np.int64(2), "tabby"),
        ([2] * 5, [0] * 5),
        (2, ["tabby"] * 5),
        [(2, 0)] * 5,
        [("lynx", "tabby")] * 5,
        np.array([[2, 0]] * 5),
        torch.tensor([[2, 0]] * 5),
    ],
    ids=lambda t: str(t).replace("\n", "")[:40],
)
def test_a_pair_is_the_difference_of_two_maps(rows, target):
    one = singles(rows)
    np.testing.assert_allclose(maps(rows, target), one[2] - one[0], rtol=0, atol=1e-6)


def test_pairs_of_each_sample(rows):
    net, x = rows
    pairs = [(0, 1), (1, 2), (2, 0), (0, 2), (2, 1)]
    e = explain(wrap(net, class_names=NAMES), x, "saliency", target=pairs)
    one = singles(rows)
    expected = np.stack([one[a, i] - one[b, i] for i, (a, b) in enumerate(pairs)])
    np.testing.assert_allclose(e.values, expected, rtol=0, atol=1e-6)
    assert np.array_equal(e.target, pairs)
    assert e.target_names[1] == "tiger cat rather than lynx"
    logits = net(torch.from_numpy(x)).detach().numpy()
    expected = [logits[i, a] - logits[i, b] for i, (a, b) in enumerate(pairs)]
    np.testing.assert_allclose(e.score, expected, rtol=1e-5)


def test_two_samples_tell_a_pair_from_a_list(rows):
    """A tuple of two is a pair, a list of two is one class a sample."""
    net, x = rows
    one = singles(rows)[:, :2]
    pair = explain(net, x[:2], "saliency", target=(0, 1)).values
    listed = explain(net, x[:2], "saliency", target=[0, 1]).values
    np.testing.assert_allclose(pair, one[0] - one[1], rtol=0, atol=1e-6)
    assert np.array_equal(listed, one[[0, 1], [0, 1]])


def test_a_function_of_the_outputs(rows):
    net, x = rows

    def both(outputs):
        return outputs[:, 0] + 2 * outputs[:, 2]

    e = explain(net, x, "saliency", target=both)
    one = singles(rows)
    np.testing.assert_allclose(e.values, one[0] + 2 * one[2], rtol=0, atol=1e-5)
    assert e.target is None
    assert e.target_names == ("both",) * 5


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_every_way_at_once_on_the_frameworks(framework):
    """The same numbers whatever the framework, for names, pairs, lists and functions."""
    net, x = build("dense", framework)
    reference, same_x = build("dense", "torch")
    for target in (None, 2, PER_SAMPLE, ("lynx", "tabby"), lambda out: out[:, 1] - out[:, 0]):
        found, expected = (
            explain(wrap(m, class_names=NAMES), data, "saliency", target=target).values
            for m, data in ((net, x), (reference, same_x))
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


# One output


@pytest.mark.parametrize("output", ["auto", "probability"])
def test_the_first_of_two_names_is_the_other_side_of_one_output(single, output):
    net, x = single
    model = wrap(net, class_names=["dog", "cat"], output=output)
    dog, cat = (explain(model, x, "integrated_gradients", target=n) for n in ("dog", "CAT"))
    probability = net(torch.from_numpy(x)).detach().numpy()[:, 0]
    if output == "probability":
        np.testing.assert_allclose(cat.score, probability, rtol=1e-6)
        np.testing.assert_allclose(dog.score, 1 - probability, rtol=1e-5)
        np.testing.assert_allclose(dog.baseline_score, 1 - cat.baseline_score, rtol=1e-5)
    else:
        np.testing.assert_allclose(cat.score, np.log(probability / (1 - probability)), rtol=1e-4)
        assert np.array_equal(dog.score, -cat.score)
        assert np.array_equal(dog.baseline_score, -cat.baseline_score)
    np.testing.assert_allclose(dog.values, -cat.values, rtol=0, atol=1e-6)
    assert dog.gap.max() < 0.01
    assert (dog.target_names[0], cat.target_names[0]) == ("dog", "cat")
    assert dog.prediction_names == tuple("cat" if p > 0.5 else "dog" for p in probability)


@pytest.mark.parametrize("names", [None, ["cat"], ["dog", "cat"]])
@pytest.mark.parametrize("target", [None, 0, [0] * 5, np.zeros(5, dtype=int), (0,) * 5])
def test_the_only_output_has_number_0(single, names, target):
    net, x = single
    if names == ["dog", "cat"] and target is not None:  # then it speaks for number 1
        target = np.add(target, 1).tolist()
    e = explain(wrap(net, class_names=names), x, "saliency", target=target)
    assert np.array_equal(e.values, explain(net, x, "saliency").values)
    assert set(e.target_names) == {names[-1] if names else "the output"}


def test_a_name_for_each_sample_of_one_output(single):
    net, x = single
    model = wrap(net, class_names=["dog", "cat"])
    words = ["dog", "cat", "cat", "dog", "cat"]
    e = explain(model, x, "occlusion", target=words)
    cat = explain(model, x, "occlusion", target="cat")
    sign = np.array([-1 if w == "dog" else 1 for w in words])
    assert np.array_equal(e.score, sign * cat.score)
    assert np.array_equal(e.values, sign[:, None] * cat.values)
    assert e.target_names == tuple(words)


def test_outputs_without_a_class_axis_are_one_output():
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    model = wrap(lambda a: a.sum(axis=1), class_names=["less", "more"])
    e = explain(model, x, "occlusion", target="less")
    np.testing.assert_allclose(e.values, -x)
    np.testing.assert_allclose(e.score, -x.sum(axis=1))


@pytest.mark.parametrize(
    "target", [2, -1, True, False, 0.0, [], [0, 0], ("dog", "cat", "dog"), {"dog"}, [True] * 5]
)
def test_what_one_output_refuses(single, target):
    net, x = single
    with pytest.raises(TargetError, match=r"one output.*None, 0 or 'dog', 1 or 'cat'"):
        explain(wrap(net, class_names=["dog", "cat"]), x, "saliency", target=target)


def test_a_pair_of_equal_classes_is_refused_of_one_output_too(single):
    net, x = single
    with pytest.raises(TargetError, match="both are 'dog'"):
        explain(wrap(net, class_names=["dog", "cat"]), x, "saliency", target=(0, 0))


def test_numbers_of_one_output_are_those_of_its_two_names(single):
    net, x = single
    model = wrap(net, class_names=["dog", "cat"])
    for number, name in enumerate(["dog", "cat"]):
        by_number = explain(model, x, "saliency", target=number)
        by_name = explain(model, x, "saliency", target=name)
        assert by_number.target_names == by_name.target_names == (name,) * len(by_name.score)
        np.testing.assert_array_equal(by_number.values, by_name.values)


@pytest.mark.parametrize("output", ["logit", "probability"])
def test_pairs_of_the_two_names_of_one_output(single, output):
    net, x = single
    model = wrap(net, class_names=["dog", "cat"], output=output)
    cat = explain(model, x, "saliency", target="cat")
    pair = explain(model, x, "saliency", target=("cat", "dog"))
    other = explain(model, x, "saliency", target=(0, 1))
    assert pair.target_names[0] == "cat rather than dog"
    # A logit is the difference of two already; of probabilities it is p − (1 − p).
    factor, offset = (1, 0) if output == "logit" else (2, -1)
    np.testing.assert_allclose(pair.score, factor * cat.score + offset, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(pair.values, factor * cat.values, rtol=1e-6)
    np.testing.assert_allclose(other.values, -pair.values, rtol=1e-6)
    np.testing.assert_allclose(other.score, -pair.score, rtol=1e-6, atol=1e-7)


def test_a_target_function_that_leaves_the_framework_is_told_so(rows):
    net, x = rows
    with pytest.raises(TargetError, match="model's own arrays"):
        explain(net, x, "saliency", target=lambda outputs: outputs.detach().numpy()[:, 1])


@pytest.mark.parametrize(("names", "count"), [(["a"] * 3, 1), (["a"] * 2, 3), (["a"] * 4, 3)])
def test_as_many_names_as_classes(names, count, rows, single):
    net, x = single if count == 1 else rows
    with pytest.raises(TargetError, match=rf"{count} outputs, but {len(names)} class names"):
        explain(wrap(net, class_names=names), x, "saliency")


# Several outputs: what is refused


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (3, r"No class 3 among the 3 outputs of this model \(0–2\)"),
        (-1, "No class -1 among"),
        ([0, 1, 2, 3, 0], "No class 3 among"),
        (True, "True is no class"),
        (1.0, r"got 1\.0"),
        ([0.0] * 5, r"0\.0 is no class"),
        (np.array([0.5] * 5), r"0\.5 is no class"),
        ([0, 1], r"one a sample \(5\), got \[0, 1\]"),
        ([], r"one a sample \(5\)"),
        (np.zeros((5, 1), dtype=int), "is no class"),
        (np.zeros((5, 3), dtype=int), "is no class"),
        ((1, 1), "both are 'tiger cat' for sample 0"),
        ([(0, 1), (0, 1), (2, 2), (0, 1), (0, 1)], "both are 'lynx' for sample 2"),
        ((0, None), "got None"),
        ((0, [1, 2]), r"one a sample \(5\), got \[1, 2\]"),
        ({"class": 1}, "got {'class': 1}"),
        (b"lynx", "got b'lynx'"),
        ("tigercat", "No class named 'tigercat' in the 3 classes.*\n.*Nearest: 'tiger cat'"),
        ("tabby cat", "Nearest:.*'tabby'"),
        ("zebra", "No class named 'zebra'"),
        ("", "No class named ''"),
    ],
    ids=str,
)
def test_what_is_no_target(rows, target, message):
    with pytest.raises(TargetError, match=message):
        maps(rows, target)


def test_a_refusal_says_what_works(rows):
    for target in (9, "zebra", 1.5, [0]):
        with pytest.raises(TargetError) as caught:
            maps(rows, target)
        assert "a function of the outputs" in str(caught.value)


def test_a_name_that_two_classes_have(rows):
    net, x = rows
    model = wrap(net, class_names=["crane", "heron", "crane"])
    with pytest.raises(TargetError, match="classes 0, 2") as caught:
        explain(model, x, "saliency", target="crane")
    assert "number" in str(caught.value)
    assert explain(model, x, "saliency", target="heron").target_names == ("heron",) * 5


def test_names_that_differ_in_case_only(rows):
    net, x = rows
    model = wrap(net, class_names=["Turkey", "turkey", "hen"])
    assert explain(model, x, "saliency", target="turkey").target[0] == 1
    assert explain(model, x, "saliency", target="Turkey").target[0] == 0
    with pytest.raises(TargetError, match="'TURKEY'"):
        explain(model, x, "saliency", target="TURKEY")


def test_a_name_where_there_are_none(rows):
    net, x = rows
    with pytest.raises(TargetError, match=r"no names.*\n.*class_names=.*0–2"):
        explain(net, x, "saliency", target="lynx")


# Outputs that only a function can read


def segmenter(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x.sum(1), (x * x).sum(1)], dim=1)


def test_a_segmentation_needs_a_function():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    model = wrap(segmenter, framework="torch")
    for target in (None, 1, (0, 1)):
        with pytest.raises(TargetError, match=r"shape \(2, 2, 4, 5\)") as caught:
            explain(model, x, "saliency", target=target)
        assert "target=lambda outputs:" in str(caught.value)
    e = explain(model, x, "saliency", target=lambda outputs: outputs[:, 1, 2, 3])
    expected = np.zeros_like(x)
    expected[:, :, 2, 3] = 2 * x[:, :, 2, 3]
    np.testing.assert_allclose(e.values, expected, rtol=1e-6)
    assert e.outputs is None


@pytest.mark.parametrize(
    ("function", "came"),
    [
        (lambda out: out, r"shape \(5, 3\)"),
        (lambda out: out.sum(), r"shape \(\)"),
        (lambda out: out[:2, 0], r"shape \(2,\)"),
        (lambda out: out[:, :1], r"shape \(5, 1\)"),
        (lambda out: 3.0, r"shape \(\)"),
        (lambda out: None, r"shape \(\)"),
    ],
)
@pytest.mark.parametrize("method", ["saliency", "occlusion"])
def test_a_function_of_the_wrong_shape(rows, method, function, came):
    net, x = rows
    with pytest.raises(TargetError, match=rf"one number per sample, shape \(5,\), got {came}"):
        explain(net, x, method, target=function)


def test_a_function_that_raises_is_told_what_it_was_given(rows):
    net, x = rows
    with pytest.raises(TargetError, match=r"raised IndexError.*\n.*shape \(5, 3\)") as caught:
        explain(net, x, "saliency", target=lambda out: out[:, 7])
    assert isinstance(caught.value.__cause__, IndexError)


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "smoothgrad", "occlusion"])
@pytest.mark.parametrize("kind", ["tuple", "dict"])
def test_models_with_several_outputs(kind, method, rows):
    net, x = rows

    class Both(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, a: torch.Tensor):
            out = self.net(a)
            return {"first": out, "second": -out} if kind == "dict" else (out, -out)

    place = "second" if kind == "dict" else 1
    e = explain(Both().eval(), x, method, target=lambda out: out[place][:, 2], batch_size=4)
    plain = explain(net, x, method, target=2, batch_size=4)
    np.testing.assert_allclose(e.values, -plain.values, rtol=0, atol=1e-6)
    assert e.outputs is None
    with pytest.raises(TargetError, match=rf"a {kind} of outputs.*function"):
        explain(Both().eval(), x, method, target=2)


def test_a_list_of_one_output_is_that_output(rows):
    net, x = rows

    class Listed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, a: torch.Tensor):
            return {"logits": self.net(a)}

    found = explain(Listed().eval(), x, "saliency", target=1)
    assert np.array_equal(found.values, singles(rows)[1])


@pytest.mark.parametrize("outputs", ["dict", "tuple", "first", "last"])
def test_the_advice_fits_the_outputs(outputs):
    a = np.arange(24.0).reshape(2, 12)
    returned = {
        "dict": {"classes": a, "box": a[:, :4]},
        "tuple": (a, a[:, :4]),
        "first": a.reshape(2, 2, 3, 2)[:, :, :2],
        "last": a.reshape(2, 3, 2, 2),
    }[outputs]
    with pytest.raises(TargetError, match="need a function") as caught:
        explain(lambda x: returned, np.ones((2, 3)), "random")
    advice = str(caught.value).partition("target=lambda outputs: ")[2].rstrip(".")
    assert eval(advice, {"outputs": returned}).shape == (2,)


ONE_HOT = np.eye(3, dtype=np.float32)[PER_SAMPLE]


@pytest.mark.parametrize(
    "labels",
    [
        ONE_HOT,
        ONE_HOT.astype(int),
        ONE_HOT.astype(bool),
        torch.as_tensor(ONE_HOT),
        ONE_HOT.tolist(),
    ],
    ids=["float", "int", "bool", "tensor", "lists"],
)
def test_one_hot_labels_are_told_to_become_numbers(rows, labels):
    with pytest.raises(TargetError, match=r"one-hot labels of shape \(5, 3\)") as caught:
        maps(rows, labels)
    assert "numpy.argmax(labels, axis=-1)" in str(caught.value)
    assert "[0, 1, 2, 1, 0]" in str(caught.value)


def test_one_hot_label_for_all_samples(rows):
    with pytest.raises(TargetError, match=r"shape \(3,\).*\n.*here 2"):
        maps(rows, [0, 0, 1])


def test_whole_numbers_of_two_classes_stay_pairs_and_real_ones_are_one_hot():
    model = torch.nn.Linear(4, 2)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    labels = np.eye(2)[[0, 1, 0]]
    with pytest.raises(TargetError, match="one-hot labels"):
        explain(model, x, "saliency", target=labels)
    against = explain(model, x, "saliency", target=labels.astype(int))
    assert against.target_names[0] == "class 1 rather than class 0"


def test_one_hot_labels_of_one_output(single):
    net, x = single
    with pytest.raises(TargetError, match="one-hot labels"):
        explain(net, x, "saliency", target=np.eye(2)[[0, 1, 0, 1, 1]])
