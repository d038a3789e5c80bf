"""PyTorch modules and functions of tensors."""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import array_api_compat.torch
import numpy as np
import torch

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
from pellucid.adapters.torch.cut import open_at
from pellucid.adapters.torch.inputs import (
    Structure,
    arguments,
    as_tensor,
    flatten,
    guess_inputs,
    stacked,
    takes_steps_first,
    unflatten,
)
from pellucid.adapters.torch.layers import exit_hook, find_modules, list_layers
from pellucid.adapters.torch.modes import (
    FinalActivationFinder,
    InterceptMode,
    Position,
    map_tensors,
    watching,
)
from pellucid.adapters.torch.state import (
    evaluating,
    module_fingerprint,
    quietly,
    uncompiled,
    unwrapped,
    version_key,
)
from pellucid.errors import CapabilityError, InputError
from pellucid.types import Array, Leaves, Outputs


class TorchAdapter(Adapter):
    """A `torch.nn.Module`, or a function from tensors to tensors."""

    framework = "torch"
    xp = array_api_compat.torch
    channel_axis = 1

    def __init__(self, model: Any) -> None:
        self._model = unwrapped(model)
        self._is_unwrapped = self._model is not model
        self._module = self._model if isinstance(self._model, torch.nn.Module) else None
        if self._module is not None and any(
            isinstance(m, torch.jit.ScriptModule) for m in self._module.modules()
        ):
            raise CapabilityError(
                "A scripted (TorchScript) module hides its operations from Python.\n"
                "  Wrap the module it was made from, or a function `lambda x: scripted(x)` with"
                " framework='callable' for methods that only run the model."
            )
        self.supports = Tier.TRAINABLE if self._module is not None else Tier.TRANSPARENT
        self._structure: Structure = None
        self._differentiating = threading.local()
        self._final: dict[Any, tuple[str | None, ...]] = {}
        self._fingerprint: tuple[Any, str] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        return ("read from the ordinary module inside a wrapper",) if self._is_unwrapped else ()

    @property
    def _weight(self) -> torch.Tensor | None:
        if self._module is None:
            return None
        return next((p for p in self._module.parameters() if p.is_floating_point()), None)

    @property
    def device(self) -> str:
        return "cpu" if self._weight is None else str(self._weight.device)

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return self._guessed_inputs

    @cached_property
    def _guessed_inputs(self) -> tuple[InputSpec, ...] | None:
        return guess_inputs(self._module)

    def channel_axis_of(self, rank: int) -> int:
        # Images have their channels first in torch; series only where they are convolved.
        return -1 if rank == 3 and takes_steps_first(self._module) else self.channel_axis

    def accept(self, x: Any) -> Leaves:
        leaves, self._structure = flatten(stacked(x, self.inputs))
        weight, wants_floats = self._weight, self.inputs is not None and len(leaves) == 1
        return tuple(as_tensor(a, weight, wants_floats=wants_floats) for a in leaves)

    def restore(self, leaves: Sequence[Any]) -> Any:
        return unflatten(leaves, self._structure)

    def _call_directly(self, given: Sequence[torch.Tensor]) -> Outputs:
        positional, named = arguments(self._model, given, self._structure)
        return uncompiled(self._model)(*positional, **named)

    def _call(self, leaves: Sequence[torch.Tensor]) -> Outputs:
        # A copy, because a first layer that works in place would change the caller's tensor.
        return self._call_directly([a.clone() for a in leaves])

    @property
    def _is_differentiating(self) -> bool:
        return getattr(self._differentiating, "depth", 0) > 0

    def _key(self, x: Leaves) -> Any:
        """What decides the way through the model: input shapes, and which modules it holds."""
        parts = () if self._module is None else tuple(map(id, self._module.modules()))
        return tuple((tuple(a.shape[1:]), a.dtype) for a in x), parts

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        key = self._key(x)
        if key not in self._final:
            self.run(tuple(a[:1] for a in x))
        return self._final[key]

    @contextlib.contextmanager
    def _peeling(self, x: Leaves, peel: bool) -> Iterator[Callable[[Outputs], Outputs]]:
        """Takes the final activation off what a run returns, and notes which it was."""
        key = self._key(x)
        known = self._final.get(key)
        if known is not None and not (peel and any(known)):
            yield lambda outputs: outputs
            return
        finder = FinalActivationFinder()

        def taken_off(outputs: Outputs) -> Outputs:
            self._final[key] = finder.names(outputs)
            return finder.peeled(outputs) if peel else outputs

        with finder:
            yield taken_off

    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        if self._module is None:
            return ()
        with quietly(self._module, differentiate=False):
            return list_layers(self._module, None if x is None else lambda: self._call(x))

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        seen: list[OperationInfo] = []

        def note(op: Any) -> Array:
            out = op()
            shape = tuple(out.shape) if isinstance(out, torch.Tensor) else None
            seen.append(OperationInfo(op.index, op.kind, op.name, op.path, op.call, shape, op.live))
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
        call = self._with_weights(weights)
        with contextlib.ExitStack() as stack:
            stack.enter_context(quietly(self._module, differentiate=self._is_differentiating))
            position = Position()
            if intercept is not None:
                by_operation = kinds != LAYERS_ONLY
                stack.enter_context(self._watching(intercept, layers, position, by_operation))
            # Copies are made before a mode is entered: they are not the model's operations.
            if intercept is None or kinds == LAYERS_ONLY:
                given = [a.clone() for a in x]
                with self._peeling(x, peel) as taken_off:
                    return taken_off(call(given))
            # Liveness is read off requires_grad, so a graph is built even for a plain run.
            stack.enter_context(torch.enable_grad())
            given = [(a if a.requires_grad else _live(a)).clone() for a in x]
            with self._peeling(x, peel) as taken_off, InterceptMode(intercept, position, kinds):
                outputs = call(given)
            outputs = taken_off(outputs)
        return outputs if self._is_differentiating else map_tensors(outputs, torch.Tensor.detach)

    def _watching(
        self, intercept: Intercept, layers: Sequence[str], position: Position, by_operation: bool
    ) -> contextlib.AbstractContextManager[None]:
        """Hooks on the requested layers; on all, where operations want to know their module."""
        requested = find_modules(self._module, layers) if layers else []
        on_exit = exit_hook(intercept, layers, requested) if layers else None
        if by_operation and self._module is not None:
            requested = [(n, m) for n, m in self._module.named_modules() if n]
        return watching(requested, position, on_exit)

    def _with_weights(
        self, weights: Mapping[str, Array] | None
    ) -> Callable[[Sequence[torch.Tensor]], Outputs]:
        """The model as a function of its input copies, with some weights replaced."""
        if not weights:
            return self._call_directly
        module = self._module
        if module is None:
            raise CapabilityError("A function has no weights to replace.")
        known = self.weights()
        unknown = [name for name in weights if name not in known]
        if unknown:
            raise InputError(f"No weights named {unknown}; `model.adapter.weights()` lists them.")

        def call(given: Sequence[torch.Tensor]) -> Outputs:
            positional, named = arguments(module, given, self._structure)
            return torch.func.functional_call(module, dict(weights), positional, named)

        return call

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
            with torch.inference_mode(False), evaluating(self._module):
                found = iter(
                    torch.autograd.grad(
                        value, floats, cotangent, retain_graph=True, allow_unused=True
                    )
                )
            grads = ((next(found) if a.requires_grad else None, a) for a in leaves)
            return tuple(torch.zeros_like(a) if g is None else g for g, a in grads)

        return value.detach(), aux, pullback

    def cut(self, x: Leaves, layer: str, *, peel: bool = True) -> Cut:
        return open_at(
            layer,
            find_modules(self._module, [layer]),
            x,
            call=self._call_directly,
            peeling=lambda: self._peeling(x, peel),
            quiet=lambda: quietly(self._module, differentiate=self._is_differentiating),
        )

    def stop_gradient(self, a: Array) -> Array:
        return a.detach()

    def custom_vjp(
        self, fn: Callable[..., Array], backward: Callable[..., Any]
    ) -> Callable[..., Array]:
        class Custom(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, *arrays: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
                ctx.save_for_backward(*arrays)
                return fn(*arrays)

            @staticmethod
            def backward(ctx: Any, cotangent: torch.Tensor) -> Any:  # type: ignore[override]
                found = backward(cotangent, *ctx.saved_tensors)
                return found if isinstance(found, tuple) else (found,)

        return lambda *arrays: Custom.apply(*(a.clone() for a in arrays))

    def weights(self, select: Callable[[str], bool] | None = None) -> dict[str, Array]:
        if self._module is None:
            raise CapabilityError("A function has no weights to read.")
        named = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        return {n: w.detach() for n, w in named.items() if select is None or select(n)}

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
        if self._module is None:
            return _function_fingerprint(self._model)
        key = version_key(self._module)
        if self._fingerprint is None or self._fingerprint[0] != key:
            self._fingerprint = (key, module_fingerprint(self._module))
        return self._fingerprint[1]

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
            return True
        return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _live(a: torch.Tensor) -> torch.Tensor:
    return a.detach().requires_grad_(True) if a.is_floating_point() else a.detach()


def _function_fingerprint(function: Any) -> str:
    code = getattr(function, "__code__", None)
    name = getattr(function, "__qualname__", "")
    text = repr((name, code and code.co_code, code and code.co_consts))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
