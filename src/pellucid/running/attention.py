"""The attentions of a task: which there are, what they weigh with, and what the score owes them."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.attention import AttentionCall, attention_calls
from pellucid.adapters.protocol import Operation
from pellucid.counting import asked_once
from pellucid.errors import CapabilityError
from pellucid.running.intercepted import OtherOperationsError
from pellucid.running.layers import shape_key
from pellucid.running.outputs import model_errors
from pellucid.types import Array, Leaves

if TYPE_CHECKING:
    from pellucid.task import Task


@dataclass(frozen=True)
class Attended:
    """The weights of some attentions, each `(n, heads, queries, keys)`, and ∂score/∂those.

    Where no gradient was asked for there is None.
    """

    weights: tuple[np.ndarray, ...]
    gradients: tuple[np.ndarray | None, ...]


def calls_of(task: "Task", rows: np.ndarray | None = None) -> tuple[AttentionCall, ...]:
    """The attentions of a run on the first row in order; asked once for each input shape.

    Or of a run on `rows`, where `attended` raised `OtherOperationsError` for them.

    Raises `CapabilityError` where the model has none.
    """
    key = shape_key(task)
    calls = task.wrapped.attention_calls.get(key) if rows is None else None
    if calls is None:
        adapter = task.model.adapter

        def run(
            leaves: Leaves, follow: Callable[[Operation], Array], kinds: frozenset[str]
        ) -> None:
            with model_errors(task.model, leaves, adapter):
                adapter.traced(
                    lambda given: task.model.run(given, intercept=follow, kinds=kinds), leaves
                )

        looked_at = np.arange(1) if rows is None else rows
        one = task.take(task.x, looked_at)
        two = task.take(task.x, np.concatenate([looked_at, looked_at]))
        with asked_once() if rows is None else nullcontext():
            calls = attention_calls(run, one, two, len(looked_at))
        if rows is None:
            task.wrapped.attention_calls[key] = calls
    if not calls:
        raise CapabilityError(
            "This model does not attend: no softmax in it gives weights that values are summed"
            " with.\n  gradcam and integrated_gradients work on it. An attention inside of a loop"
            " or a compiled kernel (scan, flex_attention) is not seen; written out, it is."
        )
    return calls


def attended(
    task: "Task",
    rows: np.ndarray,
    calls: Sequence[AttentionCall],
    differentiated: Sequence[bool],
) -> Attended:
    """What the attentions of `calls` weigh with for the samples `rows`: one forward pass.

    And where `differentiated` says so, the gradient of the score there, by a probe of zeros. Raises
    `OtherOperationsError` where these rows do not meet the attentions there.
    """
    leaves = task.take(task.x, rows)
    places = {call.index: i for i, call in enumerate(calls)}
    probed = [i for i, wanted in enumerate(differentiated) if wanted]
    probes = tuple(_probe(task, calls[i], len(rows)) for i in probed)

    def score(given: Leaves) -> tuple[Array, Any]:
        by_place = dict(zip(probed, given, strict=True))
        seen: dict[int, Array] = {}

        def watch(op: Operation) -> Array:
            out = op()
            place = places.get(op.index)
            if place is None or not _is_at(calls[place], op):
                return out
            seen[place] = out
            if place not in by_place:
                return out
            return out + _as_used(task.xp, calls[place], by_place[place], out)

        outputs = task.model.run(leaves, intercept=watch, kinds=calls[0].kinds)
        if len(seen) < len(calls):
            raise OtherOperationsError(
                "The model does something else from run to run on these samples: an attention is"
                " not met again where it was.\n  integrated_gradients looks for none."
            )
        return task.score(outputs, rows), tuple(seen[i] for i in range(len(calls)))

    with task.naming_samples(leaves, rows):
        if probes:
            value, seen, pullback = task.model.vjp(score, probes)
            found = dict(zip(probed, pullback(task.xp.ones_like(value)), strict=True))
        else:
            (_, seen), found = score(()), {}
    weights = tuple(in_order(c, task.to_numpy(a)) for c, a in zip(calls, seen, strict=True))
    gradients = tuple(
        _ordered(calls[i], task.to_numpy(found[i])) if i in found else None
        for i in range(len(calls))
    )
    return Attended(weights, gradients)


def _is_at(call: AttentionCall, op: Operation) -> bool:
    return op.kind == "softmax" and (op.path, op.call) == (call.path, call.call)


def _probe(task: "Task", call: AttentionCall, rows: int) -> Array:
    """Zeros `(n, m, ...)`: the samples, what lies with them along an axis, the other axes."""
    others = [s for axis, s in enumerate(call.shape) if axis != call.samples]
    shape = (rows, call.shape[call.samples], *others)
    return task.asarray(np.zeros(shape, dtype=np.float32))


def _as_used(xp: Any, call: AttentionCall, probe: Array, weights: Array) -> Array:
    """A probe in the shape and type of the weights it is added to."""
    rows, together, *others = (int(s) for s in probe.shape)
    flat = xp.reshape(probe, (rows * together, *others))
    axes = list(range(1, len(call.shape)))
    axes.insert(call.samples, 0)
    return xp.astype(xp.permute_dims(flat, tuple(axes)), weights.dtype)


def in_order(call: AttentionCall, weights: np.ndarray) -> np.ndarray:
    """Weights as a run has them as `(n, heads, queries, keys)`, float64."""
    moved = np.moveaxis(weights, call.samples, 0)
    together = call.shape[call.samples]
    return _ordered(call, moved.reshape(-1, together, *moved.shape[1:]))


def _ordered(call: AttentionCall, a: np.ndarray) -> np.ndarray:
    """`(n, m, ...)`, the samples' axis taken to the front, as `(n, heads, queries, keys)`."""

    def place(axis: int) -> int:
        return axis + 2 if axis < call.samples else axis + 1

    queries = [] if call.queries is None else [place(call.queries)]
    heads = [place(axis) for axis in call.heads]
    keys = a.shape[place(call.keys)]
    ordered = a.transpose(0, 1, *heads, *queries, place(call.keys)).astype(np.float64)
    return ordered.reshape(len(a), -1, ordered.shape[-2] if queries else 1, keys)
