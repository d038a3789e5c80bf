"""What a user passes as TensorFlow's tensors, in the types that the model takes."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pellucid.adapters.protocol import InputSpec
from pellucid.errors import InputError


def as_array(x: Any) -> Any:
    """A tensor as it is, anything else as an array."""
    if tf.is_tensor(x):
        return x
    if isinstance(x, tf.Variable | keras.Variable):
        return tf.convert_to_tensor(x)
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InputError(f"The rows of the input differ in shape: {error}") from error
    if array.dtype == object:
        raise InputError(
            f"The input cannot be made an array of numbers: it holds {type(x).__name__} of unequal"
            " or unknown parts."
        )
    return array


def as_leaf(value: Any, spec: InputSpec | None, float_dtype: tf.DType) -> tf.Tensor:
    """A tensor of the type declared; else floats in `float_dtype`, the others as they came."""
    tensor = value if tf.is_tensor(value) else tf.convert_to_tensor(value)
    wanted = tf.as_dtype(spec.dtype) if spec is not None and spec.dtype else None
    if wanted is None:
        wanted = float_dtype if tensor.dtype.is_floating else tensor.dtype
    if tensor.dtype == wanted or tf.string in (tensor.dtype, wanted):
        return tensor
    if not wanted.is_floating and tensor.dtype.is_floating:
        whole = tf.cast(tensor, wanted)
        if not bool(tf.reduce_all(tf.cast(whole, tensor.dtype) == tensor)):
            name = spec.name if spec is not None else ""
            raise InputError(
                f"The input {name!r} is of type {wanted.name}; numbers with a fraction came."
            )
        return whole
    return tf.cast(tensor, wanted)
