"""PyTorch modules and functions of tensors."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import array_api_compat.torch
import numpy as np
import torch

from pellucid.adapters.derived import info_of
from pellucid.adapters.protocol import (
    LAYERS_ONLY,
    Adapter,
    Cut,
    InputSpec,
    Intercept,
    LayerInfo,
    OperationInfo,
    Tier,
)
from pellucid.adapters.torch.aliases import detached
from pellucid.adapters.torch.cut import open_at
from pellucid.adapters.torch.derivatives import are_one, custom_vjp, derived, sloped
from pellucid.adapters.torch.frozen import FrozenWeights
from pellucid.adapters.torch.layers import (
    call_path,
    exit_hook,
    find_modules,
    layer_calls,
    list_layers,
)
from pellucid.adapters.torch.modes import InterceptMode
from pellucid.adapters.torch.peeling import LastLayers, Peeling
from pellucid.adapters.torch.position import Position, map_tensors, watching
from pellucid.adapters.torch.reading import ModuleReading, Reading
from pellucid.adapters.torch.state import quietly
from pellucid.types import Array, Leaves, Outputs


class TorchAdapter(Adapter):
    """A `torch.nn.Module`, a function from tensors to tensors, or what `reading` reads."""

    xp = array_api_compat.torch

    def __init__(self, model: Any, reading: Reading | None = None) -> None:
        self._reading = ModuleReading(model) if reading is None else reading
        self.framework = self._reading.framework
        self.supports = Tier.TRAINABLE if self._reading.trainable else Tier.TRANSPARENT
        if not self._reading.differentiable:
            self.supports = Tier.CALLABLE
        self._structure: Any = None
        self._differentiating = threading.local()
        self._final: dict[Any, tuple[str | None, ...]] = {}
        self._ends: dict[Any, frozenset[str]] = {}
        # A dict, so that the copies that explanations work with share it.
        self._fingerprints: dict[Any, str] = {}

    @cached_property
    def layouts(self) -> tuple[str, ...]:  # type: ignore[override]
        convolves = any(isinstance(m, torch.nn.Conv2d) for _, m in self._reading.layers())
        return ("channels last",) if convolves and self.channel_axis == 1 else ()

    def arranged(self, leaves: Leaves, layout: str) -> Leaves:
        if layout != "channels last":
            return leaves
        last = torch.channels_last  # `contiguous` would leave one channel as it is: it is both
        return tuple(a.to(memory_format=last) if a.ndim == 4 else a for a in leaves)

    @property
    def outputs_first(self) -> bool:  # type: ignore[override]
        return self.framework == "torch"  # Keras keeps its kernels its own way, on any backend

    @property
    def notes(self) -> tuple[str, ...]:
        return self._reading.notes

    @property
    def backend(self) -> str:
        return "torch"

    @property
    def device(self) -> str:
        return self._reading.device

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return self._reading.inputs

    @property
    def channel_axis(self) -> int:  # type: ignore[override]
        return self._reading.channel_axis

    def channel_axis_of(self, rank: int) -> int:
        return self._reading.channel_axis_of(rank)

    def accept(self, x: Any) -> Leaves:
        leaves, self._structure = self._reading.accept(x)
        return leaves

    def restore(self, leaves: Sequence[Any]) -> Any:
        return self._reading.restore(leaves, self._structure)

    def _call(self, given: Sequence[torch.Tensor]) -> Outputs:
        return self._reading.call(given, self._structure)

    def _quietly(self, *, differentiate: bool) -> contextlib.AbstractContextManager[None]:
        return quietly(self._reading.evaluating(), differentiate=differentiate)

    @property
    def _is_differentiating(self) -> bool:
        return getattr(self._differentiating, "depth", 0) > 0

    def _key(self, x: Leaves) -> Any:
        """What decides the way through the model: input shapes, and what it is made of."""
        return tuple((tuple(a.shape[1:]), a.dtype) for a in x), self._reading.way()

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        key = self._key(x)
        if key not in self._final:
            self.run(tuple(a[:1] for a in x))
        return self._final[key]

    def _peeling(self, x: Leaves, peel: bool, layers: Sequence[str] = ()) -> Peeling:
        """What takes the final activation off a run, and off those of `layers` that end in it."""
        key = self._key(x)
        ends = self._last_layers(x) if peel and layers else frozenset()
        known = self._final.get(key)
        if known is not None and not (peel and any(known)):
            return Peeling(peel=False, ends=ends, note=None)

        def note(names: tuple[str | None, ...]) -> None:
            # The first run tells: in a later one the last layer may have been replaced.
            self._final.setdefault(key, names)

        return Peeling(peel=peel, ends=ends, note=note)

    def _last_layers(self, x: Leaves) -> frozenset[str]:
        """Layer calls that return what the model returns, a softmax or sigmoid; by one row."""
        if not any(self.final_activation(x)):
            return frozenset()
        key = self._key(x)
        if key not in self._ends:
            last = LastLayers()

            def note(path: str, number: int, module: Any, output: Any) -> None:
                last.note(call_path(path, number), output)

            with self._quietly(differentiate=False):
                given = [a[:1].clone() for a in x]
                with watching(self._reading.layers(), Position(), note), last.watching():
                    self._ends[key] = last.names(self._call(given))
        return self._ends[key]

    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        modules, count = self._reading.layers(), self._reading.parameter_count
        if x is None or not modules:
            return list_layers(modules, count)
        self._reading.prepare(x, self._structure)
        with self._quietly(differentiate=False):
            # Copies, because a first layer that works in place would change the caller's.
            return layer_calls(modules, count, lambda: self._call([a.clone() for a in x]), x)

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        seen: list[OperationInfo] = []

        def note(op: Any) -> Array:
            out = op()
            shape = tuple(out.shape) if isinstance(out, torch.Tensor) else None
            seen.append(info_of(op, shape))
            return out

        self.run(x, peel=False, intercept=note)
        return tuple(seen)

    def run(
        self,
        x: Leaves,
        *,
        peel: bool = True,
        intercept: Intercept | None = None,
        layers: Sequence[str] = (),
        kinds: frozenset[str] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        self._reading.prepare(x, self._structure)

        def call(given: Sequence[torch.Tensor]) -> Outputs:
            return self._reading.call(given, self._structure, weights)

        peeling = self._peeling(x, peel, layers)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._quietly(differentiate=self._is_differentiating))
            position = Position()
            if intercept is not None:
                by_operation = kinds != LAYERS_ONLY
                seen = self._watching(intercept, layers, position, peeling, by_operation)
                stack.enter_context(seen)
            # Copies are made before a mode is entered: they are not the model's operations.
            if intercept is None or kinds == LAYERS_ONLY:
                given = [a.clone() for a in x]
                if self._is_differentiating:
                    stack.enter_context(FrozenWeights())
                with peeling.watching():
                    outputs = call(given)
                return peeling.outputs(outputs)
            # Liveness is read off requires_grad, so a graph is built even for a plain run.
            stack.enter_context(torch.enable_grad())
            given = [(a if a.requires_grad else _live(a)).clone() for a in x]
            mode = InterceptMode(peeling.following(intercept), position, kinds, given)
            with peeling.watching(), mode.aliases, mode:
                outputs = call(given)
            outputs = peeling.outputs(outputs)
        return outputs if self._is_differentiating else map_tensors(outputs, torch.Tensor.detach)

    def _watching(
        self,
        intercept: Intercept,
        layers: Sequence[str],
        position: Position,
        peeling: Peeling,
        by_operation: bool,
    ) -> contextlib.AbstractContextManager[None]:
        """Hooks on the requested layers; on all, where operations want to know their module."""
        requested = find_modules(self._reading, layers) if layers else []
        on_exit = exit_hook(intercept, layers, self._reading.separator, requested, peeling.at_exit)
        if by_operation:
            # A layer asked for by another of its names is shown by that one.
            named = {id(m): (n, m) for n, m in [*self._reading.layers(), *requested]}
            requested = list(named.values())
        return watching(requested, position, on_exit if layers else None)

    def vjp(
        self, fn: Callable[[Leaves], tuple[Array, Any]], x: Leaves
    ) -> tuple[Array, Any, Callable[[Array], Leaves]]:
        self._differentiating.depth = getattr(self._differentiating, "depth", 0) + 1
        try:
            with torch.inference_mode(False), torch.enable_grad():
                leaves = tuple(_live(a.clone() if a.is_inference() else a) for a in x)
                value, aux = fn(leaves)
        finally:
            self._differentiating.depth -= 1
        floats = [a for a in leaves if a.requires_grad]

        def pullback(cotangent: Array) -> Leaves:
            if not value.requires_grad:
                return tuple(torch.zeros_like(a) for a in leaves)
            with torch.inference_mode(False), self._reading.evaluating():
                found = iter(
                    torch.autograd.grad(
                        value, floats, cotangent, retain_graph=True, allow_unused=True
                    )
                )
            grads = ((next(found) if a.requires_grad else None, a) for a in leaves)
            return tuple(torch.zeros_like(a) if g is None else g for g, a in grads)

        return value.detach(), aux, pullback

    def cut(self, x: Leaves, layer: str, *, peel: bool = True) -> Cut:
        self._reading.prepare(x, self._structure)
        return open_at(
            layer,
            find_modules(self._reading, [layer]),
            x,
            call=self._call,
            peeling=lambda: self._peeling(x, peel),
            quiet=lambda: self._quietly(differentiate=self._is_differentiating),
        )

    def is_same(self, a: Array, b: Array) -> bool:
        return are_one(a, b)

    def stop_gradient(self, a: Array) -> Array:
        return detached(a)

    def sloped(self, value: Array, x: Array, slope: Array) -> Array:
        return sloped(value, x, slope)

    def derived(self, fn: Any, arrays: Leaves, value: Array, pullback: Any) -> Array:
        return derived(arrays, value, pullback)

    def custom_vjp(self, fn: Any, backward: Any) -> Callable[..., Array]:
        return custom_vjp(fn, backward)

    def weights(self, select: Callable[[str], bool] | None = None) -> dict[str, Array]:
        named = self._reading.weights()
        return {n: w for n, w in named.items() if select is None or select(n)}

    def asarray(self, a: np.ndarray) -> Array:
        whole = np.ascontiguousarray(a)
        # A read-only array has to be copied: torch could be made to write to it.
        return torch.from_numpy(whole if whole.flags.writeable else whole.copy()).to(self.device)

    def to_numpy(self, a: Array) -> np.ndarray:
        if not isinstance(a, torch.Tensor):
            return np.asarray(a)
        a = a.detach().cpu()
        return (a.float() if a.dtype is torch.bfloat16 else a).numpy()

    def fingerprint(self) -> str:
        key = self._reading.version()
        if key is None:
            return self._reading.fingerprint()
        found = self._fingerprints.get(key)
        if found is None:
            found = self._reading.fingerprint()
            self._fingerprints.clear()
            self._fingerprints[key] = found
        return found

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
            return True
        return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _live(a: torch.Tensor) -> torch.Tensor:
    return a.detach().requires_grad_(True) if a.is_floating_point() else a.detach()
