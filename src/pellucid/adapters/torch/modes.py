"""Reading a torch model as it runs: one function mode, and hooks for the layers asked for."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pellucid.adapters.facts import INSIDE
from pellucid.adapters.protocol import Intercept
from pellucid.adapters.torch.attention import explicit_attention
from pellucid.adapters.torch.calls import (
    BIASED,
    TorchOperation,
    all_plain,
    depends,
    is_checkpointing,
    normalised,
    out_of_place_of,
)
from pellucid.adapters.torch.convolutions import quick
from pellucid.adapters.torch.operations import METADATA, QUESTIONS, SOURCES, kind_of
from pellucid.adapters.torch.position import Makers, Position, tensors_in
from pellucid.adapters.torch.rectifiers import BY_SIGN, LOOKED_AT, Rectifiers
from pellucid.adapters.torch.recurrent import STEPPED, in_steps, with_live_states


def name_of(function: Any) -> str:
    """The plain name of a torch function or method; of a property getter, the property's."""
    name = getattr(function, "__name__", "")
    if name in {"__get__", "__set__"}:
        return getattr(getattr(function, "__self__", None), "__name__", name)
    return name


def is_question(function: Any, name: str) -> bool:
    """Whether a call asks about a tensor instead of making one."""
    if getattr(function, "__name__", "") == "__get__":
        return name in METADATA
    return name in QUESTIONS


