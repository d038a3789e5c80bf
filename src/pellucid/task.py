"""What a method is given: a counted model, a batch, a target, and how to spend evaluations."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from pellucid.adapters.layers import find_layer
from pellucid.adapters.protocol import LAYERS_ONLY, LayerInfo, Operation
from pellucid.counting import CountedCut, CountedModel
from pellucid.engine.schedule import Schedule
from pellucid.errors import CapabilityError, InputError, ModelError, PellucidError
from pellucid.inputs.baselines import make_baseline
from pellucid.inputs.layout import space_axes
from pellucid.model import (
    Batch,
    Model,
    check_outputs,
    model_errors,
    run_checked,
    single_output,
)
from pellucid.targets import Target
from pellucid.types import Array, Leaves, Outputs


class _SeveralOutputs(Exception):  # noqa: N818 - control flow inside this module
    """The model returns more than one array, so outputs cannot be differentiated as one."""


class Task:
    """One explanation to be made. Rows are samples; every method works through these verbs.

    `rows` arguments say which sample each row of a micro-batch belongs to. With `keeps_integers`
    whole-number inputs stay as they are where others go to their baseline, for methods that
    follow a path.
    """

    def __init__(
        self,
        model: Model,
        batch: Batch,
        counted: CountedModel,
        *,
        seed: int,
        schedule: Schedule,
        keeps_integers: bool = True,
    ) -> None:
        self.wrapped = model
        self.batch = batch
        self.model = counted
        self.seed = seed
        self.keeps_integers = keeps_integers
        self.schedule = schedule
        self.cut_layer: str | None = None
        self.cuts: list[tuple[int, int, CountedCut]] = []
        self.outputs: Outputs = None
        self._target: Target | None = None
        self._pullback: Callable[[Array], Leaves] | None = None

    @property
    def count(self) -> int:
        return len(self.batch)

    @property
    def x(self) -> Leaves:
        return self.batch.leaves

    @property
    def xp(self) -> Any:
        return self.model.adapter.xp

    @property
    def target(self) -> Target:
        if self._target is None:
            raise RuntimeError("The target is resolved after the prediction.")
        return self._target

    @property
    def differentiable(self) -> tuple[bool, ...]:
        """Which inputs are real numbers, so that a gradient means something."""
        return tuple(a.dtype.kind == "f" for a in self.batch.arrays)

    def set_target(self, target: Target) -> None:
        self._target = target

    def predict(self) -> None:
        """Run the model on the batch, in micro-batches; `outputs` is what is explained."""

        def evaluate(start: int, stop: int) -> Outputs:
            leaves = tuple(a[start:stop] for a in self.x)
            rows = np.arange(start, stop)
            return single_output(run_checked(self.model, leaves, self.model.adapter, rows))

        parts = [out for _, _, out in self.schedule.run(self.count, evaluate, key="forward")]
        self.outputs = self._join(parts)

    def predict_for_gradient(self) -> None:
        """As `predict`, and where one micro-batch holds all, keep the graph for `gradients`.

        So the prediction and the gradient of the predicted class share one forward pass.
        """
        if self.count > self.schedule.first_size("gradient"):
            self.predict()
            return
        try:
            outputs, _, pullback = self.model.vjp(self._single_run, self.x)
        except PellucidError:
            raise
        except Exception:
            # The ordinary prediction finds out which rows fail, and copes with other outputs.
            self.predict()
            return
        check_outputs(outputs, self.count, self.model.adapter)
        self.outputs, self._pullback = outputs, pullback

    def _single_run(self, leaves: Leaves) -> tuple[Array, None]:
        outputs = single_output(self.model.run(leaves))
        if not hasattr(outputs, "shape"):
            raise _SeveralOutputs
        return outputs, None

    def gradients(self) -> tuple[np.ndarray, ...]:
        """∂score/∂x of every sample, float32, one array per input."""

        def evaluate(rows: np.ndarray) -> tuple[np.ndarray, ...]:
            if self._pullback is not None:
                _, _, back = self.model.adapter.vjp(
                    lambda given: (self.score(given[0], rows), None), (self.outputs,)
                )
                ones = self.asarray(np.ones(len(rows), dtype=np.float32))
                grads = self._pullback(back(ones)[0])
            else:
                grads = self.gradient(self.take(self.x, rows), rows)[1]
            return tuple(self.to_numpy(g).astype(np.float32) for g in grads)

        if self._pullback is not None:
            return evaluate(np.arange(self.count))
        return over_samples(self, evaluate, key="gradient")

    def predict_by_cut(self, layer: str) -> None:
        """Run the model once and keep it open at `layer`, for every sample."""
        self.cut_layer = layer

        def evaluate(start: int, stop: int) -> CountedCut:
            leaves, rows = tuple(a[start:stop] for a in self.x), np.arange(start, stop)
            with model_errors(self.model, leaves, self.model.adapter, rows):
                cut = self.model.cut(leaves, layer)
            check_outputs(cut.outputs, stop - start, self.model.adapter, rows)
            return cut

        self.cuts = list(self.schedule.run(self.count, evaluate, key="forward"))
        self.outputs = self._join([single_output(cut.outputs) for _, _, cut in self.cuts])

    def score(self, outputs: Outputs, rows: np.ndarray) -> Array:
        """The explained number of each output row, `(m,)`, native and differentiable."""
        return self.target.score(single_output(outputs), self.model.adapter, rows)

    def score_of(self, leaves: Leaves, rows: np.ndarray) -> np.ndarray:
        """The explained number of new rows, `(m,)` float64, without a gradient."""
        leaves = self._in_own_type(leaves)
        with self._named(leaves, rows):
            outputs = self.model.run(leaves)
        scores = self.to_numpy(self.score(outputs, rows)).astype(np.float64)
        if not np.isfinite(scores).all():
            bad = np.unique(rows[~np.isfinite(scores)])[:20].tolist()
            raise ModelError(
                f"The model returned NaN or infinity for changed copies of the samples {bad}.\n"
                "  Another baseline may be one that it can compute."
            )
        return scores

    def gradient(self, leaves: Leaves, rows: np.ndarray) -> tuple[Array, Leaves]:
        """`(score (m,), ∂score/∂leaf for each leaf)`, float32 or better."""

        def fn(given: Leaves) -> tuple[Array, None]:
            return self.score(self.model.run(given), rows), None

        leaves = self._in_own_type(leaves)
        with self._named(leaves, rows):
            value, _, pullback = self.model.vjp(fn, leaves)
            return value, pullback(self.xp.ones_like(value))

    def _in_own_type(self, leaves: Leaves) -> Leaves:
        """Rows made in NumPy in the type of the model's inputs, which NumPy may not have."""
        pairs = zip(leaves, self.x, strict=True)
        return tuple(a if a.dtype == b.dtype else self.xp.astype(a, b.dtype) for a, b in pairs)

    def _named(self, leaves: Leaves, rows: np.ndarray) -> AbstractContextManager[None]:
        return model_errors(
            self.model, leaves, self.model.adapter, rows, what="changed copies of the samples"
        )

    def take(self, leaves: Leaves, rows: np.ndarray) -> Leaves:
        """The given rows of each leaf."""
        if len(rows) and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows))):
            return tuple(a[int(rows[0]) : int(rows[0]) + len(rows)] for a in leaves)
        index = self.asarray(rows.astype(np.int64))
        return tuple(self.xp.take(a, index, axis=0) for a in leaves)

    def baselines(self, spec: Any) -> tuple[np.ndarray, ...]:
        """The reference inputs, `(n, ...)` each; `spec` as in `make_baseline`, or one per input."""
        specs = _per_input(spec, self.batch)
        return tuple(
            make_baseline(s, a, dims, seed=self.seed, name=name, keep_integers=self.keeps_integers)
            for s, a, dims, name in zip(
                specs, self.batch.arrays, self.batch.dims, self.batch.names, strict=True
            )
        )

    def baseline_scores(self, baseline: tuple[np.ndarray, ...]) -> np.ndarray:
        """f(x') of each sample, `(n,)`; run once where all samples share the reference."""
        shared = all(bool((b == b[:1]).all()) for b in baseline)
        rows = np.arange(self.count)
        native = tuple(map(self.asarray, baseline))
        if shared:
            single = self._in_own_type(tuple(a[:1] for a in native))
            with self._named(single, rows[:1]):
                output = self.model.run(single)
            repeated = _repeat(single_output(output), self.count, self.xp)
            return _finite(self.to_numpy(self.score(repeated, rows)).astype(np.float64))
        run = self.schedule.run(
            self.count,
            lambda a, b: self.score_of(tuple(leaf[a:b] for leaf in native), rows[a:b]),
            key="forward",
        )
        return _finite(np.concatenate([scores for _, _, scores in run]))

    def layer(self, name: str | None) -> str:
        """The full path of a layer; chosen for CAM methods where `name` is None."""
        adapter = self.model.adapter
        if name is not None:
            paths = [c.path for c in adapter.layers()]
            if not paths:
                raise CapabilityError(
                    "This model shows no layers, so it cannot be opened at one.\n"
                    "  Wrap the Keras model or torch module itself; integrated_gradients and"
                    " occlusion work without layers."
                )
            base, mark, call = name.partition("#")
            return find_layer(base, paths, separator=_separator(adapter.framework)) + mark + call
        # Which layer it is depends on the model and the input's shape: asked once for each.
        key = self.wrapped.fingerprint(), *((a.shape[1:], a.dtype.str) for a in self.batch.arrays)
        calls = self.wrapped.layer_calls.get(key)
        if calls is None:
            first = tuple(a[:1] for a in self.x)
            with model_errors(self.model, first, adapter):
                calls = self.wrapped.layer_calls[key] = self.model.layers(first)
        return _choose_layer(calls, self.batch)

    def inputs_of_layer(self) -> tuple[bool, ...]:
        """Which inputs the layer of the cuts depends on, seen on the first sample."""
        layer = self.cut_layer
        if layer is None:
            raise RuntimeError("No layer has been cut.")

        def total(leaves: Leaves) -> tuple[Array, None]:
            values: list[Array] = []

            def keep(op: Operation) -> Array:
                values.append(op())
                return values[-1]

            self.model.run(leaves, intercept=keep, layers=(layer,), kinds=LAYERS_ONLY)
            return self.xp.reshape(self.xp.sum(values[-1] * values[-1]), (1,)), None

        value, _, pullback = self.model.vjp(total, tuple(a[:1] for a in self.x))
        grads = pullback(self.xp.ones_like(value))
        return tuple(bool(np.any(self.to_numpy(g) != 0)) for g in grads)

    def generator(self, purpose: int) -> np.random.Generator:
        """A random generator of this explanation's seed; other purposes, other streams."""
        return np.random.default_rng([self.seed, purpose])

    def asarray(self, a: np.ndarray) -> Array:
        return self.model.adapter.asarray(np.ascontiguousarray(a))

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(self.model.adapter.to_numpy(a))

    def _join(self, parts: list[Outputs]) -> Outputs:
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        if isinstance(first, dict):
            return {key: self._join([p[key] for p in parts]) for key in first}
        if isinstance(first, tuple | list):
            return tuple(self._join([p[i] for p in parts]) for i in range(len(first)))
        return self.xp.concat(parts, axis=0)


