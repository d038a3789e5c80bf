"""Taking the final softmax or sigmoid off what a torch model returns."""

import collections
import contextlib
import weakref
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch.overrides import TorchFunctionMode

from pellucid.adapters.protocol import Intercept, Operation
from pellucid.adapters.torch.modes import name_of
from pellucid.adapters.torch.operations import FINAL, PASS
from pellucid.adapters.torch.position import map_tensors, tensors_in
from pellucid.types import Outputs

Names = tuple[str | None, ...]


class Peeling:
    """What takes the final activation off one run: off its outputs, and off its last layers.

    `ends` are the layer calls that return what the model returns: peeled, they return the logits
    too. `note` is told the final activation of each output, and None where it is known that
    nothing has to be taken off.
    """

    def __init__(
        self, *, peel: bool, ends: frozenset[str], note: Callable[[Names], None] | None
    ) -> None:
        self._peel, self._ends, self._note = peel, ends, note
        self._finder = FinalActivationFinder()

    def watching(self) -> contextlib.AbstractContextManager[Any]:
        """The mode in which the model runs."""
        return contextlib.nullcontext() if self._note is None else self._finder

    def outputs(self, outputs: Outputs) -> Outputs:
        """What the run is said to return."""
        if self._note is None:
            return outputs
        self._note(self._finder.names(outputs))
        return self._finder.peeled(outputs) if self._peel else outputs

    def following(self, intercept: Intercept) -> Intercept:
        """The interceptor, whose stand-ins for a softmax of the same value are taken off as well.

        A rule returns another tensor with other derivatives; what was put in to change the value
        is left as it is.
        """
        if self._note is None or not self._peel:
            return intercept

        def decide(op: Operation) -> Any:
            result = intercept(op)
            if op.name in FINAL and isinstance(result, torch.Tensor):
                self._finder.stands_in(result, op)
            return result

        return decide

    def at_exit(self, name: str, value: torch.Tensor) -> torch.Tensor:
        """What a layer call is said to return."""
        known = self._finder.look_up(value) if self._peel and name in self._ends else None
        return value if known is None else known.logits.reshape(value.shape)

    def of_cut(self, value: torch.Tensor, outputs: Outputs) -> torch.Tensor | None:
        """The logits, where a layer call returned what the model's own `outputs` are made of."""
        known = self._finder.look_up(value) if self._peel and self._note is not None else None
        if known is None:
            return None
        finals = [self._finder.look_up(tensor) for tensor in tensors_in(outputs)]
        same = any(f is not None and f.logits is known.logits for f in finals)
        return known.logits.reshape(value.shape) if same else None


class LastLayers:
    """Finds, in one run, the layer calls whose softmax or sigmoid is the model's output."""

    def __init__(self) -> None:
        self._finder = FinalActivationFinder()
        self._made: dict[str, torch.Tensor] = {}

    def watching(self) -> contextlib.AbstractContextManager[Any]:
        """The mode in which the model runs."""
        return self._finder

    def note(self, name: str, output: Any) -> None:
        """A layer call has returned."""
        first = next(tensors_in(output), None)
        known = None if first is None else self._finder.look_up(first)
        if known is not None:
            self._made[name] = known.logits

    def names(self, outputs: Outputs) -> frozenset[str]:
        """The calls that returned what these outputs are made of."""
        known = [self._finder.look_up(tensor) for tensor in tensors_in(outputs)]
        final = [k.logits for k in known if k is not None]
        return frozenset(n for n, z in self._made.items() if any(z is other for other in final))


class FinalActivationFinder(TorchFunctionMode):
    """Notes softmax-like calls and the steps after them, to walk back from an output.

    The model computes what it always does; only the outputs it returns are replaced by their
    logits, so whatever else reads the softmax is not disturbed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, Final] = {}
        # Attention has many softmaxes of large inputs; the final ones are among the last.
        self._latest: collections.deque[int] = collections.deque(maxlen=16)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = name_of(func)
        source = args[0] if args else kwargs.get("input")
        if name in FINAL and _along_classes(name, out, args, kwargs) and out is not source:
            self._keep(out, FINAL[name], source)
        elif name in PASS and isinstance(out, torch.Tensor) and isinstance(source, torch.Tensor):
            known = self.look_up(source)
            if known is not None and out is not source:
                self._keep(out, known.name, known.logits)
        return out

    def _keep(self, out: torch.Tensor, name: str, logits: Any) -> None:
        if len(self._latest) == self._latest.maxlen:
            self._made.pop(self._latest[0], None)
        self._latest.append(id(out))
        self._made[id(out)] = Final(weakref.ref(out), out._version, name, logits)

    def stands_in(self, result: torch.Tensor, op: Operation) -> None:
        """Note that `result` has the value of a softmax-like call, if that is so."""
        if self.look_up(result) is not None:
            return
        own = op()
        known = self.look_up(own)
        if known is not None and own.shape == result.shape and torch.allclose(own, result):
            self._keep(result, known.name, known.logits)

    def look_up(self, tensor: torch.Tensor) -> "Final | None":
        """The final activation that made `tensor`, steps after it crossed."""
        made = self._made.get(id(tensor))
        # Written to since (a mask, say): what is returned is no longer a softmax.
        if made is None or made.out() is not tensor or made.version != tensor._version:
            return None
        return made

    def names(self, outputs: Any) -> tuple[str | None, ...]:
        """Per output its final activation."""
        found = [self.look_up(tensor) for tensor in tensors_in(outputs)]
        return tuple(None if f is None else f.name for f in found)

    def peeled(self, outputs: Any) -> Any:
        """The outputs, those with a final activation replaced by what went into it."""

        def changed(tensor: torch.Tensor) -> torch.Tensor:
            known = self.look_up(tensor)
            return tensor if known is None else known.logits.reshape(tensor.shape)

        return map_tensors(outputs, changed)


class Final(NamedTuple):
    """A softmax-like call, and what went into it."""

    out: weakref.ref[torch.Tensor]
    version: int
    name: str
    logits: torch.Tensor


def _along_classes(name: str, out: Any, args: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a softmax-like call normalises over what can be the class axis."""
    if not isinstance(out, torch.Tensor):
        return False
    if name == "sigmoid":
        return True
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return axis is None or axis % max(out.ndim, 1) in {out.ndim - 1, 1}
