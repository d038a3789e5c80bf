"""PyTorch modules and functions of tensors."""

import contextlib
import hashlib
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import array_api_compat.torch
import numpy as np
import torch

from pellucid.adapters.layers import find_layer
from pellucid.adapters.operations_torch import FINAL
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
from pellucid.adapters.torch_cut import PrefixRecorder, TorchCut
from pellucid.adapters.torch_modes import (
    FinalActivationFinder,
    InterceptMode,
    PeelMode,
    Position,
    TorchOperation,
    map_tensors,
    tensors_in,
    watching,
)
from pellucid.errors import CapabilityError, InputError, LayerError
from pellucid.types import Array, Leaves, Outputs

_CONVOLUTIONS = (torch.nn.Conv1d, torch.nn.Conv2d, torch.nn.Conv3d)

_GUARD = threading.RLock()
_EVALUATING: dict[int, tuple[int, dict[torch.nn.Module, bool]]] = {}


@contextlib.contextmanager
def evaluating(module: torch.nn.Module | None) -> Iterator[None]:
    """Dropout off and batch statistics frozen, each module's own flag put back afterwards.

    Counted over threads: the flags are restored when the last user of the model leaves.
    """
    if module is None:
        yield
        return
    key = id(module)
    with _GUARD:
        count, flags = _EVALUATING.get(key, (0, {}))
        if count == 0:
            flags = {m: True for m in module.modules() if m.training}
            for m in flags:
                m.training = False
        _EVALUATING[key] = (count + 1, flags)
    try:
        yield
    finally:
        with _GUARD:
            count, flags = _EVALUATING[key]
            if count == 1:
                del _EVALUATING[key]
                for m in flags:
                    m.training = True
            else:
                _EVALUATING[key] = (count - 1, flags)


def _unwrapped(model: Any) -> Any:
    """The ordinary module inside compiled and data-parallel wrappers."""
    while True:
        if isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            model = model.module
        elif isinstance(getattr(model, "_orig_mod", None), torch.nn.Module):
            model = model._orig_mod
        else:
            return model