def map_tensors(value: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    """The same nesting with every tensor replaced."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(map_tensors(item, change) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(map_tensors(item, change) for item in value)
    if isinstance(value, dict):
        return {key: map_tensors(item, change) for key, item in value.items()}
    return value


class WeightFreezer:
    """Detached stand-ins for parameters, so that no graph is kept for their gradients."""

    def __init__(self) -> None:
        self._detached: dict[int, tuple[Any, torch.Tensor]] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter) or is_checkpointing():
            return tensor
        known = self._detached.get(id(tensor))
        # Its data may have been exchanged since, by a model that makes its weights as it runs.
        if known is None or known[1].data_ptr() != tensor.data_ptr():
            known = self._detached[id(tensor)] = (tensor, tensor.detach())
        return known[1]


class FrozenWeights(TorchFunctionMode):
    """Runs a model for the gradient of its inputs alone: nothing is kept for its weights.

    Parameters are detached where an operation uses them, so that no operation keeps an input for
    a gradient nobody asks for. A batch normalisation by fixed statistics is one multiplication
    and addition, which keeps nothing of its input at all. The module itself is not touched.
    """

    def __init__(self) -> None:
        super().__init__()
        self._freeze = WeightFreezer()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in {"__get__", "__set__"} or (name.endswith("_") and not name.endswith("__")):
            return func(*args, **kwargs)
        args = tuple(self._frozen(a) for a in args)
        kwargs = {k: self._frozen(v) for k, v in kwargs.items()}
        if func is torch.nn.functional.batch_norm and not is_checkpointing():
            found = _fixed_batch_norm(*args, **kwargs)
            if found is not None:
                return found
        return quick(func)(*args, **kwargs)

    def _frozen(self, value: Any) -> Any:
        if isinstance(value, torch.nn.Parameter):
            return self._freeze(value)
        if type(value) in {list, tuple} and any(isinstance(v, torch.nn.Parameter) for v in value):
            return type(value)(self._frozen(v) for v in value)
        return value


def _fixed_batch_norm(
    x: torch.Tensor,
    running_mean: torch.Tensor | None,
    running_var: torch.Tensor | None,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> torch.Tensor | None:
    """X · scale + shift, or None where the statistics are the batch's own, or types are mixed."""
    if training or running_mean is None or running_var is None or x.ndim < 2:
        return None
    held = [t for t in (running_mean, running_var, weight, bias) if t is not None]
    if any(t.requires_grad or t.dtype != x.dtype for t in held) or x.dtype.itemsize < 4:
        return None
    scale = torch.rsqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    shift = shift if bias is None else shift + bias
    shape = (-1, *(1,) * (x.ndim - 2))
    return torch.addcmul(shift.reshape(shape), x, scale.reshape(shape))


class OrdinaryAttention(TorchFunctionMode):
    """Does nothing, and so keeps torch's attention layers from their fused inference kernel.

    That kernel switches itself off in some runs (under any mode, with a gradient), rounds
    otherwise than the operations it stands for, and drops padded positions.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


class InterceptMode(TorchFunctionMode):
    """Hands every operation to an interceptor, parameters detached, in-place made invisible."""

    def __init__(
        self, intercept: Intercept, position: Position, kinds: frozenset[str] | None
    ) -> None:
        super().__init__()
        self.intercept = intercept
        self.position = position
        self.kinds = kinds
        self.index = 0
        self.freeze = WeightFreezer()
        self.makers = Makers()
        self.rectifiers = Rectifiers()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = name_of(func)
        own = self.position.paused or getattr(func, "__name__", "") == "__set__"
        if own or is_question(func, name):
            return func(*args, **kwargs)
        out_of_place, target = out_of_place_of(func, name, args, kwargs)
        if out_of_place is None:
            return func(*args, **kwargs)
        if name in STEPPED and self.kinds is not None and self.kinds & INSIDE:
            args, states = with_live_states(args)
            for state in states:
                self.makers.note(state, -2)
            with self:
                return in_steps(name, args)
        if kind_of(name, ()) == "composite":
            # Its own operations are what rules are for: it is run under this mode again.
            with self:
                return torch._C._skip_one_hop_torch_function(func, types, args, kwargs)  # pyright: ignore[reportAttributeAccessIssue]
        if name == "scaled_dot_product_attention" and self._opens_attention():
            with self:
                return explicit_attention(*args, **kwargs)
        if target is not None:
            # What is handed out must not change when the user's tensor does, below.
            before = target.clone()
            self.makers.moved(target, before)
            self.rectifiers.moved(target, before)
            args = map_tensors(args, lambda t: before if t is target else t)
            kwargs = map_tensors(kwargs, lambda t: before if t is target else t)
        result = self._intercepted(
            out_of_place,
            name.rstrip("_") if target is not None else name,
            args,
            {k: v for k, v in kwargs.items() if k != "inplace"},
        )
        if target is not None:
            target.copy_(result)
            self.makers.moved(result, target)
            return target
        return result

    def _opens_attention(self) -> bool:
        """Whether a fused attention is run as its parts: where those are asked for, and it not."""
        kinds = self.kinds
        return kinds is not None and "softmax" in kinds and "attention" not in kinds

    def _intercepted(self, func, name, args, kwargs):
        args, kwargs = map_tensors(tuple(args), self.freeze), map_tensors(dict(kwargs), self.freeze)
        if name in BIASED and not is_checkpointing():
            named = normalised(func, name, args, kwargs)
            bias = named.get("bias")
            if bias is not None:
                return self._linear_then_bias(func, name, named, bias)
        if name in {"max", "min"} and ("dim" in kwargs or [a for a in args[1:] if type(a) is int]):
            return self._values_and_places(func, name, args, kwargs)
        return self._one(func, name, args, kwargs)

    def _values_and_places(self, func, name, args, kwargs):
        """A maximum along an axis: interceptors see its values alone, places are whole numbers."""

        def values(*given, **options):
            return func(*given, **options)[0]

        out = self._one(values, name, args, kwargs)
        with torch.no_grad():
            found = func(*args, **kwargs)
        return type(found)((out, found[1]))

    def _linear_then_bias(self, func, name, named, bias):
        out = self._one(func, name, (), {**named, "bias": None})
        spatial = 0 if name == "linear" else int(name[-2])
        shape = [1] * out.ndim
        shape[out.ndim - spatial - 1] = -1
        return self._one(torch.add, "bias", (out, bias.reshape(shape)), {})

    def _one(self, func, name, args, kwargs):
        func = quick(func)
        leaves = [*tensors_in(args), *tensors_in(kwargs)]
        weight_ids = {
            id(kwargs[k]): k for k in ("weight", "bias") if isinstance(kwargs.get(k), torch.Tensor)
        }
        passes = name not in SOURCES
        live = tuple(passes and depends(t) for t in leaves if id(t) not in weight_ids)
        kind = "bias" if name == "bias" else kind_of(name, live)
        looked_at = name in LOOKED_AT
        inputs = tuple(t for t in leaves if id(t) not in weight_ids)
        given = normalised(func, name, args, kwargs) if looked_at else {}
        form = self.rectifiers.met(name, inputs, given) if looked_at and sum(live) == 1 else ""
        kind = "activation" if form else kind
        if any(live) and not (torch.is_grad_enabled() and all_plain(leaves)):
            # Inside a custom autograd function, the model's own no_grad block, a checkpointed part
            # or a function transform: whatever an interceptor changes here has no derivative that
            # can be relied on, so rules must be able to refuse it.
            kind = "untracked"
        index = self.index
        self.index += 1
        if self.kinds is not None and kind not in self.kinds:
            out = func(*args, **kwargs)
            if looked_at:
                self.rectifiers.note(name, inputs, given, out)
            return out

        only = live.index(True) if form and name in BY_SIGN else None

        def call(new_inputs, new_weights):
            if only is not None:  # the sign it was given is that of this input, not of another
                return torch.clamp_min(new_inputs[only], 0)
            replacements = dict(zip(map(id, inputs), new_inputs, strict=True))
            swap = lambda t: replacements.get(id(t), t)  # noqa: E731
            changed = map_tensors(kwargs, swap)
            changed.update({k: v for k, v in new_weights.items() if k in changed})
            return func(*map_tensors(args, swap), **changed)

        path, number = self.position.here()
        result = self.intercept(
            TorchOperation(
                call,
                name=name,
                kind=kind,
                path=path,
                number=number,
                index=index,
                inputs=inputs,
                live=live,
                weights={k: kwargs[k] for k in ("weight", "bias") if k in kwargs},
                arguments=normalised(func, name, args, kwargs),
                sources=tuple(map(self.makers.of, inputs)),
                form=form or None,
            )
        )
        if looked_at:
            self.rectifiers.note(name, inputs, given, result)
        self.makers.note(result, index)
        return result