def _finite(scores: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise ModelError(
            f"The model returned NaN or infinity for the baseline of the rows"
            f" {np.flatnonzero(~np.isfinite(scores))[:20].tolist()}.\n"
            "  Choose a baseline that the model is defined on, such as a typical row of the data."
        )
    return scores


def over_samples(
    task: Task, evaluate: Callable[[np.ndarray], tuple[np.ndarray, ...]], *, key: str
) -> tuple[np.ndarray, ...]:
    """`evaluate(rows)` over all samples in micro-batches, each result joined along rows."""
    parts = [
        out
        for _, _, out in task.schedule.run(
            task.count, lambda start, stop: evaluate(np.arange(start, stop)), key=key
        )
    ]
    return tuple(np.concatenate(column) for column in zip(*parts, strict=True))


def _per_input(spec: Any, batch: Batch) -> tuple[Any, ...]:
    count = len(batch.arrays)
    if isinstance(spec, dict):
        try:
            return tuple(spec[name] for name in batch.names)
        except KeyError as error:
            raise InputError(
                f"Expected a baseline for each of the inputs {', '.join(map(repr, batch.names))},"
                f" got {', '.join(map(repr, spec))}: {error} is missing."
            ) from error
    if isinstance(spec, tuple) and count > 1:
        if len(spec) != count:
            raise InputError(f"Expected {count} baselines, one per input, got {len(spec)}.")
        return spec
    return (spec,) * count


def _repeat(outputs: Outputs, count: int, xp: Any) -> Outputs:
    if isinstance(outputs, dict):
        return {key: _repeat(value, count, xp) for key, value in outputs.items()}
    if isinstance(outputs, tuple | list):
        return tuple(_repeat(value, count, xp) for value in outputs)
    return xp.concat([outputs] * count, axis=0) if count > 1 else outputs


def _separator(framework: str) -> str:
    return "." if framework == "torch" else "/"


def _choose_layer(calls: tuple[LayerInfo, ...], batch: Batch) -> str:
    """The last layer to return whose output still has the input's spatial axes."""
    for array, dims in zip(batch.arrays, batch.dims, strict=True):
        space = space_axes(dims)
        if not space:
            continue
        first = 1 if dims[-1] == "channel" else 2
        fitting = [
            c
            for c in calls
            if c.shape is not None
            and len(c.shape) == array.ndim
            and all(c.shape[first + i] is None or c.shape[first + i] > 1 for i in range(len(space)))  # type: ignore[operator]
        ]
        if fitting:
            return max(fitting, key=lambda c: c.order).path
    raise CapabilityError(
        "No layer of this model returns a feature map with the input's spatial axes, so there is"
        " no class activation map.\n  integrated_gradients and occlusion work without one; layer="
        " names a layer, if one was missed (`model.layers(x)` lists them with shapes)."
    )
