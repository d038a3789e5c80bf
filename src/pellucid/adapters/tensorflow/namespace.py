"""TensorFlow under the names of the array API standard, as far as pellucid speaks it.

Functions of plain tensors, checked one by one against NumPy. NumPy behaviour of tensors is never
switched on: that is global and would change the user's own tensors. Creation is in float32 unless
a dtype is given, as models are; whole numbers are int64, as NumPy's are.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import tensorflow as tf

tnp: Any = tf.experimental.numpy

Axis = int | Sequence[int] | None

float16, float32, float64 = tf.float16, tf.float32, tf.float64
bfloat16 = tf.bfloat16
int8, int16, int32, int64 = tf.int8, tf.int16, tf.int32, tf.int64
uint8, uint16, uint32, uint64 = tf.uint8, tf.uint16, tf.uint32, tf.uint64
complex64, complex128 = tf.complex64, tf.complex128
bool = tf.bool
pi, e, inf, nan, newaxis = math.pi, math.e, math.inf, math.nan, None

abs, sign, negative = tf.abs, tf.sign, tf.negative
sqrt, square, exp, expm1, log, log1p = (
    tf.sqrt,
    tf.square,
    tf.exp,
    tf.math.expm1,
    tf.math.log,
    tf.math.log1p,
)
sin, cos, tan, tanh, sinh, cosh = tf.sin, tf.cos, tf.tan, tf.tanh, tf.sinh, tf.cosh
floor, ceil, round = tf.floor, tf.math.ceil, tf.round
isfinite, isnan, isinf = tf.math.is_finite, tf.math.is_nan, tf.math.is_inf
logical_and, logical_or, logical_not = tf.logical_and, tf.logical_or, tf.logical_not
zeros_like, ones_like = tf.zeros_like, tf.ones_like
einsum = tf.einsum
permute_dims = tf.transpose
stop_gradient = tf.stop_gradient


def finfo(dtype: tf.DType) -> Any:
    """The limits of a floating-point type."""
    return ml_dtypes.finfo(dtype.as_numpy_dtype)  # NumPy's knows no bfloat16


def _pair(a: Any, b: Any) -> tuple[Any, Any]:
    """Both as tensors of one dtype: a Python number takes the array's, two arrays promote."""
    if not tf.is_tensor(a) and not tf.is_tensor(b):
        a = asarray(a)
    if not tf.is_tensor(b):
        return a, _beside(b, a)
    if not tf.is_tensor(a):
        return _beside(a, b), b
    if a.dtype != b.dtype:
        common = tnp.result_type(a.dtype.as_numpy_dtype, b.dtype.as_numpy_dtype)
        return tf.cast(a, common), tf.cast(b, common)
    return a, b


def _beside(number: Any, array: Any) -> Any:
    dtype = array.dtype
    fraction = np.asarray(number).dtype.kind == "f"
    return tf.cast(
        tf.convert_to_tensor(number), tf.float32 if fraction and not dtype.is_floating else dtype
    )


def asarray(a: Any, dtype: Any = None, *, copy: Any = None, device: Any = None) -> tf.Tensor:
    """`a` as a tensor; Python numbers with a fraction become float32."""
    if not tf.is_tensor(a):
        if dtype is None and not isinstance(a, np.ndarray | np.generic):
            a = np.asarray(a)
            a = a.astype(np.float32) if a.dtype == np.float64 else a
        a = tf.convert_to_tensor(np.asarray(a))
    return a if dtype is None else tf.cast(a, dtype)


def astype(a: Any, dtype: Any, /, *, copy: Any = True) -> tf.Tensor:
    """`a` in another dtype."""
    return tf.cast(a, dtype)


def _binary(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], tf.Tensor]:
    """An operation of two arrays, or of an array and a Python number."""

    def elementwise(a: Any, b: Any, /) -> tf.Tensor:
        return operation(*_pair(a, b))

    return elementwise


add, subtract, multiply, divide = map(_binary, (tf.add, tf.subtract, tf.multiply, tf.divide))
floor_divide, remainder = _binary(tf.math.floordiv), _binary(tf.math.floormod)
pow, atan2 = _binary(tf.pow), _binary(tf.atan2)
maximum, minimum = _binary(tf.maximum), _binary(tf.minimum)
equal, not_equal = _binary(tf.equal), _binary(tf.not_equal)
less, less_equal = _binary(tf.less), _binary(tf.less_equal)
greater, greater_equal = _binary(tf.greater), _binary(tf.greater_equal)


def where(condition: Any, a: Any, b: Any, /) -> tf.Tensor:
    """`a` where the condition holds, `b` elsewhere."""
    return tf.where(condition, *_pair(a, b))


def clip(a: Any, /, min: Any = None, max: Any = None) -> tf.Tensor:
    """`a` held between two bounds, either of which may be absent."""
    a = a if min is None else maximum(a, min)
    return a if max is None else minimum(a, max)


def zeros(shape: Any, *, dtype: Any = float32, device: Any = None) -> tf.Tensor:
    """An array of zeros."""
    return tf.zeros(shape, float32 if dtype is None else dtype)


