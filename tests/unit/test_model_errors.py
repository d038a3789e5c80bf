"""Models that fail: what the user is told, and that memory's end is not the end."""

import numpy as np
import pytest
import torch

from pellucid import explain, wrap
from pellucid.adapters.callable import CallableAdapter
from pellucid.errors import CapabilityError, InputError, ModelError, TargetError
from pellucid.testing import build


def failing(a: np.ndarray) -> np.ndarray:
    """Refuses rows whose first number is negative."""
    if (a[:, 0] < 0).any():
        raise ValueError("negative age\nand a long story about it")
    return a.sum(axis=1)


def rows(count: int, bad: list[int]) -> np.ndarray:
    x = np.ones((count, 3), dtype=np.float32)
    x[bad, 0] = -1
    return x


@pytest.mark.parametrize("batch_size", ["auto", 1, 4, 100])
@pytest.mark.parametrize("bad", [[0], [13], [3, 9, 19], [18, 19]])
def test_rows_the_model_raises_on_are_named(bad, batch_size):
    """By their number in the user's batch, not in the micro-batch."""
    with pytest.raises(ModelError, match=r"raised ValueError.*: negative age\n") as caught:
        explain(failing, rows(20, bad), "occlusion", batch_size=batch_size)
    message = str(caught.value)
    named = [int(n) for n in message.partition("[")[2].partition("]")[0].split(",") if n.strip()]
    if batch_size == 1:
        assert not named, "a single row is not looked for"
    else:
        assert set(named) <= set(bad)
        assert named[0] == bad[0]
    assert "long story" not in message
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_model_that_always_raises_gets_advice_on_shapes():
    def fail(a):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(ModelError, match=r"given \(2, 3\) float32.*channels first or last") as e:
        explain(fail, np.ones((2, 3), np.float32), "random")
    assert "rows" not in str(e.value)


@pytest.mark.parametrize("method", ["saliency", "gradcam", "occlusion", "smoothgrad", "random"])
def test_a_layout_that_the_network_cannot_take(method):
    """Channels last to a torch network: a ModelError from every kind of method."""
    net, x = build("cnn", "torch")
    with pytest.raises(ModelError, match=r"raised RuntimeError.*\n.*channels first or last"):
        explain(net, np.moveaxis(x, 1, -1).copy(), method)


@pytest.mark.parametrize("method", ["saliency", "occlusion", "smoothgrad"])
def test_a_network_that_raises_for_some_rows(method):
    class Picky(torch.nn.Module):
        def forward(self, a: torch.Tensor) -> torch.Tensor:
            if (a.detach()[:, 0] > 50).any():
                raise ValueError("too old")
            return a.sum(dim=1)

    x = torch.ones(20, 3)
    x[11, 0] = 99
    with pytest.raises(ModelError, match=r"raised ValueError on the rows \[11\].*too old"):
        explain(Picky(), x, method)


def test_raising_on_changed_copies_only():
    """The prediction works, the covered copies of two samples do not."""

    def picky(a):
        if (a.sum(axis=1) > 100).any():
            raise ValueError("too much")
        return a.sum(axis=1)

    x = np.ones((4, 3), dtype=np.float32)
    x[[1, 3], 0] = -1
    baseline = np.full((4, 3), 0.0)
    baseline[[1, 3], 1] = 1000
    with pytest.raises(ModelError, match=r"changed copies of the samples \[1, 3\]"):
        explain(picky, x, "occlusion", baseline=baseline, batch_size=12)


def test_a_model_that_cannot_take_the_baseline():
    def logarithm(a):
        with np.errstate(divide="ignore"):
            return np.log(a).sum(axis=1)

    x = np.full((3, 2), 2.0)
    with pytest.raises(ModelError, match=r"changed copies of the samples \[0, 1, 2\].*\n.*basel"):
        explain(logarithm, x, "occlusion")
    assert np.isfinite(explain(logarithm, x, "occlusion", baseline=1).values).all()


@pytest.mark.parametrize("batch_size", ["auto", 3])
def test_rows_for_which_nan_comes_back_are_named(batch_size):
    def root(a):
        with np.errstate(invalid="ignore"):
            return np.sqrt(a[:, :2])

    with pytest.raises(ModelError, match=r"NaN or infinity for the rows \[14\]"):
        explain(root, rows(16, [14]), "occlusion", batch_size=batch_size)


def test_a_derivative_that_is_not_finite():
    model = wrap(lambda a: torch.sqrt(a).sum(1), framework="torch")
    x = np.array([[1.0, 2], [0, 1], [4, 4]], dtype=np.float32)
    with pytest.raises(ModelError, match=r"rows \[1\].*derivative is not finite") as e:
        explain(model, x, "saliency")
    assert "occlusion" in str(e.value)
    assert np.isfinite(explain(model, x, "occlusion").values).all()


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda a: a.sum(), "shape|without rows"),
        (lambda a: 3.5, "without rows"),
        (lambda a: None, "numbers|without rows"),
        (lambda a: a[:1].sum(axis=1), r"each of the 4 samples, got shape \(1,\)"),
        (lambda a: a.T, r"got shape \(3, 4\)"),
        (lambda a: np.stack([a, a]), r"got shape \(2, 4, 3\)"),
        (lambda a: (a, a[:2]), r"got shape \(2, 3\)"),
        (lambda a: {"one": a[:3]}, r"got shape \(3, 3\)"),
        (lambda a: np.array(["dog"] * len(a)), "numbers.*\n.*predict_proba"),
        (lambda a: np.array([None] * len(a)), "numbers.*object"),
    ],
)
def test_outputs_that_cannot_be_explained(function, message):
    with pytest.raises(ModelError, match=message):
        explain(function, np.ones((4, 3)), "occlusion")