class TorchAdapter(Adapter):
    """A `torch.nn.Module`, or a function from tensors to tensors."""

    framework = "torch"
    xp = array_api_compat.torch
    channel_axis = 1

    def __init__(self, model: Any) -> None:
        self._model = _unwrapped(model)
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
        self._structure: Any = None
        self._differentiating = threading.local()
        self._final: dict[Any, tuple[tuple[str | None, ...], frozenset[int]]] = {}
        self._fingerprint: tuple[Any, str] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        return ("read from the ordinary module inside a wrapper",) if self._is_unwrapped else ()

    @property
    def _weight(self) -> torch.Tensor | None:
        if self._module is None:
            return None
        floats = (p for p in self._module.parameters() if p.is_floating_point())
        return next(floats, None)

    @property
    def device(self) -> str:
        return str(self._weight.device) if self._weight is not None else "cpu"

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return self._guessed_inputs

    @cached_property
    def _guessed_inputs(self) -> tuple[InputSpec, ...] | None:
        """The shape that the first weighted module takes: right for most models of one input."""
        for module in () if self._module is None else self._module.modules():
            for spatial, kind in enumerate(_CONVOLUTIONS, start=1):
                if isinstance(module, kind):
                    shape = (module.in_channels, *(None,) * spatial)
                    return (InputSpec("input", shape, None, certain=False),)
            if isinstance(module, torch.nn.Linear):
                return (InputSpec("input", (module.in_features,), None, certain=False),)
            if next(module.parameters(recurse=False), None) is not None:
                return None
        return None

    def accept(self, x: Any) -> Leaves:
        if isinstance(x, Mapping):
            self._structure, leaves = tuple(x), tuple(x.values())
        elif isinstance(x, tuple):
            self._structure, leaves = len(x), x
        elif isinstance(x, list) and x and all(hasattr(a, "shape") and a.ndim > 0 for a in x):
            self._structure, leaves = len(x), tuple(x)
        else:
            self._structure, leaves = None, (x,)
        return tuple(map(self._leaf, leaves))

    def _leaf(self, a: Any) -> torch.Tensor:
        try:
            tensor = a.detach() if isinstance(a, torch.Tensor) else torch.as_tensor(np.asarray(a))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Expected arrays of numbers for a torch model, got {type(a).__name__}: {error}"
            ) from error
        weight = self._weight
        if tensor.is_inference():
            tensor = tensor.clone()
        if tensor.is_floating_point():
            return tensor.to(weight) if weight is not None else tensor.to(torch.float32)
        wants_floats = self.inputs is not None
        if wants_floats and weight is not None:
            return tensor.to(weight)
        return tensor.to(self.device)

    def restore(self, leaves: Sequence[Any]) -> Any:
        if self._structure is None:
            return leaves[0]
        if isinstance(self._structure, tuple):
            return dict(zip(self._structure, leaves, strict=True))
        return tuple(leaves)

    @cached_property
    def _takes_names(self) -> bool:
        """Whether a dict of inputs is spread over keyword arguments, as most forwards want."""
        forward = self._module.forward if self._module is not None else self._model
        try:
            names = inspect.signature(forward).parameters
        except (TypeError, ValueError):
            return False
        spread = any(p.kind is p.VAR_KEYWORD for p in names.values())
        return spread or all(n in names for n in self._structure)

    def _arguments(
        self, given: Sequence[torch.Tensor]
    ) -> tuple[tuple[Any, ...], dict[str, torch.Tensor]]:
        """How the model wants its inputs: by position, by name, or as one dict."""
        if not isinstance(self._structure, tuple):
            return tuple(given), {}
        named = dict(zip(self._structure, given, strict=True))
        return ((), named) if self._takes_names else ((named,), {})

    def _call_directly(self, given: Sequence[torch.Tensor]) -> Outputs:
        positional, named = self._arguments(given)
        return torch.compiler.disable(self._model)(*positional, **named)

    def _call(self, leaves: Sequence[torch.Tensor]) -> Outputs:
        # A copy, because a first layer that works in place would change the caller's tensor.
        return self._call_directly([a.clone() for a in leaves])

    @property
    def _is_differentiating(self) -> bool:
        return getattr(self._differentiating, "depth", 0) > 0

    @contextlib.contextmanager
    def _quietly(self, differentiate: bool | None = None) -> Iterator[None]:
        """Evaluation mode, own gradient mode, the random state put back."""
        if differentiate is None:
            differentiate = self._is_differentiating
        state = torch.get_rng_state()
        try:
            with (
                evaluating(self._module),
                torch.inference_mode(False),
                torch.set_grad_enabled(differentiate),
            ):
                yield
        finally:
            torch.set_rng_state(state)

    def _key(self, x: Leaves) -> Any:
        return tuple((tuple(a.shape[1:]), a.dtype) for a in x)

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        return self._final_plan(x)[0]

    def _first_run(self, x: Leaves) -> Outputs | None:
        """The peeled outputs of a run that also found the final activation, or None.

        Saves the extra run that the search would cost in the first explanation.
        """
        finder = FinalActivationFinder()
        with self._quietly(differentiate=False), finder:
            outputs = self._call(x)
        self._final[self._key(x)] = finder.find(outputs)
        if not isinstance(outputs, torch.Tensor):
            return None if any(self._final[self._key(x)][0]) else outputs
        return finder.logits(outputs)

    def _final_plan(self, x: Leaves) -> tuple[tuple[str | None, ...], frozenset[int]]:
        key = self._key(x)
        if key not in self._final:
            finder = FinalActivationFinder()
            with self._quietly(differentiate=False):
                leaves = tuple(a[:1] for a in x)
                with finder:
                    outputs = self._call(leaves)
            self._final[key] = finder.find(outputs)
        return self._final[key]

    def _modules(self, paths: Sequence[str]) -> list[tuple[str, torch.nn.Module]]:
        if self._module is None:
            raise CapabilityError(
                "A function has no layers. Wrap the torch.nn.Module to explain at a layer."
            )
        known = dict(self._module.named_modules(remove_duplicate=False))
        known.pop("", None)
        found = []
        for path in dict.fromkeys(p.partition("#")[0] for p in paths):
            name = find_layer(path, known, separator=".")
            found.append((name, known[name]))
        return found

    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        if self._module is None:
            return ()
        modules = [(n, m) for n, m in self._module.named_modules() if n]
        if x is None:
            return tuple(
                LayerInfo(n, type(m).__name__, None, _parameter_count(m), i)
                for i, (n, m) in enumerate(modules)
            )
        calls: list[LayerInfo] = []

        def note(path: str, number: int, module: torch.nn.Module, output: Any) -> None:
            first = next(tensors_in(output), None)
            shape = None if first is None else (None, *first.shape[1:])
            name = path if number == 1 else f"{path}#{number}"
            calls.append(
                LayerInfo(name, type(module).__name__, shape, _parameter_count(module), len(calls))
            )

        with self._quietly(differentiate=False), watching(modules, Position(), note):
            self._call(x)
        return tuple(calls)

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
        plain = intercept is None and not weights and not self._is_differentiating
        if peel and plain and self._key(x) not in self._final:
            outputs = self._first_run(x)
            if outputs is not None:
                return outputs
        plan = self._final_plan(x)[1] if peel else frozenset()
        by_operation = intercept is not None and kinds != LAYERS_ONLY
        call = self._with_weights(weights)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._quietly())
            position = Position()
            if intercept is not None:
                stack.enter_context(self._watching(intercept, layers, position, by_operation))
            if plan:
                stack.enter_context(PeelMode(plan))
            if not by_operation:
                return call([a.clone() for a in x])
            # Liveness is read off requires_grad, so a graph is built even for a plain run. The
            # copies are made before the mode is entered: they are not the model's operations.
            stack.enter_context(torch.enable_grad())
            given = [(a if a.requires_grad else _live(a)).clone() for a in x]
            with InterceptMode(intercept, position, kinds):  # type: ignore[arg-type]
                outputs = call(given)
        return outputs if self._is_differentiating else map_tensors(outputs, torch.Tensor.detach)

    def _watching(
        self, intercept: Intercept, layers: Sequence[str], position: Position, by_operation: bool
    ) -> contextlib.AbstractContextManager[None]:
        """Hooks on the requested layers; on all, where operations want to know their module."""
        requested = self._modules(layers) if layers else []
        on_exit = _layer_exit(intercept, layers, requested) if layers else None
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
            positional, named = self._arguments(given)
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
        plan = self._final_plan(x)[1] if peel else frozenset()
        watched = self._modules([layer])
        wanted = _call_number(layer)
        recorder = PrefixRecorder()
        found: list[torch.Tensor] = []

        def at_exit(path: str, number: int, module: Any, output: Any) -> None:
            if number != wanted:
                return
            value = next(tensors_in(output), None)
            if value is not None:
                recorder.close()
                # A copy: an in-place operation above the layer would change it.
                found.append(value.clone())

        leaves = tuple(x)
        with (
            self._quietly(differentiate=False),
            watching(watched, Position(), at_exit),
            PeelMode(plan),
        ):
            given = [a.clone() for a in leaves]
            recorder.start(tuple(given))
            with recorder:
                outputs = self._call_directly(given)
        if not found:
            raise LayerError(
                f"{layer} was not called (or returned no tensor) in this run, so the model cannot"
                " be cut there. `model.layers(x)` lists the calls."
            )

        def replacement(value: torch.Tensor, before: Callable[[], None]) -> Callable[..., Any]:
            def hook(path: str, number: int, module: Any, output: Any) -> Any:
                if number != wanted:
                    return None
                before()
                return _with_first(output, value.clone())

            return hook

        def replay(skipper: Any, value: torch.Tensor) -> Outputs:
            def open_again() -> None:
                skipper.skipping = False

            peeler = PeelMode(plan)
            peeler.calls = sum(1 for name, _ in recorder.calls if name in FINAL)
            with self._quietly(), watching(watched, Position(), replacement(value, open_again)):
                given = [a[:0].new_zeros(()).expand(a.shape) for a in leaves]
                with peeler, skipper:
                    return self._call_directly(given)

        def whole(rows: Leaves, value: torch.Tensor) -> Outputs:
            with (
                self._quietly(),
                watching(watched, Position(), replacement(value, lambda: None)),
                PeelMode(plan),
            ):
                return self._call(rows)

        return TorchCut(found[0], outputs, leaves, recorder, replay, whole)

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
        named = list(self._module.state_dict(keep_vars=True).items())
        key = tuple((n, w.data_ptr(), w._version) for n, w in named)
        if self._fingerprint is None or self._fingerprint[0] != key:
            digest = hashlib.blake2b(digest_size=8)
            for name, module in self._module.named_modules():
                digest.update(f"{name}:{type(module).__qualname__}:{module.extra_repr()}".encode())
            for name, weight in named:
                raw = weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
                digest.update(f"{name}{tuple(weight.shape)}{weight.dtype}".encode())
                digest.update(raw)
            self._fingerprint = (key, digest.hexdigest())
        return self._fingerprint[1]

    def is_out_of_memory(self, error: BaseException) -> bool:
        if isinstance(error, MemoryError | torch.cuda.OutOfMemoryError):
            return True
        return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def _live(a: torch.Tensor) -> torch.Tensor:
    return a.detach().requires_grad_(True) if a.is_floating_point() else a.detach()