def ones(shape: Any, *, dtype: Any = float32, device: Any = None) -> tf.Tensor:
    """An array of ones."""
    return tf.ones(shape, float32 if dtype is None else dtype)


def full(shape: Any, value: Any, *, dtype: Any = None, device: Any = None) -> tf.Tensor:
    """An array of one value."""
    return tf.fill(shape, asarray(value, dtype))


def full_like(a: Any, /, value: Any, *, dtype: Any = None) -> tf.Tensor:
    """An array of one value, in the shape and dtype of `a`."""
    return tf.fill(tf.shape(a), tf.cast(value, dtype or a.dtype))


def eye(rows: int, columns: int | None = None, /, *, dtype: Any = float32) -> tf.Tensor:
    """Ones on the diagonal."""
    return tf.eye(rows, columns, dtype=dtype or float32)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None) -> tf.Tensor:
    """Numbers from `start` up to `stop`."""
    start, stop = (0, start) if stop is None else (start, stop)
    whole = isinstance(start, int) and isinstance(stop, int) and isinstance(step, int)
    natural = int64 if whole else float32
    return tf.cast(tf.range(start, stop, step, natural), dtype or natural)


def linspace(
    start: Any, stop: Any, /, num: int, *, dtype: Any = float32, endpoint: Any = True
) -> tf.Tensor:
    """`num` numbers from `start` to `stop`."""
    return asarray(np.linspace(start, stop, num, endpoint=endpoint), dtype or float32)


def reshape(a: Any, /, shape: Any) -> tf.Tensor:
    """The same numbers in another shape."""
    return tf.reshape(a, shape)


def expand_dims(a: Any, /, axis: int = 0) -> tf.Tensor:
    """A new axis of size one."""
    return tf.expand_dims(a, axis)


def squeeze(a: Any, /, axis: Axis = None) -> tf.Tensor:
    """Axes of size one taken out."""
    return tf.squeeze(a, None if axis is None else _axes(a, axis))  # type: ignore[arg-type]


def broadcast_to(a: Any, /, shape: Any) -> tf.Tensor:
    """`a` repeated to fill a shape."""
    return tf.broadcast_to(a, shape)


def matrix_transpose(a: Any, /) -> tf.Tensor:
    """The last two axes exchanged."""
    return tf.linalg.matrix_transpose(a)


def moveaxis(a: Any, source: Any, destination: Any, /) -> tf.Tensor:
    """Axes moved to other places."""
    return tnp.moveaxis(a, source, destination)


def concat(arrays: Sequence[Any], /, *, axis: int | None = 0) -> tf.Tensor:
    """Arrays one after the other along an axis."""
    if axis is None:
        return tf.concat([tf.reshape(a, (-1,)) for a in arrays], 0)
    return tf.concat(list(arrays), axis)


def stack(arrays: Sequence[Any], /, *, axis: int = 0) -> tf.Tensor:
    """Arrays along a new axis."""
    return tf.stack(list(arrays), axis)


def unstack(a: Any, /, *, axis: int = 0) -> tuple[tf.Tensor, ...]:
    """The parts of `a` along an axis."""
    return tuple(tf.unstack(a, axis=axis))


def flip(a: Any, /, *, axis: Axis = None) -> tf.Tensor:
    """`a` backwards along one axis, several or all."""
    return tf.reverse(a, _axes(a, axis))


def roll(a: Any, /, shift: Any, *, axis: Any = None) -> tf.Tensor:
    """`a` rolled round along an axis."""
    if axis is None:
        return tf.reshape(tf.roll(tf.reshape(a, (-1,)), shift, 0), tf.shape(a))
    return tf.roll(a, shift, axis)


def repeat(a: Any, repeats: Any, /, *, axis: int | None = None) -> tf.Tensor:
    """Each element, or each row along an axis, several times."""
    return tf.repeat(a, repeats, axis)


def tile(a: Any, repetitions: Any, /) -> tf.Tensor:
    """The whole of `a` several times along each axis."""
    return tnp.tile(a, repetitions)


def take(a: Any, indices: Any, /, *, axis: int | None = None) -> tf.Tensor:
    """The elements at `indices` along an axis."""
    return (
        tf.gather(tf.reshape(a, (-1,)), indices)
        if axis is None
        else tf.gather(a, indices, axis=axis)
    )


def take_along_axis(a: Any, indices: Any, /, *, axis: int = -1) -> tf.Tensor:
    """For each position its own index along an axis."""
    table = len(a.shape) == len(indices.shape) == 2 and axis in {1, -1}
    if not table or a.shape[0] != indices.shape[0]:
        return tnp.take_along_axis(a, indices, axis)
    # The derivative of a gather in two dimensions is one operation, of the general one fifty.
    indices = tf.where(indices < 0, indices + tf.shape(a, indices.dtype)[1], indices)
    rows = tf.range(tf.shape(indices, indices.dtype)[0])[:, None] + tf.zeros_like(indices)
    return tf.gather_nd(a, tf.stack([rows, indices], axis=-1))


