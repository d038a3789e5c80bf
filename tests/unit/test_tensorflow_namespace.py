"""Each name of the TensorFlow namespace against NumPy, in value, shape and dtype."""

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")

from pellucid.adapters.tensorflow import namespace as xp  # noqa: E402

A = np.random.default_rng(0).normal(size=(2, 3, 4)).astype("float32")
B = np.random.default_rng(1).normal(size=(2, 3, 4)).astype("float32")
P = np.abs(A) + 0.5
WHOLE = np.array([[3, 1, 2], [2, 2, 5]])
MASK = A > 0

UNARY = (
    "abs sign negative square exp expm1 sin cos tan tanh sinh cosh floor ceil round"
    " isfinite isnan isinf zeros_like ones_like"
)
BINARY = (
    "add subtract multiply divide floor_divide remainder maximum minimum"
    " equal not_equal less less_equal greater greater_equal"
)
REDUCED = "sum mean max min prod var std"


def same(found, expected, dtype=None):
    expected = np.asarray(expected)
    assert tuple(found.shape) == expected.shape
    assert found.dtype.as_numpy_dtype == (dtype or expected.dtype)
    np.testing.assert_allclose(np.asarray(found), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", UNARY.split())
def test_of_one_array(name):
    same(getattr(xp, name)(tf.constant(A)), getattr(np, name)(A))


@pytest.mark.parametrize("name", ["sqrt", "log", "log1p"])
def test_of_one_positive_array(name):
    same(getattr(xp, name)(tf.constant(P)), getattr(np, name)(P))


@pytest.mark.parametrize("name", BINARY.split())
def test_of_two_arrays(name):
    same(getattr(xp, name)(tf.constant(A), tf.constant(B)), getattr(np, name)(A, B))
    same(getattr(xp, name)(tf.constant(A), 0.5), getattr(np, name)(A, np.float32(0.5)))
    same(getattr(xp, name)(2, tf.constant(A)), getattr(np, name)(np.float32(2), A))
    mixed = getattr(xp, name)(tf.constant(A), tf.constant(B.astype("float64")))
    same(mixed, getattr(np, name)(A, B.astype("float64")))


def test_powers_and_angles():
    same(xp.pow(tf.constant(P), 2), P**2)
    same(xp.pow(tf.constant(P), tf.constant(B)), P**B)
    same(xp.atan2(tf.constant(A), tf.constant(B)), np.arctan2(A, B))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("name", REDUCED.split())
def test_over_axes(name, axis, keepdims):
    expected = getattr(np, name)(A, axis=axis, keepdims=keepdims)
    same(getattr(xp, name)(tf.constant(A), axis=axis, keepdims=keepdims), expected)


@pytest.mark.parametrize("axis", [None, 1, (0, 2)])
def test_truth_over_axes(axis):
    same(xp.any(tf.constant(MASK), axis=axis), MASK.any(axis))
    same(xp.all(tf.constant(MASK), axis=axis, keepdims=True), MASK.all(axis, keepdims=True))
    same(xp.any(tf.constant(A)), (A != 0).any())


def test_sums_of_other_types():
    same(xp.sum(tf.constant(MASK)), MASK.sum())
    same(xp.sum(tf.constant(WHOLE), axis=1), WHOLE.sum(1))
    same(xp.sum(tf.constant(A), dtype=xp.float64), A.sum(dtype="float64"))
    same(xp.mean(tf.constant(WHOLE), axis=0), WHOLE.mean(0), np.float32)
    same(xp.std(tf.constant(A), axis=(0, 1), correction=1), A.std((0, 1), ddof=1))
    same(xp.vector_norm(tf.constant(A), axis=(1, 2)), np.sqrt((A**2).sum((1, 2))))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_order(axis):
    a = tf.constant(A)
    same(xp.sort(a, axis=axis), np.sort(A, axis))
    same(xp.sort(a, axis=axis, descending=True), -np.sort(-A, axis))
    same(xp.argsort(a, axis=axis), np.argsort(A, axis, kind="stable"))
    same(xp.argmax(a, axis=axis), A.argmax(axis))
    same(xp.argmin(a, axis=axis, keepdims=True), A.argmin(axis, keepdims=True))
    same(xp.cumulative_sum(a, axis=axis), A.cumsum(axis))
    same(xp.flip(a, axis=axis), np.flip(A, axis))


def test_order_of_equals_and_of_everything():
    ties = np.array([[1.0, 0.0, 1.0, 0.0]], "float32")
    same(xp.argsort(tf.constant(ties)), np.argsort(ties, kind="stable"))
    same(xp.argsort(tf.constant(ties), descending=True), np.array([[0, 2, 1, 3]]))
    same(xp.argmax(tf.constant(A)), A.argmax())
    same(xp.argmax(tf.constant(A), keepdims=True), A.argmax(keepdims=True))
    same(xp.cumsum(tf.constant(A)), A.cumsum())
    same(xp.flip(tf.constant(A)), np.flip(A))
    same(xp.flip(tf.constant(A), axis=(0, 2)), np.flip(A, (0, 2)))
    line = np.array([0.0, 1.0, 1.0, 3.0], "float32")
    values = np.array([1.0, 2.0, 5.0], "float32")
    for side in ("left", "right"):
        found = xp.searchsorted(tf.constant(line), tf.constant(values), side=side)
        same(found, np.searchsorted(line, values, side))


def test_creation_is_float32_and_int64():
    same(xp.zeros((2, 3)), np.zeros((2, 3), "float32"))
    same(xp.ones(3, dtype=xp.int64), np.ones(3, "int64"))
    same(xp.full((2,), 1.5), np.full(2, 1.5, "float32"))
    same(xp.full((2,), 3), np.full(2, 3), np.int64)
    same(xp.full_like(tf.constant(A), 7), np.full_like(A, 7))
    same(xp.eye(3), np.eye(3, dtype="float32"))
    same(xp.eye(2, 3), np.eye(2, 3, dtype="float32"))
    same(xp.arange(5), np.arange(5))
    same(xp.arange(1, 7, 2), np.arange(1, 7, 2))
    same(xp.arange(0.0, 1.0, 0.25), np.arange(0, 1, 0.25, "float32"))
    same(xp.arange(3, dtype=xp.float32), np.arange(3, dtype="float32"))
    same(xp.linspace(0, 1, 5), np.linspace(0, 1, 5, dtype="float32"))
    same(xp.asarray([1.5, 2]), np.array([1.5, 2], "float32"))
    same(xp.asarray([1, 2]), np.array([1, 2]))
    same(xp.asarray(A.astype("float64")), A.astype("float64"))
    same(xp.asarray([True, False]), np.array([True, False]))
    same(xp.asarray(A, dtype=xp.float64), A.astype("float64"))
    same(xp.astype(tf.constant(A), xp.int32), A.astype("int32"))
    same(xp.astype(tf.constant(MASK), xp.float32), MASK.astype("float32"))


def test_shapes():
    a = tf.constant(A)
    same(xp.reshape(a, (-1, 4)), A.reshape(-1, 4))
    same(xp.reshape(a, (-1,)), A.reshape(-1))
    same(xp.permute_dims(a, (2, 0, 1)), A.transpose(2, 0, 1))
    same(xp.moveaxis(a, -1, 1), np.moveaxis(A, -1, 1))
    same(xp.matrix_transpose(a), A.swapaxes(-1, -2))
    same(xp.expand_dims(a, axis=0), A[None])
    same(xp.expand_dims(a, axis=-1), A[..., None])
    same(xp.squeeze(tf.constant(A[None, :, :1]), axis=(0, 2)), A[:, 0])
    same(xp.broadcast_to(tf.constant(A[:1]), (5, 3, 4)), np.broadcast_to(A[:1], (5, 3, 4)))
    same(xp.concat([a, a], axis=1), np.concatenate([A, A], 1))
    same(xp.concat([a, a], axis=None), np.concatenate([A, A], None))
    same(xp.stack([a, a], axis=-1), np.stack([A, A], -1))
    for found, expected in zip(xp.unstack(a, axis=1), np.moveaxis(A, 1, 0), strict=True):
        same(found, expected)
    same(xp.roll(a, 1, axis=1), np.roll(A, 1, 1))
    same(xp.roll(a, 2), np.roll(A, 2))
    same(xp.repeat(a, 3, axis=0), np.repeat(A, 3, 0))
    same(xp.repeat(a, 2), np.repeat(A, 2))
    same(xp.tile(a, (2, 1, 3)), np.tile(A, (2, 1, 3)))
    same(xp.pad(a, ((0, 0), (1, 2), (0, 1))), np.pad(A, ((0, 0), (1, 2), (0, 1))))
    same(
        xp.pad(a, ((0, 0), (1, 1), (0, 0)), mode="reflect"),
        np.pad(A, ((0, 0), (1, 1), (0, 0)), mode="reflect"),
    )


def test_choosing():
    a, b = tf.constant(A), tf.constant(B)
    same(xp.where(tf.constant(MASK), a, b), np.where(MASK, A, B))
    same(xp.where(tf.constant(MASK), a, 0.0), np.where(MASK, A, np.float32(0)))
    same(xp.where(tf.constant(MASK), 1, a), np.where(MASK, np.float32(1), A))
    same(xp.clip(a, -0.5, 0.5), A.clip(-0.5, 0.5))
    same(xp.clip(a, min=0), A.clip(0))
    same(xp.clip(a, max=0.0), A.clip(max=0))
    index = np.array([2, 0, 1, 1])
    same(xp.take(a, tf.constant(index), axis=1), np.take(A, index, 1))
    same(xp.take(a, index, axis=1), np.take(A, index, 1))
    same(xp.take(a, index), np.take(A, index))
    along = np.argsort(A, 1)
    same(xp.take_along_axis(a, tf.constant(along), axis=1), np.take_along_axis(A, along, 1))
    matrix, column = tf.constant(A[0]), tf.constant([[3], [0], [1]], tf.int64)
    expected = np.take_along_axis(A[0], np.array([[3], [0], [1]]), 1)
    same(xp.take_along_axis(matrix, column, axis=1), expected)
    same(xp.logical_and(tf.constant(MASK), tf.constant(A > 1)), MASK & (A > 1))
    same(xp.logical_or(tf.constant(MASK), tf.constant(A > 1)), MASK | (A > 1))
    same(xp.logical_not(tf.constant(MASK)), ~MASK)


def test_products():
    a, b = tf.constant(A), tf.constant(B.swapaxes(1, 2))
    same(xp.matmul(a, b), A @ B.swapaxes(1, 2))
    same(xp.matmul(a, tf.constant(A[0, 0])), A @ A[0, 0])
    same(xp.matmul(tf.constant(A[0, 0]), tf.constant(A[0, 1])), A[0, 0] @ A[0, 1])
    same(
        xp.tensordot(a, tf.constant(B), axes=([1, 2], [1, 2])), np.tensordot(A, B, ([1, 2], [1, 2]))
    )
    same(xp.einsum("nij,nij->ni", a, tf.constant(B)), np.einsum("nij,nij->ni", A, B))


def test_derivatives_pass_and_stop():
    a = tf.constant(A)
    with tf.GradientTape() as tape:
        tape.watch(a)
        value = xp.sum(
            xp.multiply(xp.stop_gradient(a), xp.take(xp.maximum(a, 0.0), [0, 1], axis=0))
        )
    same(tf.convert_to_tensor(tape.gradient(value, a)), np.where(A > 0, A, 0).astype("float32"))


def test_what_a_float_type_holds_is_as_numpy_says():
    for name in ("float16", "float32", "float64"):
        ours, theirs = xp.finfo(getattr(tf, name)), np.finfo(name)
        assert (float(ours.eps), float(ours.max)) == (float(theirs.eps), float(theirs.max))


def test_what_bfloat16_holds_is_known_although_numpy_has_no_such_type():
    ours = xp.finfo(tf.bfloat16)
    assert (float(ours.eps), float(ours.max)) == (2.0**-7, (2 - 2.0**-7) * 2.0**127)


def test_every_public_name_is_checked_here():
    text = Path(__file__).read_text(encoding="utf-8")
    imported = {"Any", "Axis", "Callable", "Sequence"}
    modules = {n for n, value in vars(xp).items() if isinstance(value, ModuleType)}
    names = {n for n in vars(xp) if not n.startswith("_")} - imported - modules
    constants = {n for n in names if isinstance(getattr(xp, n), tf.DType | float) or n == "newaxis"}
    missing = [
        n
        for n in sorted(names - constants)
        if f"xp.{n}(" not in text
        and n not in (*UNARY.split(), *BINARY.split(), *REDUCED.split(), "sqrt", "log", "log1p")
    ]
    assert missing == []


def test_numpy_behaviour_stays_off():
    assert not hasattr(tf.constant(1.0), "reshape")
