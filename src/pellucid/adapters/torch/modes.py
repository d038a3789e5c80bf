"""Reading a torch model as it runs: one function mode, and hooks for the layers asked for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pellucid.adapters.facts import INSIDE, WHOLE
from pellucid.adapters.protocol import Intercept
from pellucid.adapters.torch.aliases import Aliases
from pellucid.adapters.torch.attention import explicit_attention, explicit_gate, of_equal_heads
from pellucid.adapters.torch.calls import (
    BIASED,
    TorchOperation,
    again_with,
    all_plain,
    depends,
    is_checkpointing,
    normalised,
    out_of_place_of,
)
from pellucid.adapters.torch.convolutions import quick
from pellucid.adapters.torch.detached import Detached
from pellucid.adapters.torch.frozen import WeightFreezer
from pellucid.adapters.torch.live_weights import taken_apart
from pellucid.adapters.torch.operations import METADATA, QUESTIONS, SOURCES, kind_of
from pellucid.adapters.torch.position import Makers, Position, map_tensors, tensors_in
from pellucid.adapters.torch.rectifiers import LOOKED_AT, Rectifiers
from pellucid.adapters.torch.recurrent import STEPPED, in_steps, with_live_states
from pellucid.adapters.torch.writes import SET_ITEMS, WRITES, Choices, writing


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


def _begun(tensor: torch.Tensor) -> torch.Tensor:
    """Floats that were looked up by whole numbers, as the start of what can be followed."""
    fresh = tensor.is_floating_point() and not depends(tensor)
    return tensor.detach().requires_grad_(True) if fresh else tensor


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
        self,
        intercept: Intercept,
        position: Position,
        kinds: frozenset[str] | None,
        given: Sequence[torch.Tensor] = (),
    ) -> None:
        super().__init__()
        self.intercept = intercept
        self.position = position
        self.kinds = kinds
        self.index = 0
        self.freeze = WeightFreezer()
        self.makers = Makers()
        self.rectifiers = Rectifiers()
        self.aliases = Aliases()
        self.choices = Choices()
        self.follows = kinds is not None and WHOLE in kinds
        """Whether what is made of whole numbers is shown as live, from the first floats on."""
        if self.follows:
            self.choices.start(t for t in given if not t.is_floating_point())
        self.detached = Detached()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = name_of(func)
        own = self.position.paused or getattr(func, "__name__", "") == "__set__"
        if own or is_question(func, name):
            return func(*args, **kwargs)
        written = None
        if name in WRITES:
            func, name, args, kwargs, written = writing(func, name, args, kwargs)
        out_of_place, target = out_of_place_of(func, name, args, kwargs)
        target = target if written is None else written
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
        if name == "scaled_dot_product_attention" and kwargs.get("enable_gqa"):
            with self:
                return of_equal_heads(**normalised(func, name, args, kwargs))
        if name == "glu":
            with self:
                return explicit_gate(*args, **kwargs)
        if target is not None:
            # What is handed out must not change when the user's tensor does, below.
            before = target.clone()
            self.aliases.about_to_write(target)
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
        parts = taken_apart(func, name, args, kwargs)
        if parts is not None:
            return parts(self._one)
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
        self.choices.note(name, [out], found[1])
        return type(found)((out, found[1]))

    def _linear_then_bias(self, func, name, named, bias):
        out = self._one(func, name, (), {**named, "bias": None})
        spatial = 0 if name == "linear" else int(name[-2])
        shape = [1] * out.ndim
        shape[out.ndim - spatial - 1] = -1
        return self._one(torch.add, "bias", (out, bias.reshape(shape)), {})

    def _one(self, func, name, args, kwargs):
        result = self._handed_on(func, name, args, kwargs)
        self.detached.note(name, [*tensors_in(args), *tensors_in(kwargs)], result)
        return result

    def _handed_on(self, func, name, args, kwargs):
        func = quick(func)
        leaves = [*tensors_in(args), *tensors_in(kwargs)]
        weight_ids = {
            id(kwargs[k])
            for k in ("weight", "bias")
            if isinstance(kwargs.get(k), torch.Tensor) and not depends(kwargs[k])
        }
        weights = {
            k: kwargs[k]
            for k in ("weight", "bias")
            if k in kwargs and (kwargs[k] is None or id(kwargs[k]) in weight_ids)
        }
        passes = name not in SOURCES
        live = tuple(passes and self._is_live(t) for t in leaves if id(t) not in weight_ids)
        kind = kind_of("add" if name == "bias" else name, live)
        kind = self.detached.kind(name, kind, leaves, live)
        inputs = tuple(t for t in leaves if id(t) not in weight_ids)
        again = again_with(func, args, kwargs, inputs)
        given = normalised(func, name, args, kwargs) if name in LOOKED_AT else {}
        relu = self.rectifiers.met(name, inputs, given, again) if any(live) else None
        call, of, alive = again, inputs, live
        form = "detached_maximum" if name == "detach" and kind == "detached" else None
        if relu is not None:
            kind, form = "activation", relu.form
            if relu.formula:  # what else it was given is known for these numbers only
                call, of, alive = relu.again, (relu.of,), (True,)
        if name == SET_ITEMS and self._chooses(args[1]):
            kind = "other"
        if any(live) and not (torch.is_grad_enabled() and all_plain(leaves)):
            # Inside a custom autograd function, the model's own no_grad block, a checkpointed part
            # or a function transform: whatever an interceptor changes here has no derivative that
            # can be relied on, so rules must be able to refuse it.
            kind = "untracked"
        index = self.index
        self.index += 1
        if self.kinds is not None and kind not in self.kinds:
            result = func(*args, **kwargs)
        else:
            path, number = self.position.here()
            result = self.intercept(
                TorchOperation(
                    call,
                    name=name,
                    kind=kind,
                    path=path,
                    number=number,
                    index=index,
                    inputs=of,
                    live=alive,
                    weights=weights,
                    arguments=given or normalised(func, name, args, kwargs),
                    sources=tuple(map(self.makers.of, of)),
                    form=form,
                )
            )
            if self.follows and any(live):
                result = map_tensors(result, _begun)
            self.makers.note(result, index)
        self.rectifiers.note(name, inputs, again, result, ends=relu is not None)
        self.choices.note(name, leaves, result)
        return result

    def _is_live(self, tensor: torch.Tensor) -> bool:
        return depends(tensor) or (self.follows and self.choices.has(tensor))

    def _chooses(self, index: Any) -> bool:
        """Whether places to write to follow from the numbers of the model's inputs."""
        return any(map(self.choices.has, tensors_in(index)))
