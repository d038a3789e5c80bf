"""Guided backpropagation and deconvolution: other derivatives at the ReLUs."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from pellucid.adapters.protocol import Adapter, Operation, Tier
from pellucid.methods.backward.uncovered import Uncovered
from pellucid.methods.base import Attribution, Method
from pellucid.methods.cam.gradcam import GradCAM
from pellucid.methods.registry import register_method
from pellucid.running.gradients import gradients_of_outputs
from pellucid.running.intercepted import begun_under, compiled_under, gradients_under
from pellucid.task import Task
from pellucid.types import Array, Outputs

RECTIFIERS = frozenset({"relu", "relu6"})
_HIDING = frozenset({"opaque", "custom_gradient", "untracked", "other"})
_LOOKED_AT = _HIDING | {"activation", "pool"}
_NO_RELU = (
    "no ReLU was met, so this is the plain gradient: the method changes the backward pass at ReLUs"
    " alone"
)

Gate = Callable[[Any, Array, Array, Callable[[Array], Array]], Array]
"""`(xp, cotangent, x, natural pullback)` to what passes down through a ReLU."""


def _guided(xp: Any, cotangent: Array, x: Array, natural: Callable[[Array], Array]) -> Array:
    return natural(xp.where(cotangent > 0, cotangent, xp.zeros_like(cotangent)))


def _deconvolution(xp: Any, cotangent: Array, x: Array, natural: Callable[[Array], Array]) -> Array:
    return xp.where(cotangent > 0, cotangent, xp.zeros_like(cotangent))


def _rule_of(op: Operation) -> str | None:
    """The gate at ReLUs, the gradient elsewhere; None for what ReLUs may hide in."""
    if op.kind in _HIDING or op.form == "order":
        return None
    return "gate" if op.kind == "activation" and op.form in RECTIFIERS else "gradient"


class _Gates:
    """The interceptor that gives every ReLU another derivative, and counts how many there were."""

    def __init__(self, adapter: Adapter, gate: Gate, uncovered: Uncovered) -> None:
        self._adapter, self._gate, self._uncovered = adapter, gate, uncovered
        self.met = 0

    def __call__(self, op: Operation) -> Array:
        rule = _rule_of(op) if any(op.live) else "gradient"
        if rule is None:
            return self._uncovered(op)
        if rule == "gradient":
            return op()
        self.met += 1
        place = op.live.index(True)
        adapter = self._adapter

        def function(x: Array) -> Array:
            return op(inputs=(*op.inputs[:place], x, *op.inputs[place + 1 :]))

        def backward(cotangent: Array, x: Array) -> Array:
            def natural(c: Array) -> Array:
                _, _, pullback = adapter.vjp(lambda given: (function(given[0]), None), (x,))
                return pullback(c)[0]

            return self._gate(adapter.xp, cotangent, x, natural)

        return adapter.custom_vjp(function, backward)(op.inputs[place])


def _gates(
    adapter: Adapter, gate: Gate, uncovered: Uncovered
) -> tuple[_Gates, Callable[[], tuple[int, tuple[str, ...]]]]:
    """New gates, and what tells how many they were and what had no rule."""
    own = uncovered.again()
    gates = _Gates(adapter, gate, own)
    return gates, lambda: (gates.met, own.met)


def gated_gradients(
    task: Task, gate: Gate, uncovered: Uncovered
) -> tuple[list[tuple[np.ndarray, ...]], tuple[str, ...]]:
    """The gradient of every sample for each target under a gate, and what to warn of."""
    size, met = len(task.batch.arrays), []
    rules = partial(_gates, task.model.adapter, gate, uncovered)

    def evaluate(start: int, stop: int) -> tuple[np.ndarray, ...]:
        rows = np.arange(start, stop)
        leaves = task.take(task.x, rows)
        form = "gates", gate, uncovered.choice
        found = compiled_under(task, leaves, rows, (), rules, _LOOKED_AT, form)
        if found is None:
            gates, fact = rules()
            found = gradients_under(task, leaves, rows, gates, _LOOKED_AT), fact()
        grads, (count, others) = found
        met.append(count)
        uncovered.note(others)
        return tuple(task.to_numpy(g).astype(np.float32) for each in grads for g in each)

    if task.begun is not None:
        pullback, (count, others) = task.begun
        uncovered.note(others)
        grouped = [
            tuple(task.to_numpy(g).astype(np.float32) for g in each)
            for each in gradients_of_outputs(task, pullback)
        ]
        return grouped, () if count else (_NO_RELU,)
    parts = [out for _, _, out in task.schedule.run(task.count, evaluate, key="backward")]
    found = [np.concatenate(column) for column in zip(*parts, strict=True)]
    grouped = [tuple(found[i : i + size]) for i in range(0, len(found), size)]
    return grouped, () if any(met) else (_NO_RELU,)


class _Gated(Method):
    """What guided backpropagation and deconvolution share."""

    family = "backward"
    needs = Tier.TRANSPARENT
    shares_forward = True
    cost = "2 F"
    instead = "saliency"
    gate: ClassVar[Gate]
    on_uncovered: str

    def rule_of(self, op: Operation) -> str | None:
        return _rule_of(op)

    def begin(self, task: Task) -> tuple[Outputs, Any] | None:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        gates, fact = _gates(task.model.adapter, type(self).gate, uncovered)
        found = begun_under(task, gates, _LOOKED_AT)
        return None if found is None else (found[0], (found[1], fact()))

    def attribute(self, task: Task) -> Attribution:
        return self.attribute_each(task)[0]

    def attribute_each(self, task: Task) -> tuple[Attribution, ...]:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        found, warnings = gated_gradients(task, type(self).gate, uncovered)
        return tuple(
            Attribution(grads, warnings=warnings, uncovered=uncovered.met) for grads in found
        )


@register_method("guided_backprop")
@dataclass(frozen=True)
class GuidedBackprop(_Gated):
    """The gradient, with negative parts stopped at every ReLU on the way down.

    g_in = g_out · 1[g_out > 0] · 1[x > 0]   at y = ReLU(x)

    Returns the input's shape, in units of score per unit of input, signed. Only ReLUs (and ReLU6)
    are changed, wherever they are called from and however they are written: layer, function, in
    place, used twice, a maximum with 0, a clip, a threshold, a choice by x > 0. It draws
    fine pictures, and much of what it draws does not depend on the weights above (Adebayo et al.
    2018): look at it beside a method that does. Cost: a forward and a backward.
    Source: Springenberg et al. 2014 (arXiv 1412.6806), section 3.4.

    Raises `CoverageError` where ReLUs may hide (custom gradients, loops seen from outside,
    functions that are not known), unless `on_uncovered="gradient"` takes those as they are, which
    the result then says.

    >>> explain(model, x, "guided_backprop").values.shape == x.shape
    True
    """

    on_uncovered: str = "error"

    gate = staticmethod(_guided)
    source = "Springenberg et al. 2014"


@register_method("deconvnet")
@dataclass(frozen=True)
class Deconvnet(_Gated):
    """The gradient, with a ReLU of the gradient in the place of every ReLU's own derivative.

    g_in = g_out · 1[g_out > 0]   at y = ReLU(x)

    Returns the input's shape, in units of score per unit of input, signed. Max-pools pass down to
    where their maximum was, as in the source. Cost: a forward and a backward.
    Source: Zeiler & Fergus 2013 (arXiv 1311.2901), section 2.1.

    Raises `CoverageError` as `guided_backprop`.

    >>> explain(model, x, "deconvnet").values.shape == x.shape
    True
    """

    on_uncovered: str = "error"

    gate = staticmethod(_deconvolution)
    source = "Zeiler & Fergus 2013"


@register_method("guided_gradcam")
@dataclass(frozen=True)
class GuidedGradCAM(Method):
    """Guided backpropagation where Grad-CAM finds the class.

    a = guided_backprop · ReLU(Grad-CAM), the map enlarged to the input

    Returns the input's shape, signed, in no unit that means something: read it as a picture.
    `layer` is Grad-CAM's. Inputs that the layer's map does not lie over get zeros. Cost: that of
    both.
    Source: Selvaraju et al. 2017 (arXiv 1610.02391), section 3.2.

    Raises `LayerError` as `gradcam`, `CoverageError` as `guided_backprop`.

    >>> explain(model, x, "guided_gradcam", layer="features").values.shape == x.shape
    True
    """

    layer: str | None = None
    on_uncovered: str = "error"

    family = "backward"
    needs = Tier.TRANSPARENT
    modalities = frozenset({"image", "series", "volume"})
    opens_at_layer = True
    cost = "3 F + head"
    instead = "gradcam"
    source = "Selvaraju et al. 2017"

    def rule_of(self, op: Operation) -> str | None:
        return _rule_of(op)

    def attribute(self, task: Task) -> Attribution:
        uncovered = Uncovered(self.name, self.on_uncovered, self.instead)
        cam = GradCAM(layer=self.layer).attribute(task)
        ((grads, *_), warnings) = gated_gradients(task, _guided, uncovered)
        values = []
        for dims, grad, heat in zip(task.batch.dims, grads, cam.values, strict=True):
            if heat.ndim == grad.ndim - 1:
                heat = np.expand_dims(heat, dims.index("channel"))
            values.append((grad * heat).astype(np.float32))
        return Attribution(
            tuple(values),
            extras=cam.extras,
            parameters=cam.parameters,
            warnings=warnings,
            uncovered=uncovered.met,
        )
