"""A torch model opened at a layer, by replaying its own eager code and skipping the prefix.

Run 1 counts the torch calls up to the layer's exit and keeps weak references to what they
return; at the exit only tensors still alive can be used above the layer (skip connections),
and only those are kept. Later runs call the ordinary model: the first calls return the kept
tensor, or an empty stand-in of the right shape, and the layer's hook returns the new value.
"""

import contextlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from pellucid.adapters.protocol import Cut
from pellucid.adapters.torch.affine import ESCAPES, AffineWatch
from pellucid.adapters.torch.frozen import WeightFreezer
from pellucid.adapters.torch.layers import call_number, with_first
from pellucid.adapters.torch.modes import is_question, name_of
from pellucid.adapters.torch.peeling import Peeling
from pellucid.adapters.torch.position import Position, map_tensors, tensors_in, watching
from pellucid.adapters.torch.reading import Named
from pellucid.errors import LayerError
from pellucid.types import Leaves, Outputs


class _Kept:
    """What one skipped call returned: a tensor (kept, or only its shape) or a plain value."""

    def __init__(self, tensor: torch.Tensor, live: bool) -> None:
        self.reference = weakref.ref(tensor)
        self.shape, self.dtype, self.device = tensor.shape, tensor.dtype, tensor.device
        self.live = live
        self.tensor: torch.Tensor | None = None

    def stand_in(self) -> torch.Tensor:
        return torch.zeros((), dtype=self.dtype, device=self.device).expand(self.shape)