def test_a_list_of_numbers_is_an_array():
    x = np.ones((4, 3))
    e = explain(lambda a: [float(row.sum()) for row in a], x, "occlusion")
    np.testing.assert_allclose(e.values, 1)
    e = explain(lambda a: [[1.0, float(row[0])] for row in a], x, "occlusion", target=1)
    np.testing.assert_allclose(e.values, [[1, 0, 0]] * 4)


def test_a_list_of_arrays_of_torch_is_several_outputs():
    model = wrap(lambda a: [a.sum(1), 2 * a.sum(1)], framework="torch")
    x = np.ones((2, 3), np.float32)
    e = explain(model, x, "saliency", target=lambda out: out[1])
    np.testing.assert_allclose(e.values, 2)
    with pytest.raises(TargetError, match="need a function"):
        explain(model, x, "saliency")


def test_our_own_errors_are_not_called_the_model_s():
    """A capability error inside a run stays one."""
    net, x = build("dense", "torch")

    class Refusing(torch.nn.Module):
        def forward(self, a: torch.Tensor) -> torch.Tensor:
            raise CapabilityError("not for this")

    with pytest.raises(CapabilityError, match="not for this"):
        explain(Refusing(), x, "saliency")
    assert np.isfinite(explain(net, x, "saliency").values).all()


# The end of memory


class Limited:
    """A model whose machine holds `limit` rows."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.seen: list[int] = []
        self.failed: list[int] = []

    def __call__(self, a: np.ndarray) -> np.ndarray:
        if len(a) > self.limit:
            self.failed.append(len(a))
            raise MemoryError(f"cannot hold {len(a)} rows")
        self.seen.append(len(a))
        return a.sum(axis=1)


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("batch_size", ["auto", 8, 64])
def test_a_batch_that_does_not_fit_is_halved(limit, batch_size):
    x = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    model, done = Limited(limit), []
    e = explain(
        model, x, "occlusion", batch_size=batch_size, progress=lambda a, b: done.append((a, b))
    )
    np.testing.assert_allclose(e.values, x, atol=1e-5)
    assert sum(model.seen) == 10 + 30 + 1, "every item once: what was done is not done again"
    assert model.failed
    assert max(model.seen) <= limit
    counts = [d for d, _ in done]
    assert counts == sorted(counts)
    assert counts[-1] == 10 + 30
    assert {total for _, total in done} == {10 * (1 + 3 + 1)}, "a baseline for each, at most"


def test_a_single_row_that_does_not_fit():
    with pytest.raises(ModelError, match="Out of memory with a single row") as caught:
        explain(Limited(0), np.ones((4, 3)), "occlusion")
    assert isinstance(caught.value.__cause__, MemoryError)


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients", "smoothgrad", "gradcam"])
def test_any_framework_s_error_for_it(method, monkeypatch):
    """An adapter says what running out of memory looks like; gradients are halved too."""
    net, x = build("cnn", "torch")
    options = {"smoothgrad": {"samples": 3}, "integrated_gradients": {"steps": 3}}.get(method, {})
    expected = explain(net, x, method, batch_size=2, **options).values

    class OutOfSpaceError(RuntimeError):
        pass

    sizes = []

    def limit(module, args):
        sizes.append(len(args[0]))
        if len(args[0]) > 2:
            raise OutOfSpaceError("device full")

    model = wrap(net)
    monkeypatch.setattr(
        type(model.adapter), "is_out_of_memory", lambda self, e: isinstance(e, OutOfSpaceError)
    )
    handle = net.register_forward_pre_hook(limit)
    try:
        e = explain(model, x, method, **options)
    finally:
        handle.remove()
    np.testing.assert_allclose(e.values, expected, rtol=1e-4, atol=1e-6)
    assert max(sizes) > 2


def test_what_is_memory_s_end_and_what_is_not():
    adapter = CallableAdapter(lambda a: a)
    assert adapter.is_out_of_memory(MemoryError())
    assert not adapter.is_out_of_memory(ValueError("memory"))
    net = wrap(torch.nn.Linear(2, 2)).adapter
    assert net.is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    assert not net.is_out_of_memory(RuntimeError("shapes"))


def test_an_unknown_method_runs_nothing():
    model = Limited(100)
    for call in (
        lambda: explain(model, np.ones((2, 3)), "oclusion"),
        lambda: explain(model, np.ones((2, 3)), "occlusion", widow=3),
        lambda: explain(model, np.ones((2, 3)), "occlusion", batch_size=0),
    ):
        with pytest.raises(InputError):
            call()
    with pytest.raises(CapabilityError):
        explain(model, np.ones((2, 3)), "saliency")
    assert not model.seen
