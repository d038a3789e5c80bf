"""A TensorFlow SavedModel as something to call."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from pellucid.adapters.protocol import InputSpec
from pellucid.errors import LoadError
from pellucid.types import Leaves


class SavedModel(tf.Module):
    """What `tf.saved_model.load` returns, called as the model it was saved from.

    Keras exports answer through `serve`, TensorFlow modules by being called, anything else
    through its `serving_default` signature, by the names of its inputs (one output is returned by
    itself, several as a dict). `rows` is the batch size, where it serves one only. The loaded
    object is held here: its functions do not keep their own weights alive. There are no layers
    in a SavedModel, only operations.
    """

    def __init__(self, loaded: Any, name: str = "saved_model") -> None:
        super().__init__(name="".join(c if c.isalnum() else "_" for c in name) or "saved_model")
        self.loaded = loaded
        self._function, self._spread, self._signature = _entry(loaded, name)
        # Named here, where tf.Module looks: it does not see into what was loaded.
        self.saved_variables = _variables(loaded, self._function)
        specs = tf.nest.flatten(self._signature)
        sizes = [s.shape[0] for s in specs if isinstance(s, tf.TensorSpec) and s.shape.rank]
        self.rows: int | None = next((size for size in sizes if size is not None), None)

    def __call__(self, inputs: Any) -> Any:
        """The outputs for inputs in the structure of `declared`."""
        outputs = self._function(*inputs) if self._spread else self._function(inputs)
        single = isinstance(outputs, dict) and len(outputs) == 1
        return next(iter(outputs.values())) if single else outputs

    def batches(self, leaves: Leaves) -> list[tuple[Leaves, int]]:
        """The rows in batches of the size this program takes, and how many of each are real."""
        count = int(leaves[0].shape[0])
        if self.rows is None or count == self.rows:
            return [(leaves, count)]
        found = []
        for start in range(0, count, self.rows):
            stop = min(start + self.rows, count)
            rows = [*range(start, stop), *[stop - 1] * (self.rows - (stop - start))]
            found.append((tuple(tf.gather(a, rows) for a in leaves), stop - start))
        return found

    @property
    def declared(self) -> tuple[Any, tuple[InputSpec, ...] | None]:
        """The structure of the inputs, with a 0 for each, and what is known of each."""
        specs = tf.nest.flatten(self._signature)
        if not specs or not all(isinstance(s, tf.TensorSpec) and s.shape.rank for s in specs):
            return None, None
        nest = tf.nest.map_structure(lambda _: 0, self._signature)
        names = sorted(nest) if isinstance(nest, dict) and len(nest) == len(specs) else None
        return nest, tuple(
            InputSpec(
                names[i] if names else (s.name or f"input {i}"),
                tuple(s.shape.as_list()[1:]),
                s.dtype.name,
            )
            for i, s in enumerate(specs)
        )


def is_loaded(model: Any) -> bool:
    """Whether this came from `tf.saved_model.load`, or is a signature of what did."""
    restored = type(model).__module__.startswith("tensorflow") and hasattr(model, "signatures")
    return restored or hasattr(model, "structured_input_signature")


Entry = tuple[Callable[..., Any], bool, Any]
"""A function, whether it takes its inputs as several arguments, and their specifications."""


def _entry(loaded: Any, name: str) -> Entry:
    """The function of a loaded SavedModel that is the model."""
    if hasattr(loaded, "structured_input_signature"):
        return _by_name(loaded)
    serve = getattr(loaded, "serve", None)
    if callable(serve):
        return _by_place(serve)
    # Every loaded object has the attribute, where the saved one could be called it works.
    if callable(loaded):
        return _by_place(loaded)
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        names = ", ".join(map(repr, loaded.signatures)) or "none"
        raise LoadError(
            f"{name} has nothing to call: expected a callable object, `serve` or the signature "
            f'"serving_default"; its signatures: {names}.\n'
            '  Save it with model.export(path), or load it in a "package.module:factory".'
        )
    return _by_name(signature)


def _variables(loaded: Any, function: Any) -> list[Any]:
    """The variables that the loaded functions read, each once."""
    signatures = getattr(loaded, "signatures", {}).values()
    concrete = getattr(function, "concrete_functions", None) or ()
    alone = [loaded] if hasattr(loaded, "structured_input_signature") else []
    functions = [*signatures, *concrete, *alone]
    found = {v.ref(): v for each in functions for v in each.variables}
    return list(found.values())


def _by_name(signature: Any) -> Entry:
    """A signature, which takes names, as a function of a dict (or of its only input)."""
    specs = dict(signature.structured_input_signature[1])
    if len(specs) == 1:
        ((name, spec),) = specs.items()
        return (lambda x: signature(**{name: x})), False, spec
    return (lambda inputs: signature(**inputs)), False, specs


def _by_place(function: Any) -> Entry:
    """A function restored with its arguments in order, and what it was traced for."""
    call = getattr(function, "__call__", function)  # noqa: B004  # a loaded object's own function
    traces = getattr(function, "concrete_functions", None) or getattr(
        call, "concrete_functions", ()
    )
    if not traces:
        return function, False, None
    arguments = [a for a in traces[0].structured_input_signature[0] if _is_spec(a)]
    if len(arguments) == 1:
        return function, False, arguments[0]
    return function, True, tuple(arguments)


def _is_spec(argument: Any) -> bool:
    flat = tf.nest.flatten(argument)
    return bool(flat) and all(isinstance(part, tf.TensorSpec) for part in flat)