def _call_number(layer: str) -> int:
    number = layer.partition("#")[2]
    if number and not number.isdigit():
        raise LayerError(f"Expected a call number after '#', as in 'encoder#2', got {layer!r}.")
    return int(number) if number else 1


def _with_first(output: Any, value: torch.Tensor) -> Any:
    """`output` with its first tensor replaced."""
    if isinstance(output, torch.Tensor):
        return value
    if isinstance(output, dict):
        first = next(k for k, v in output.items() if next(tensors_in(v), None) is not None)
        return {**output, first: _with_first(output[first], value)}
    items = list(output)
    for i, item in enumerate(items):
        if next(tensors_in(item), None) is not None:
            items[i] = _with_first(item, value)
            break
    return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)


def _layer_exit(
    intercept: Intercept, layers: Sequence[str], modules: list[tuple[str, torch.nn.Module]]
) -> Callable[..., Any]:
    """The hook that hands requested layer calls to the interceptor."""
    names = dict(modules)
    plain = {find_layer(p.partition("#")[0], names, separator=".") for p in layers}
    wanted = {
        (find_layer(p.partition("#")[0], names, separator="."), _call_number(p)) for p in layers
    }

    def at_exit(path: str, number: int, module: torch.nn.Module, output: Any) -> Any:
        if path not in plain or (path, number) not in wanted:
            return None
        value = next(tensors_in(output), None)
        if value is None:
            return None
        name = path if number == 1 else f"{path}#{number}"
        op = TorchOperation(
            lambda inputs, weights: inputs[0],
            name=type(module).__name__,
            kind="layer",
            path=name,
            number=number,
            index=-1,
            inputs=(value,),
            live=(True,),
            weights={},
            arguments={},
        )
        # A copy, because an operation above the layer may change what it is given in place.
        return _with_first(output, intercept(op).clone())

    return at_exit


def _parameter_count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _function_fingerprint(function: Any) -> str:
    code = getattr(function, "__code__", None)
    text = repr(
        (getattr(function, "__qualname__", ""), code and code.co_code, code and code.co_consts)
    )
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
