"""Keras on its torch backend: the torch adapter's verbs, with Keras's layers and inputs."""

import contextlib
import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import torch

from pellucid.adapters.keras.description import unique
from pellucid.adapters.keras.held import HeldModel, as_numbers
from pellucid.adapters.keras.layers import parameter_count
from pellucid.adapters.protocol import InputSpec
from pellucid.adapters.torch import TorchAdapter
from pellucid.adapters.torch.reading import Named, Reading
from pellucid.adapters.torch.state import evaluating, quietly, weights_key
from pellucid.errors import InputError, quote_nearest
from pellucid.types import Array, Leaves, Outputs


def keras_on_torch(model: keras.layers.Layer) -> TorchAdapter:
    """The adapter of a Keras model whose backend is torch."""
    return TorchAdapter(model, KerasReading(model))


class KerasReading(Reading):
    """A Keras layer or model: torch modules that are called, nested and named Keras's way."""

    framework = "keras"
    separator = "/"
    trainable = True
    differentiable = True

    def __init__(self, model: keras.layers.Layer) -> None:
        self._held = HeldModel(model, _as_array, _as_leaf)

    @property
    def notes(self) -> tuple[str, ...]:
        return ("Keras on its torch backend",)

    @property
    def device(self) -> str:
        tensor: Any = keras.ops.convert_to_tensor(0)
        return str(tensor.device)

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return self._held.inputs

    @property
    def channel_axis(self) -> int:  # type: ignore[override]
        return self._held.channel_axis

    def channel_axis_of(self, rank: int) -> int:
        return self.channel_axis

    def accept(self, x: Any) -> tuple[Leaves, None]:
        return self._held.given.accept(x), None

    def restore(self, leaves: Sequence[Any], structure: None) -> Any:
        return self._held.given.restore(leaves)

    def prepare(self, x: Leaves, structure: None) -> None:
        if self._held.is_built:
            return
        # The weights are made outside of any scope, the way a first call of the user's does it.
        with quietly(self.evaluating(), differentiate=False):
            self._held.build([a[:1].clone() for a in x])

    def call(
        self,
        given: Sequence[torch.Tensor],
        structure: None,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        # In a scope of their own, counters and random states that a layer moves stay unmoved.
        with keras.StatelessScope(state_mapping=self._replaced(weights or {})):
            return self._held.call(given)

    def _replaced(self, weights: Mapping[str, Array]) -> list[tuple[keras.Variable, torch.Tensor]]:
        known = self._variables() if weights else {}
        found = []
        for name, value in weights.items():
            if name not in known:
                raise InputError(f"The model has no weight {name!r}. {quote_nearest(name, known)}")
            variable = known[name]
            if tuple(value.shape) != tuple(variable.shape):
                raise InputError(
                    f"The weight {name!r} has shape {tuple(variable.shape)}, but an array of shape"
                    f" {tuple(value.shape)} came."
                )
            found.append((variable, keras.ops.cast(value, variable.dtype)))
        return found

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        # Keras's own layers are told by an argument; torch modules inside of them have a mode.
        with contextlib.ExitStack() as stack:
            for layer in self._held.model._flatten_layers():
                if isinstance(layer, keras.layers.TorchModuleWrapper):
                    stack.enter_context(evaluating(layer))
            yield

    def layers(self, *, aliases: bool = False) -> Named:
        return list(self._held.tree().layers.items())

    def parameter_count(self, layer: Any) -> int:
        return parameter_count(layer)

    def way(self) -> Any:
        return self._held.state_key()

    def _variables(self) -> dict[str, keras.Variable]:
        return unique((v.path, v) for v in self._held.model.weights)

    def weights(self) -> dict[str, Array]:
        return {name: v._value.detach() for name, v in self._variables().items()}

    def version(self) -> Any:
        return self.way(), weights_key(self.weights())

    def fingerprint(self) -> str:
        weights = self._variables()
        text = self._held.description(weights)
        digest = hashlib.blake2b(text.encode(), digest_size=8)
        for variable in weights.values():
            value = variable._value.detach().cpu().contiguous()
            digest.update(
                zlib.crc32(value.view(-1).view(torch.uint8).numpy()).to_bytes(4, "little")
            )
        return digest.hexdigest()


def _as_array(x: Any) -> Any:
    """A tensor as it is, anything else as an array."""
    if isinstance(x, keras.Variable):
        return x._value.detach()
    if isinstance(x, torch.Tensor):
        return x.detach()
    return as_numbers(x, copy=False)


def _as_leaf(value: Any, spec: InputSpec | None) -> torch.Tensor:
    """A tensor of the type declared; else floats in single precision, the others as they came."""
    if isinstance(value, np.ndarray):
        value = value.copy()  # torch would share a read-only array's memory
    tensor: Any = keras.ops.convert_to_tensor(value)
    tensor = tensor.clone() if tensor.is_inference() else tensor
    wanted = getattr(torch, spec.dtype) if spec is not None and spec.dtype else None
    if wanted is None:
        wanted = torch.float32 if tensor.is_floating_point() else tensor.dtype
    if not wanted.is_floating_point and tensor.is_floating_point():
        whole = tensor.to(wanted)
        if not bool((whole.to(tensor.dtype) == tensor).all()):
            name = spec.name if spec is not None else ""
            raise InputError(
                f"The input {name!r} is of type {spec and spec.dtype}; numbers with a fraction"
                " came."
            )
        return whole
    return tensor.to(wanted)