def sum(a: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: Any = False) -> tf.Tensor:
    """The sum over axes."""
    a = asarray(a, dtype)
    a = tf.cast(a, int64) if dtype is None and (a.dtype.is_bool or a.dtype.is_integer) else a
    return tf.reduce_sum(a, axis, keepdims)


def prod(a: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: Any = False) -> tf.Tensor:
    """The product over axes."""
    return tf.reduce_prod(asarray(a, dtype), axis, keepdims)


def mean(a: Any, /, *, axis: Axis = None, keepdims: Any = False) -> tf.Tensor:
    """The mean over axes; of whole numbers in float32."""
    a = asarray(a)
    return tf.reduce_mean(a if a.dtype.is_floating else tf.cast(a, float32), axis, keepdims)


def var(
    a: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: Any = False
) -> tf.Tensor:
    """The variance over axes, divided by count − correction."""
    found = tf.math.reduce_variance(a, axis, keepdims)
    if not correction:
        return found
    count = math.prod(a.shape[i] for i in _axes(a, axis))
    return found * (count / (count - correction))


def std(
    a: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: Any = False
) -> tf.Tensor:
    """The standard deviation over axes."""
    return tf.sqrt(var(a, axis=axis, correction=correction, keepdims=keepdims))


def max(a: Any, /, *, axis: Axis = None, keepdims: Any = False) -> tf.Tensor:
    """The largest over axes."""
    return tf.reduce_max(a, axis, keepdims)


def min(a: Any, /, *, axis: Axis = None, keepdims: Any = False) -> tf.Tensor:
    """The smallest over axes."""
    return tf.reduce_min(a, axis, keepdims)


def any(a: Any, /, *, axis: Axis = None, keepdims: Any = False) -> tf.Tensor:
    """Whether any is true."""
    return tf.reduce_any(tf.cast(a, tf.bool), axis, keepdims)


def all(a: Any, /, *, axis: Axis = None, keepdims: Any = False) -> tf.Tensor:
    """Whether all are true."""
    return tf.reduce_all(tf.cast(a, tf.bool), axis, keepdims)


def argmax(a: Any, /, *, axis: int | None = None, keepdims: Any = False) -> tf.Tensor:
    """The index of the largest, the first of equals."""
    return _arg(tf.argmax, a, axis, keepdims)


def argmin(a: Any, /, *, axis: int | None = None, keepdims: Any = False) -> tf.Tensor:
    """The index of the smallest, the first of equals."""
    return _arg(tf.argmin, a, axis, keepdims)


def _arg(search: Any, a: Any, axis: int | None, keepdims: Any) -> tf.Tensor:
    if axis is None:
        found = search(tf.reshape(a, (-1,)), 0)
        return tf.reshape(found, [1] * len(a.shape)) if keepdims else found
    found = search(a, axis)
    return tf.expand_dims(found, axis) if keepdims else found


def argsort(a: Any, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> tf.Tensor:
    """The indices that sort an axis, equal elements in their order."""
    direction = "DESCENDING" if descending else "ASCENDING"
    return tf.cast(tf.argsort(a, axis, direction, stable=True), int64)


def sort(a: Any, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> tf.Tensor:
    """An axis sorted."""
    return tf.sort(a, axis, "DESCENDING" if descending else "ASCENDING")


def cumulative_sum(a: Any, /, *, axis: int | None = None, dtype: Any = None) -> tf.Tensor:
    """Sums from the start of an axis up to each element."""
    a = asarray(a, dtype)
    return tf.cumsum(tf.reshape(a, (-1,)), 0) if axis is None else tf.cumsum(a, axis)


cumsum = cumulative_sum


def searchsorted(a: Any, values: Any, /, *, side: str = "left") -> tf.Tensor:
    """Where each value belongs in the sorted `a`."""
    return tf.searchsorted(a, values, side, out_type=int64)


def pad(a: Any, widths: Any, /, *, mode: str = "constant", constant_values: Any = 0) -> tf.Tensor:
    """`a` with borders of the given widths, `((before, after), ...)` for each axis."""
    return tf.pad(a, widths, mode.upper(), constant_values)  # type: ignore[arg-type]


def vector_norm(a: Any, /, *, axis: Axis = None, keepdims: Any = False) -> tf.Tensor:
    """The Euclidean length over axes."""
    return tf.sqrt(tf.reduce_sum(tf.square(a), axis, keepdims))


def matmul(a: Any, b: Any, /) -> tf.Tensor:
    """The matrix product, of vectors too."""
    return tnp.matmul(a, b)


def tensordot(a: Any, b: Any, /, *, axes: Any = 2) -> tf.Tensor:
    """Products summed over the axes named for each array."""
    return tf.tensordot(a, b, axes)


def _axes(a: Any, axis: Axis) -> list[int]:
    if axis is None:
        return list(range(len(a.shape)))
    found = [axis] if isinstance(axis, int) else list(axis)
    return [i % len(a.shape) for i in found]
