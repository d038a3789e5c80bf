"""What the TensorFlow adapter asks of a model whose layers are not Keras's.

Libraries with layers of their own on top of TensorFlow differ in where layers are held, which of
their methods is the forward pass, and how a model is called. They agree in all the rest.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from pellucid.adapters.keras.layers import LayerTree
from pellucid.adapters.keras.state import State
from pellucid.adapters.protocol import InputSpec


class LibraryModel(ABC):
    """A model of such a library, and the rules it is called by."""

    framework: str
    model: Any
    """The user's own object."""
    nest: Any
    """The structure it wants its inputs in, with a 0 for each leaf; None where it does not say."""
    specs: tuple[InputSpec, ...] | None
    bookkeeping: frozenset[str]
    """Attributes of layers that say nothing of what they compute."""

    @abstractmethod
    def tree(self) -> LayerTree:
        """Every layer by its path, and the method that a call of it runs."""

    @abstractmethod
    def variables(self) -> dict[str, tf.Variable]:
        """Every weight by name."""

    @abstractmethod
    def structure_key(self) -> tuple[Any, ...]:
        """Changes when layers or weights are other objects."""

    @abstractmethod
    def state(self) -> State:
        """The plain values that the layers compute with."""

    @abstractmethod
    def run(self, nest: Any, leaves: Sequence[Any]) -> Any:
        """Call the model in inference mode, and leave it as it was."""