class PrefixRecorder(TorchFunctionMode):
    """Notes what each torch call before the layer's exit returns."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[str, Any]] = []
        self.open = True
        self.escaped = False
        """Whether numbers left torch above the layer, where nothing can follow them."""
        self._live: dict[int, weakref.ref[torch.Tensor]] = {}

    def start(self, leaves: Leaves) -> None:
        for tensor in leaves:
            self._live[id(tensor)] = weakref.ref(tensor)

    def is_live(self, tensor: torch.Tensor) -> bool:
        reference = self._live.get(id(tensor))
        return reference is not None and reference() is tensor

    def __torch_function__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if self.open:
            live = any(self.is_live(t) for t in tensors_in([args, kwargs]))
            if live:
                for tensor in tensors_in(out):
                    self._live[id(tensor)] = weakref.ref(tensor)
            self.calls.append((name_of(func), map_tensors(out, lambda t: _Kept(t, live))))
        elif name_of(func) in ESCAPES:
            self.escaped = True
        return out

    def close(self) -> None:
        """At the layer's exit: keep what is still alive, forget the rest.

        Copies, because the model may work in place on them above the layer.
        """
        self.open = False
        copies: dict[int, torch.Tensor] = {}
        for _, out in self.calls:
            for kept in _kept_in(out):
                alive = kept.reference()
                if alive is None:
                    continue
                if id(alive) not in copies:
                    copies[id(alive)] = alive.clone()
                kept.tensor = copies[id(alive)]


def _kept_in(value: Any) -> list[_Kept]:
    if isinstance(value, _Kept):
        return [value]
    if isinstance(value, list | tuple):
        return [k for item in value for k in _kept_in(item)]
    if isinstance(value, dict):
        return [k for item in value.values() for k in _kept_in(item)]
    return []


class ReplayMismatch(Exception):  # noqa: N818 - control flow inside this module, never shown
    """The model took another way than in run 1."""


class PrefixSkipper(TorchFunctionMode):
    """Returns the recorded results for the calls below the layer; detaches weights above it.

    With `variants`, what was recorded for each of `rows` samples is returned that many times.
    """

    def __init__(self, recorder: PrefixRecorder, rows: int, variants: int) -> None:
        super().__init__()
        self.calls = recorder.calls
        self.position = 0
        self.skipping = True
        self.freeze = WeightFreezer()
        self.rows, self.variants = rows, variants
        self.crossed = False
        """Whether the part above the layer read anything from below but the layer's output."""
        self._handed_out: dict[int, torch.Tensor] = {}
        self._crossers: set[int] = set()
        self._inputs: dict[int, torch.Tensor] = {}
        self._stand_ins: list[torch.Tensor] = []

    def start(self, leaves: Leaves) -> list[torch.Tensor]:
        """Stand-ins for the model's inputs, exchanged for the real ones if read above the layer."""
        for a in leaves:
            stand_in = a.new_zeros(()).expand(a.shape[0] * self.variants, *a.shape[1:])
            self._inputs[id(stand_in)] = a
            self._stand_ins.append(stand_in)
        return list(self._stand_ins)

    def stop(self) -> None:
        """At the layer's exit: from here on the model computes."""
        self.skipping = False

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if not self.skipping:
            if is_question(func, name_of(func)):
                return func(*args, **kwargs)
            return func(*map_tensors(tuple(args), self._given), **map_tensors(kwargs, self._given))
        if self.position >= len(self.calls):
            raise ReplayMismatch
        name, out = self.calls[self.position]
        if name != name_of(func):
            raise ReplayMismatch
        self.position += 1
        return self._replay(out)

    def _given(self, tensor: torch.Tensor) -> torch.Tensor:
        """What an operation above the layer is given: real inputs, weights without a graph."""
        source = self._inputs.get(id(tensor))
        self.crossed |= source is not None or id(tensor) in self._crossers
        if source is None:
            return self.freeze(tensor)
        if id(source) not in self._handed_out:
            self._handed_out[id(source)] = self._repeated(source)
        return self._handed_out[id(source)]

    def _replay(self, out: Any) -> Any:
        if isinstance(out, _Kept):
            if out.tensor is None:
                return out.stand_in()
            # A copy each run: the model may change it in place above the layer.
            known = self._handed_out.get(id(out.tensor))
            if known is None:
                known = out.tensor.clone() if not out.live else self._repeated(out.tensor)
                self._handed_out[id(out.tensor)] = known
                if out.live:
                    self._crossers.add(id(known))
            return known
        if isinstance(out, tuple) and hasattr(out, "_fields"):
            return type(out)(*map(self._replay, out))
        if isinstance(out, list | tuple):
            return type(out)(map(self._replay, out))
        if isinstance(out, dict):
            return {key: self._replay(item) for key, item in out.items()}
        return out

    def _repeated(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy in which each sample stands `variants` times, its parts (windows) together."""
        if self.variants == 1:
            return tensor.clone()
        if not tensor.ndim or tensor.shape[0] % self.rows:
            raise ReplayMismatch
        by_sample = tensor.reshape(self.rows, -1).repeat_interleave(self.variants, dim=0)
        return by_sample.reshape(-1, *tensor.shape[1:])


class TorchCut(Cut):
    """See `Cut`. Falls back to whole runs with the layer's output replaced, where replay fails."""

    def __init__(
        self,
        value: torch.Tensor,
        outputs: Outputs,
        leaves: Leaves,
        recorder: PrefixRecorder,
        replay: Callable[[PrefixSkipper, torch.Tensor], Outputs],
        whole: Callable[[Leaves, torch.Tensor], Outputs],
        affine: bool,
    ) -> None:
        self.value, self.outputs = value, outputs
        self._affine = affine
        self._leaves, self._recorder = leaves, recorder
        self._replay, self._whole = replay, whole
        self._replays: dict[bool, bool] = {}

    @property
    def affine(self) -> bool:
        return self._affine

    def run(self, value: torch.Tensor) -> Outputs:
        rows, given = self._leaves[0].shape[0], value.shape[0]
        if given % rows:
            raise LayerError(
                f"A cut made with {rows} samples takes a multiple of {rows} rows, got {given}."
            )
        variants = given // rows
        # What the model worked out below the layer may be right for as many rows only.
        as_cut = variants == 1
        if as_cut not in self._replays:
            if as_cut and _equal(value, self.value):
                out = self._tried(value, 1)
                if self._replays[True]:
                    return out
            else:
                out = self._without_crossing(value, variants)
                if out is not None:
                    return out
                with torch.no_grad():
                    own = self.value.repeat_interleave(1 if as_cut else 2, dim=0)
                    self._tried(own, 1 if as_cut else 2)
        if self._replays[as_cut]:
            return self._replay(PrefixSkipper(self._recorder, rows, variants), value)
        leaves = tuple(a.repeat_interleave(variants, dim=0) for a in self._leaves)
        return self._whole(leaves, value)

    def _without_crossing(self, value: torch.Tensor, variants: int) -> Outputs | None:
        """A replay that needs no check, for nothing but the layer's output went into the rest."""
        rows = self._leaves[0].shape[0]
        skipper = PrefixSkipper(self._recorder, rows, variants)
        try:
            out = self._replay(skipper, value)
        except Exception:
            # Whatever it is, a replay of the cut's own value or a whole run tells.
            return None
        pairs = zip(tensors_in(out), tensors_in(self.outputs), strict=True)
        fits = all(new.shape == (len(old) * variants, *old.shape[1:]) for new, old in pairs)
        if skipper.crossed or not fits:
            return None
        self._replays[variants == 1] = True
        return out

    def _tried(self, value: torch.Tensor, variants: int) -> Outputs:
        """A replay of the cut's own value, and a note whether it gives the cut's own outputs."""
        rows = self._leaves[0].shape[0]
        try:
            out = self._replay(PrefixSkipper(self._recorder, rows, variants), value)
        except Exception:
            # Whatever it is, the whole run finds out whether it is the model's own error.
            self._replays[variants == 1] = False
            return None
        expected = map_tensors(
            self.outputs, lambda t: t.repeat_interleave(variants, dim=0) if t.ndim else t
        )
        self._replays[variants == 1] = _close(out, expected)
        return out


def _equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    with torch.no_grad():
        return a.shape == b.shape and bool(torch.equal(a, b))


def _close(a: Outputs, b: Outputs) -> bool:
    with torch.no_grad():
        pairs = zip(tensors_in(a), tensors_in(b), strict=True)
        return all(
            x.shape == y.shape
            and bool((x - y).abs().max() <= 1e-4 * y.abs().max().clamp_min(1e-12))
            for x, y in pairs
            if x.numel() and x.is_floating_point()
        )


def open_at(
    layer: str,
    watched: Named,
    leaves: Leaves,
    *,
    call: Callable[[Sequence[torch.Tensor]], Outputs],
    peeling: Callable[[], Peeling],
    quiet: Callable[[], contextlib.AbstractContextManager[None]],
) -> Cut:
    """Run a model once and open it where call `layer` of the `watched` module returns.

    `call` runs the model on copies of the inputs, `quiet` is the state it runs in, `peeling`
    takes the final activation off. Raises `LayerError` where that call never came.
    """
    wanted = call_number(layer)
    recorder, first = PrefixRecorder(), peeling()
    found: list[torch.Tensor] = []
    above, watches = contextlib.ExitStack(), list[AffineWatch]()

    def at_exit(path: str, number: int, module: Any, output: Any) -> None:
        value = next(tensors_in(output), None)
        if number == wanted and value is not None:
            recorder.close()
            # A copy: an in-place operation above the layer would change it.
            found.extend((value.clone(), value))
            watches.append(above.enter_context(AffineWatch(value)))

    def replacing(value: torch.Tensor, before: Callable[[], None]) -> Callable[..., Any]:
        def at_exit(path: str, number: int, module: Any, output: Any) -> Any:
            if number != wanted:
                return None
            before()
            return with_first(output, value.clone())

        return at_exit

    def replay(skipper: PrefixSkipper, value: torch.Tensor) -> Outputs:
        hook = replacing(value, skipper.stop)
        with quiet(), watching(watched, Position(), hook):
            stand_ins = skipper.start(leaves)
            peeled = peeling()
            with peeled.watching(), skipper:
                outputs = call(stand_ins)
            return peeled.outputs(outputs)

    def whole(rows: Leaves, value: torch.Tensor) -> Outputs:
        hook = replacing(value, lambda: None)
        with quiet(), watching(watched, Position(), hook):
            given = [a.clone() for a in rows]
            peeled = peeling()
            with peeled.watching():
                outputs = call(given)
            return peeled.outputs(outputs)

    with quiet(), torch.no_grad(), watching(watched, Position(), at_exit):
        given = [a.clone() for a in leaves]
        recorder.start(tuple(given))
        with above, first.watching(), recorder:
            returned = call(given)
        logits = first.of_cut(found[1], returned) if found else None
        outputs = first.outputs(returned)
    if not found:
        raise LayerError(
            f"{layer} was not called (or returned no tensor) in this run, so the model cannot be"
            " cut there. `model.layers(x)` lists the calls."
        )
    value = found[0] if logits is None else logits.clone()
    affine = logits is None and watches[0].proves(outputs) and not recorder.escaped
    return TorchCut(value, outputs, leaves, recorder, replay, whole, affine)
