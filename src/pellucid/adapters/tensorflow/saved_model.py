"""A TensorFlow SavedModel as something to call."""

from pathlib import Path
from typing import Any

import tensorflow as tf

from pellucid.errors import LoadError


class SavedModel(tf.Module):
    """What `tf.saved_model.load` returns, called as the model it was saved from.

    Keras exports answer through `serve`, TensorFlow modules by being called, anything else
    through its `serving_default` signature (one input, first output). The loaded object is
    held here: its functions do not keep their own weights alive.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(name=path.name.replace(".", "_") or "saved_model")
        self.loaded = tf.saved_model.load(str(path))
        self._function = _entry(self.loaded, path)
        # Named here, where tf.Module looks: it does not see into what was loaded.
        self.saved_variables = _variables(self.loaded, self._function)

    def __call__(self, *inputs: Any) -> Any:
        return self._function(*inputs)

    def input_shapes(self) -> list[tuple[int | None, ...]] | None:
        """The shape of each input without the batch axis; None where the file does not say."""
        signature = self.loaded.signatures.get("serving_default")
        if signature is None:
            return None
        specs = list(signature.structured_input_signature[1].values())
        if not specs or any(not spec.shape.rank for spec in specs):
            return None
        return [tuple(spec.shape.as_list()[1:]) for spec in specs]


def _entry(loaded: Any, path: Path) -> Any:
    """The function of a loaded SavedModel that is the model."""
    serve = getattr(loaded, "serve", None)
    if callable(serve):
        return serve
    # Every loaded object has the attribute, where the saved one could be called it works.
    if callable(loaded):
        return loaded
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        names = ", ".join(map(repr, loaded.signatures)) or "none"
        raise LoadError(
            f"{path} has nothing to call: expected a callable object, `serve` or the signature "
            f'"serving_default"; its signatures: {names}.\n'
            '  Save it with model.export(path), or load it in a "package.module:factory".'
        )
    return _positional(signature)


def _variables(loaded: Any, function: Any) -> list[Any]:
    """The variables that the loaded functions read, each once."""
    functions = [*loaded.signatures.values(), *getattr(function, "concrete_functions", ())]
    found = {v.ref(): v for concrete in functions for v in concrete.variables}
    return list(found.values())


def _positional(signature: Any) -> Any:
    """A signature, which takes and returns names, as a function of its inputs in order."""
    names = list(signature.structured_input_signature[1])

    def call(*inputs: Any) -> Any:
        outputs = signature(**dict(zip(names, inputs, strict=True)))
        return next(iter(outputs.values())) if len(outputs) == 1 else outputs

    return call
