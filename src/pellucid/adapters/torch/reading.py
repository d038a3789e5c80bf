"""How a torch model is called, and what the parts of it are called."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from pellucid.adapters.functions import function_fingerprint
from pellucid.adapters.protocol import InputSpec
from pellucid.adapters.structure import Structure, flatten, unflatten
from pellucid.adapters.torch.inputs import (
    arguments,
    as_tensor,
    guess_inputs,
    stacked,
    takes_steps_first,
)
from pellucid.adapters.torch.modes import OrdinaryAttention, tensors_in
from pellucid.adapters.torch.state import (
    evaluating,
    has_fused_attention,
    module_fingerprint,
    modules_in,
    parameter_count,
    uncompiled,
    unwrapped,
    version_key,
)
from pellucid.errors import CapabilityError, InputError
from pellucid.types import Array, Leaves, Outputs

_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized")
"""Rooms of modules whose operations have no gradient."""

Named = list[tuple[str, torch.nn.Module]]


class Reading(ABC):
    """What the torch adapter has to know of one kind of model.

    Facts: `framework`, `separator` (between the parts of a layer's path), `channel_axis`,
    `trainable` (whether there are weights to read), `differentiable`.
    """

    framework: str
    separator: str
    channel_axis: int
    trainable: bool
    differentiable: bool

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]: ...

    @property
    @abstractmethod
    def device(self) -> str: ...

    @property
    @abstractmethod
    def inputs(self) -> tuple[InputSpec, ...] | None: ...

    @abstractmethod
    def channel_axis_of(self, rank: int) -> int: ...

    @abstractmethod
    def accept(self, x: Any) -> tuple[Leaves, Any]:
        """A user's batch as leaves, and how they were held together, for the verbs below."""

    @abstractmethod
    def restore(self, leaves: Sequence[Any], structure: Any) -> Any: ...

    @abstractmethod
    def prepare(self, x: Leaves, structure: Any) -> None:
        """What has to be done once before runs are looked into: making weights, say."""

    @abstractmethod
    def call(
        self,
        given: Sequence[torch.Tensor],
        structure: Any,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        """An ordinary run, some weights replaced; compiled parts run as plain Python."""

    @abstractmethod
    def evaluating(self) -> AbstractContextManager[None]:
        """Dropout off and batch statistics frozen, the user's own mode put back afterwards."""

    @abstractmethod
    def layers(self, *, aliases: bool = False) -> Named:
        """Path and module of every layer; with `aliases`, every path of each."""

    @abstractmethod
    def parameter_count(self, layer: torch.nn.Module) -> int: ...

    @abstractmethod
    def way(self) -> Any:
        """A key that changes when the model may take another way through its code."""

    @abstractmethod
    def weights(self) -> dict[str, Array]: ...

    @abstractmethod
    def version(self) -> Any:
        """A key that changes with structure and weights; cheap."""

    @abstractmethod
    def fingerprint(self) -> str: ...


def _arrays(outputs: Any) -> Any:
    """What a model returned, without entries that hold no tensors, such as a decoder's cache."""
    if not isinstance(outputs, Mapping):
        return outputs
    held = {
        name: value for name, value in outputs.items() if next(tensors_in(value), None) is not None
    }
    return outputs if len(held) in {0, len(outputs)} else held


class ModuleReading(Reading):
    """A `torch.nn.Module`, or a function from tensors to tensors."""

    framework = "torch"
    separator = "."
    channel_axis = 1

    def __init__(self, model: Any) -> None:
        self._model = unwrapped(model)
        self._is_unwrapped = self._model is not model
        self._module = self._model if isinstance(self._model, torch.nn.Module) else None
        self.trainable = self._module is not None
        self.differentiable = self._module is None or not any(
            type(m).__module__.startswith(_QUANTISED) for m in self._module.modules()
        )
        if self._module is not None and any(
            isinstance(m, torch.jit.ScriptModule) for m in self._module.modules()
        ):
            raise CapabilityError(
                "A scripted (TorchScript) module hides its operations from Python.\n"
                "  Wrap the module it was made from, or a function `lambda x: scripted(x)` with"
                " framework='callable' for methods that only run the model."
            )

    @property
    def notes(self) -> tuple[str, ...]:
        return ("read from the ordinary module inside a wrapper",) if self._is_unwrapped else ()

    @property
    def _weight(self) -> torch.Tensor | None:
        if self._module is None:
            return None
        held = (p for m in self._module.modules() for p in m._parameters.values())
        return next((p for p in held if p is not None and p.is_floating_point()), None)

    @property
    def device(self) -> str:
        return "cpu" if self._weight is None else str(self._weight.device)

    @functools.cached_property
    def inputs(self) -> tuple[InputSpec, ...] | None:  # type: ignore[override]
        return guess_inputs(self._module)

    def channel_axis_of(self, rank: int) -> int:
        # Images have their channels first in torch; series only where they are convolved.
        return -1 if rank == 3 and takes_steps_first(self._module) else self.channel_axis

    def accept(self, x: Any) -> tuple[Leaves, Structure]:
        leaves, structure = flatten(stacked(x, self.inputs))
        weight, wants_floats = self._weight, self.inputs is not None and len(leaves) == 1
        return tuple(as_tensor(a, weight, wants_floats=wants_floats) for a in leaves), structure

    def restore(self, leaves: Sequence[Any], structure: Structure) -> Any:
        return unflatten(leaves, structure)

    def prepare(self, x: Leaves, structure: Structure) -> None:
        return None

    def call(
        self,
        given: Sequence[torch.Tensor],
        structure: Structure,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        positional, named = arguments(self._model, given, structure)
        if not weights:
            fused = has_fused_attention(self._module)
            with uncompiled(), OrdinaryAttention() if fused else nullcontext():
                return _arrays(self._model(*positional, **named))
        if self._module is None:
            raise CapabilityError("A function has no weights to replace.")
        known = self.weights()
        unknown = [name for name in weights if name not in known]
        if unknown:
            raise InputError(f"No weights named {unknown}; `model.adapter.weights()` lists them.")
        with uncompiled():
            changed = dict(weights)
            return _arrays(torch.func.functional_call(self._module, changed, positional, named))

    def evaluating(self) -> AbstractContextManager[None]:
        return evaluating(self._module)

    def layers(self, *, aliases: bool = False) -> Named:
        if self._module is None:
            return []
        named: dict[str, torch.nn.Module] = {}
        plain = self._module.named_modules(remove_duplicate=False) if aliases else None
        for name, module in plain or modules_in(self._module):
            # A part that was compiled is held by a wrapper, which is no layer of the user's.
            name = name.removesuffix("._orig_mod").replace("._orig_mod.", ".")
            if name:
                named[name] = module
        return list(named.items())

    def parameter_count(self, layer: torch.nn.Module) -> int:
        return parameter_count(layer)

    def way(self) -> Any:
        return () if self._module is None else tuple(id(m) for _, m in modules_in(self._module))

    def weights(self) -> dict[str, Array]:
        if self._module is None:
            raise CapabilityError("A function has no weights to read.")
        named = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        return {name: weight.detach() for name, weight in named.items()}

    def version(self) -> Any:
        return None if self._module is None else version_key(self._module)

    def fingerprint(self) -> str:
        if self._module is None:
            return function_fingerprint(self._model)
        return module_fingerprint(self._module)
