"""Gradients a model's author attached to an operation, kept when it is performed again.

The registered gradient function closes over tensors of the traced graph. It is traced once, in a
function inside that graph, whose captures then say which values of the forward pass it remembers.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from pellucid.adapters.tensorflow.operations import CALLS
from pellucid.adapters.tensorflow.raw import registered_gradient
from pellucid.errors import CoverageError

NATURAL: frozenset[tuple[str, str]] = frozenset(
    {("tensorflow.python.ops.nn_impl", "swish_impl")},
)
"""Custom gradients equal to the ordinary derivative (written to save memory): dropped, so that
rules see the product and the sigmoid they are made of."""


@dataclass(frozen=True, eq=False)
class Backward:
    """A traced gradient function: cotangents and remembered tensors in, gradients out."""

    program: Any
    remembered: tuple[Any, ...]
    """Tensors of the forward graph, or from outside of it, in the order of the captures."""
    given: tuple[bool, ...]
    """For each input of the operation, whether it gets a gradient."""


@dataclass(frozen=True, eq=False)
class CustomGradient:
    """The gradient of one step of a program."""

    backward: Backward
    places: tuple[int | None, ...]
    """For each remembered tensor its value number; None where it lies outside the model."""

    @property
    def remembered(self) -> tuple[int, ...]:
        return tuple(p for p in self.places if p is not None)


def custom_gradients(steps: Iterable[Any]) -> dict[int, CustomGradient]:
    """The gradients attached to single steps (`graph.Step`), by step index."""
    built: dict[tuple[int, str], Backward | None] = {}
    found: dict[int, CustomGradient] = {}
    for step in steps:
        if step.gradient is None or step.type in CALLS:
            continue
        key = (id(step.operation.graph), step.operation.name)
        if key not in built:
            built[key] = _build(step.operation)
        backward = built[key]
        if backward is not None:
            places = tuple(step.scope.get(t.ref()) for t in backward.remembered)
            found[step.index] = CustomGradient(backward, places)
    return found


def _build(operation: tf.Operation) -> Backward | None:
    try:
        gradient = registered_gradient(operation)
    except LookupError as error:
        raise CoverageError(
            f"The operation {operation.name!r} has a custom gradient that did not come with the"
            " loaded model.\n  Use a method that needs no gradients."
        ) from error
    if _is_natural(gradient):
        return None
    given: list[bool] = []

    def backward(*cotangents: tf.Tensor) -> list[tf.Tensor]:
        gradients = gradient(operation, *cotangents)
        gradients = list(gradients) if isinstance(gradients, list | tuple) else [gradients]
        given[:] = [g is not None for g in gradients]
        return [tf.convert_to_tensor(g) for g in gradients if g is not None]

    specs = [tf.TensorSpec(t.shape, t.dtype) for t in operation.outputs]
    with operation.graph.as_default():
        graph: Any = tf.function(backward, autograph=False).get_concrete_function(*specs).graph
    # Imported here: reading a graph asks for the custom gradients in it.
    from pellucid.adapters.tensorflow.interpret import read_program

    return Backward(read_program(graph), tuple(outer for outer, _ in graph.captures), tuple(given))


def _is_natural(gradient: Callable[..., Any], depth: int = 0) -> bool:
    """Whether the function inside TensorFlow's wrappers is one known to be the derivative."""
    module = getattr(gradient, "__module__", "")
    names = getattr(gradient, "__qualname__", "").split(".")
    if any((module, name) in NATURAL for name in names):
        return True
    for cell in getattr(gradient, "__closure__", None) or ():
        with contextlib.suppress(ValueError):  # a cell not filled yet
            inside = cell.cell_contents
            if inspect.isfunction(inside) and depth < 4 and _is_natural(inside, depth + 1):
                return True
    return False


def perform_with_gradient(
    perform: Callable[[Sequence[tf.Tensor]], list[tf.Tensor]],
    inputs: Sequence[tf.Tensor],
    given: Sequence[bool],
    backward: Callable[[Sequence[tf.Tensor]], list[tf.Tensor]],
) -> list[tf.Tensor]:
    """Perform an operation whose derivative is `backward`, from cotangents to gradients.

    Only inputs that get a gradient are arguments; the others are constants to it, as they were.
    """
    places = [i for i, has in enumerate(given) if has]
    if not places:
        return [tf.stop_gradient(t) for t in perform(inputs)]

    @tf.custom_gradient
    def performed(*arguments: tf.Tensor) -> Any:
        filled = list(inputs)
        for place, argument in zip(places, arguments, strict=True):
            filled[place] = argument
        outputs = [tf.identity(t) for t in perform(filled)]
        return outputs, lambda *cotangents: backward(cotangents)

    return list(performed(*[inputs[i] for i in places]))
