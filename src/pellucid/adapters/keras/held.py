"""A Keras model as the adapters of its JAX and torch backends hold it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from pellucid.adapters.keras.description import described
from pellucid.adapters.keras.inputs import Inputs, guessed_specs, packed
from pellucid.adapters.keras.layers import LayerTree, channel_axis, layer_tree, structure_key
from pellucid.adapters.keras.state import layer_state
from pellucid.adapters.protocol import InputSpec
from pellucid.errors import InputError, ModelError


class HeldModel:
    """The model, how its inputs are nested, and its layers, read again when they change."""

    def __init__(
        self,
        model: keras.layers.Layer,
        as_array: Callable[[Any], Any],
        as_leaf: Callable[[Any, InputSpec | None], Any],
    ) -> None:
        self.model = model
        self.given = Inputs(model, as_array, as_leaf)
        self._known: tuple[Any, LayerTree] | None = None

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return self.given.specs or guessed_specs(self.model)

    @property
    def channel_axis(self) -> int:
        return channel_axis(self.tree().layers.values(), keras.config.image_data_format())

    @property
    def is_built(self) -> bool:
        return all(layer.built for layer in self.model._flatten_layers())

    def call(self, leaves: Sequence[Any]) -> Any:
        """The model's outputs in inference mode."""
        nested = packed(self.given.nest_for(len(leaves)), iter(leaves))
        return self.model(nested, training=False)

    def build(self, rows: Sequence[Any]) -> None:
        """Make the weights as a first call of the user's does it."""
        try:
            self.call(rows)
        except Exception as error:
            if isinstance(error, MemoryError):
                raise
            raise ModelError(f"The model raised {type(error).__name__}: {error}") from error

    def tree(self) -> LayerTree:
        key = structure_key([self.model])
        if self._known is None or self._known[0] != key:
            self._known = (key, layer_tree(self.model))
        return self._known[1]

    def state_key(self) -> tuple[Any, ...]:
        """What decides how the model computes, besides its weights."""
        return structure_key([self.model]), tuple(layer_state([self.model]).items())

    def description(self, weights: Mapping[str, Any]) -> str:
        return described(self.model, self.tree(), weights)


def as_numbers(x: Any, *, copy: bool) -> np.ndarray:
    """An array of NumPy's; `InputError` for what holds no numbers."""
    try:
        array = np.array(x) if copy else np.asarray(x)
    except ValueError as error:
        raise InputError(f"The rows of the input differ in shape: {error}") from error
    if array.dtype.kind not in "fiubc":
        raise InputError(
            f"The input cannot be made an array of numbers: it holds {type(x).__name__} of"
            f" {array.dtype}."
        )
    return array
