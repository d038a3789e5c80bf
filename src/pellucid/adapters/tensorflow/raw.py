"""Performing one traced operation again, by the public `tf.raw_ops`.

Works eagerly and inside a trace, and a `GradientTape` sees it. TensorFlow's private names that
pellucid cannot do without are all in this file.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import ops as _private_ops

from pellucid.adapters.tensorflow.operations import CONSTANT_ARGUMENTS, RENAMED
from pellucid.errors import CapabilityError

Perform = Callable[[Sequence[tf.Tensor]], list[tf.Tensor]]


def function_graph(graph: Any, name: str) -> Any:
    """The body of a function that operations of `graph` call."""
    function = graph._get_function(name)
    while function is None and getattr(graph, "outer_graph", None) is not None:
        graph = graph.outer_graph
        function = graph._get_function(name)
    if function is None:
        raise CapabilityError(f"The traced model calls a function {name!r} whose body is missing.")
    return function.graph


def registered_gradient(operation: tf.Operation) -> Callable[..., Any]:
    """The gradient function somebody attached to this very operation."""
    function: Any = _private_ops.get_gradient_function(operation)
    return function


def gradient_name(operation: tf.Operation) -> str | None:
    """Name of an overriding gradient, None where the operation has its ordinary one."""
    try:
        return operation.get_attr("_gradient_op_type").decode()
    except ValueError:
        return None


@functools.lru_cache(maxsize=512)
def _binding(name: str) -> tuple[Callable[..., Any], tuple[str, ...], tuple[tuple[str, str], ...]]:
    """The raw op of a type, the keyword of each input, and (attribute, keyword) pairs.

    A few raw ops call their arguments otherwise than the graph does (`reduction_indices` is
    `axis`); what is left over on both sides is matched in order.
    """
    raw = getattr(tf.raw_ops, name, None)
    if raw is None:
        raise CapabilityError(
            f"The traced model holds an operation {name!r} that TensorFlow offers no way to"
            " perform alone.\n  Use a method that needs gradients only, or a layer above it."
        )
    keywords = [k for k in inspect.signature(raw).parameters if k != "name"]
    definition = _definition(name)
    inputs = [argument.name for argument in definition.input_arg]
    inferred = {
        attribute
        for argument in definition.input_arg
        for attribute in (argument.type_attr, argument.number_attr, argument.type_list_attr)
    }
    attributes = [a.name for a in definition.attr]
    spare = [k for k in keywords if k not in inputs and k not in attributes]
    places = [i if i in keywords else spare.pop(0) for i in inputs]
    pairs = [(a, a) for a in attributes if a in keywords]
    others = [a for a in attributes if a not in keywords and a not in inferred]
    pairs += list(zip(others, spare, strict=False))
    return raw, tuple(places), tuple(pairs)


def _definition(name: str) -> Any:
    from tensorflow.python.framework import op_def_registry

    return op_def_registry.get(name)


def performer(operation: tf.Operation) -> Perform:
    """A function from input tensors to output tensors that does what `operation` did."""
    if operation.type == "Const":
        return _constant(operation)
    raw, keywords, pairs = _binding(operation.type)
    settings = {keyword: operation.get_attr(attribute) for attribute, keyword in pairs}
    widths = _input_widths(operation)
    single = all(width is None for width in widths)

    def perform(inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        if single:
            named = dict(zip(keywords, inputs, strict=True))
        else:
            named, at = {}, 0
            for keyword, width in zip(keywords, widths, strict=True):
                named[keyword] = inputs[at] if width is None else list(inputs[at : at + width])
                at += 1 if width is None else width
        return _flat(raw(**named, **settings))

    return perform


def _flat(result: Any) -> list[tf.Tensor]:
    if tf.is_tensor(result):
        return [result]
    if isinstance(result, list | tuple):
        return [t for part in result for t in _flat(part)]
    return []


def _input_widths(operation: tf.Operation) -> list[int | None]:
    """How many tensors each input argument takes; None for one tensor that is not a list."""
    widths: list[int | None] = []
    for argument in operation.op_def.input_arg:
        if argument.number_attr:
            widths.append(operation.get_attr(argument.number_attr))
        elif argument.type_list_attr:
            widths.append(len(operation.get_attr(argument.type_list_attr)))
        else:
            widths.append(None)
    return widths


def _constant(operation: tf.Operation) -> Perform:
    value = tf.make_ndarray(operation.get_attr("value"))
    dtype = operation.outputs[0].dtype
    with tf.init_scope():
        eager = tf.constant(value, dtype)

    def perform(inputs: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        # Inside a trace a fresh constant, or shapes that depend on it would be lost.
        return [eager if tf.executing_eagerly() else tf.constant(value, dtype)]

    return perform


def arguments(operation: tf.Operation) -> dict[str, Any]:
    """The operation's settings as plain Python values, constant inputs such as axes included."""
    settings: dict[str, Any] = {}
    for attribute in operation.op_def.attr:
        if attribute.type in ("type", "list(type)", "func", "list(func)", "tensor", "shape"):
            continue
        value: Any = operation.get_attr(attribute.name)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, list):
            value = tuple(value)
        settings[RENAMED.get(str(attribute.name), str(attribute.name))] = value
    for position, name in CONSTANT_ARGUMENTS.get(operation.type, ()):
        known = tf.get_static_value(operation.inputs[position], partial=True)
        if known is not None:
            settings[name] = np.asarray(known).tolist()
    return settings
