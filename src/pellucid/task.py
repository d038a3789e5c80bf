"""What a method is given: a counted model, a batch, a target, and how to spend evaluations."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.layers import find_layer
from pellucid.adapters.protocol import LAYERS_ONLY, LayerInfo, Operation
from pellucid.counting import CountedCut, CountedModel
from pellucid.engine.schedule import Schedule
from pellucid.errors import CapabilityError, InputError, ModelError, PellucidError
from pellucid.inputs.baselines import make_baseline
from pellucid.inputs.batch import Batch
from pellucid.inputs.frames import is_frame, is_frame_row
from pellucid.layer_choice import choose_layer
from pellucid.model import Model
from pellucid.running.outputs import check_outputs, model_errors, run_checked, single_output
from pellucid.targets import Form, Target, picked
from pellucid.types import Array, Leaves, Outputs

if TYPE_CHECKING:
    from pellucid.methods.base import Attribution
    from pellucid.opened import OpenedLayer


class _SeveralOutputs(Exception):  # noqa: N818 - control flow inside this module
    """The model returns more than one array, so outputs cannot be differentiated as one."""


class Task:
    """One explanation to be made. Rows are samples; every method works through these verbs.

    `rows` arguments say which sample each row of a micro-batch belongs to. With `keeps_integers`
    whole-number inputs stay as they are where others go to their baseline, for methods that
    follow a path. With `opened` the leaves are what a layer returned, in place of the inputs.
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
        opened: "OpenedLayer | None" = None,
    ) -> None:
        self.opened = opened
        self.wrapped = model
        self.batch = batch
        self.model = counted
        self.seed = seed
        self.keeps_integers = keeps_integers
        self.schedule = schedule
        self.cut_layer: str | None = None
        self.cuts: list[tuple[int, int, CountedCut]] = []
        self.outputs: Outputs = None
        self.targets: tuple[Target, ...] = ()
        self.kept: tuple[np.ndarray, Attribution] | None = None
        """Where a method was interrupted: the samples that are finished, and their part of it."""
        self._pullback: Callable[[Array], Leaves] | None = None
        self._gradients: dict[Any, Callable[..., tuple[Leaves, ...]] | None] = {}

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
        """What is explained; the first where several targets share the work."""
        if not self.targets:
            raise RuntimeError("The target is resolved after the prediction.")
        return self.targets[0]

    @property
    def origin(self) -> "Task":
        """The task over the model's own inputs."""
        return self if self.opened is None else self.opened.origin

    @property
    def differentiable(self) -> tuple[bool, ...]:
        """Which inputs are real numbers, so that a gradient means something."""
        return tuple(a.dtype.kind == "f" for a in self.batch.arrays)

    def set_target(self, *targets: Target) -> None:
        self.targets = targets
        self._gradients.clear()

    def predict(self) -> None:
        """Run the model on the batch, in micro-batches; `outputs` is what is explained."""

        def evaluate(start: int, stop: int) -> Outputs:
            leaves = tuple(a[start:stop] for a in self.x)
            rows = np.arange(start, stop)
            return single_output(run_checked(self.model, leaves, self.model.adapter, rows))

        parts = [out for _, _, out in self.schedule.run(self.count, evaluate, key="forward")]
        self.outputs = self.join(parts)

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

    def gradients(self) -> tuple[tuple[np.ndarray, ...], ...]:
        """∂score/∂x of every sample for each target, float32, one array per input."""

        def evaluate(rows: np.ndarray) -> tuple[np.ndarray, ...]:
            if self._pullback is not None:
                _, _, back = self.model.adapter.vjp(
                    lambda given: (self._scores(given[0], rows), None), (self.outputs,)
                )
                grads = [self._pullback(back(one)[0]) for one in self._cotangents(len(rows))]
            else:
                grads = self.gradients_at(self.take(self.x, rows), rows)
            return tuple(self.to_numpy(g).astype(np.float32) for leaves in grads for g in leaves)

        if self._pullback is not None:
            found = evaluate(np.arange(self.count))
        else:
            found = over_samples(self, evaluate, key="gradient")
        size = len(self.batch.arrays)
        return tuple(found[i : i + size] for i in range(0, len(found), size))

    def predict_by_cut(self, layer: str) -> None:
        """Run the model once and keep it open at `layer`, for every sample."""
        self.cut_layer = layer

        def evaluate(start: int, stop: int) -> CountedCut:
            leaves, rows = tuple(a[start:stop] for a in self.x), np.arange(start, stop)
            leaves = self.model.adapter.arranged(leaves, self.schedule.layout)
            with model_errors(self.model, leaves, self.model.adapter, rows):
                cut = self.model.cut(leaves, layer)
            check_outputs(cut.outputs, stop - start, self.model.adapter, rows)
            return cut

        self.cuts = list(self.schedule.run(self.count, evaluate, key="cut", layouts=True))
        self.outputs = self.join([single_output(cut.outputs) for _, _, cut in self.cuts])

    def score(self, outputs: Outputs, rows: np.ndarray) -> Array:
        """The explained number of each output row, `(m,)`, native and differentiable."""
        return self.target.score(single_output(outputs), self.model.adapter, rows)

    def scores(self) -> np.ndarray:
        """The explained number of every sample for each target, `(targets, n)` float64."""
        return self.scores_of(self.outputs, np.arange(self.count))

    def scores_of(self, outputs: Outputs, rows: np.ndarray) -> np.ndarray:
        """The explained numbers of output rows for each target, `(targets, m)` float64."""
        scores = self.to_numpy(self._scores(outputs, rows)).astype(np.float64)
        return scores.reshape(len(self.targets), -1)

    def scores_at(self, leaves: Leaves, rows: np.ndarray) -> np.ndarray:
        """The explained numbers of new rows for each target, `(targets, m)` float64."""
        leaves = self.in_own_type(leaves)
        with self._named(leaves, rows):
            outputs = self._run(leaves, rows)
        return _finite(self.scores_of(outputs, rows))

    def outputs_of(self, leaves: Leaves) -> Outputs:
        """The model's outputs for inputs that belong to no sample, in micro-batches."""

        def evaluate(start: int, stop: int) -> Outputs:
            part = tuple(a[start:stop] for a in leaves)
            with model_errors(self.model, part, self.model.adapter, np.arange(start, stop)):
                outputs = self.model.run(part)
            check_outputs(outputs, stop - start, self.model.adapter, np.arange(start, stop))
            return single_output(outputs)

        count = int(leaves[0].shape[0])
        return self.join([out for _, _, out in self.schedule.run(count, evaluate, key="forward")])

    def outputs_at(self, leaves: Leaves, rows: np.ndarray) -> Outputs:
        """The model's outputs for new rows that belong to samples `rows`, checked."""
        leaves = self.in_own_type(leaves)
        with self._named(leaves, rows):
            outputs = self._run(leaves, rows)
        check_outputs(outputs, len(rows), self.model.adapter, rows)
        return single_output(outputs)

    def score_of(self, leaves: Leaves, rows: np.ndarray) -> np.ndarray:
        """The explained number of new rows, `(m,)` float64, without a gradient."""
        return self.scores_of_copies(leaves, rows)[0]

    def scores_of_copies(self, leaves: Leaves, rows: np.ndarray) -> np.ndarray:
        """The explained number of changed copies for each target, `(targets, m)` float64.

        Raises `ModelError`, naming the samples, where it is not finite.
        """
        leaves = self.in_own_type(leaves)
        if self.opened is None:
            leaves = self.model.adapter.arranged(leaves, self.schedule.layout)
        with self._named(leaves, rows):
            outputs = self._run(leaves, rows)
        scores = self.scores_of(outputs, rows)
        if not np.isfinite(scores).all():
            bad = np.unique(rows[~np.isfinite(scores).all(axis=0)])[:20].tolist()
            raise ModelError(
                f"The model returned NaN or infinity for changed copies of the samples {bad}.\n"
                "  Another baseline may be one that it can compute."
            )
        return scores

    def gradient(self, leaves: Leaves, rows: np.ndarray) -> tuple[Array, Leaves]:
        """`(score (m,), ∂score/∂leaf for each leaf)`, float32 or better."""

        def fn(given: Leaves) -> tuple[Array, None]:
            return self.score(self._run(given, rows), rows), None

        leaves = self.in_own_type(leaves)
        with self._named(leaves, rows):
            value, _, pullback = self.model.vjp(fn, leaves)
            return value, pullback(self.xp.ones_like(value))

    def gradients_at(
        self, leaves: Leaves, rows: np.ndarray, *, many: bool = False
    ) -> tuple[Leaves, ...]:
        """∂score/∂leaf for each target: one forward pass, a backward pass a target.

        `many` says that enough of this work follows to be worth compiling a function for it.
        """
        leaves = self.in_own_type(leaves)
        if self.opened is None:
            leaves = self.model.adapter.arranged(leaves, self.schedule.layout)
            if many and not any(target.function for target in self.targets):
                compiled = self._compiled(leaves)
                if compiled is not None:
                    picks = [p for target in self.targets for p in target.picks(rows)]
                    with self._named(leaves, rows):
                        return compiled(leaves, tuple(map(self.asarray, picks)))
        if len(self.targets) == 1:
            return (self.gradient(leaves, rows)[1],)
        with self._named(leaves, rows):
            _, _, pullback = self.model.vjp(
                lambda given: (self._scores(self._run(given, rows), rows), None), leaves
            )
            return tuple(pullback(one) for one in self._cotangents(len(rows)))

    def _compiled(self, leaves: Leaves) -> Callable[..., tuple[Leaves, ...]] | None:
        """The compiled gradients of all targets for leaves of these shapes; asked for once."""
        key = tuple((tuple(a.shape), a.dtype) for a in leaves)
        if key not in self._gradients:
            forms = tuple((t.form, len(t.picks(np.arange(0)))) for t in self.targets)
            scores = partial(_picked, self.xp, forms)
            self._gradients[key] = self.model.compiled_gradients(leaves, scores, forms)
        return self._gradients[key]

    def gradients_from_inputs(
        self, inputs: Leaves, rows: np.ndarray, *, many: bool = False
    ) -> tuple[Leaves, ...]:
        """∂score/∂leaf for each target where the model runs on `inputs`.

        As `gradients_at`, unless the leaves are those of a layer: then at what the layer returns
        for these inputs.
        """
        if self.opened is None:
            return self.gradients_at(inputs, rows, many=many)
        with self.origin._named(inputs, rows):
            cut = self.opened.cut(self.origin.in_own_type(inputs))
            _, _, pullback = self.model.vjp(
                lambda given: (self._scores(cut.run(given[0]), rows), None), (cut.value,)
            )
            return tuple(pullback(one) for one in self._cotangents(len(rows)))

    def _run(self, leaves: Leaves, rows: np.ndarray) -> Outputs:
        """The model's outputs for leaves of this task, whose rows belong to samples `rows`."""
        return self.model.run(leaves) if self.opened is None else self.opened.run(leaves[0], rows)

    def _scores(self, outputs: Outputs, rows: np.ndarray) -> Array:
        """The scores of all targets, one target after the other, `(targets · m,)`."""
        outputs = single_output(outputs)
        scores = [target.score(outputs, self.model.adapter, rows) for target in self.targets]
        return scores[0] if len(scores) == 1 else self.xp.concat(scores, axis=0)

    def _cotangents(self, rows: int) -> list[Array]:
        """For each target, ones at its own part of `_scores`."""
        each = np.repeat(np.eye(len(self.targets), dtype=np.float32), rows, axis=1)
        return [self.asarray(one) for one in each]

    def in_own_type(self, leaves: Leaves) -> Leaves:
        """Rows made in NumPy in the type of the model's inputs, which NumPy may not have."""
        pairs = zip(leaves, self.x, strict=True)
        return tuple(a if a.dtype == b.dtype else self.xp.astype(a, b.dtype) for a, b in pairs)

    def _named(self, leaves: Leaves, rows: np.ndarray) -> AbstractContextManager[None]:
        if self.opened is not None:  # a layer's values cannot be run one by one to find the row
            leaves = tuple(a[:1] for a in leaves)
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
        """The reference inputs, `(n, ...)` each; `spec` as in `make_baseline`, or one per input.

        At a layer: what the layer returns for them.
        """
        if self.opened is not None:
            return (self.opened.values(self.origin.baselines(spec)),)
        row = self._row_of_frame(spec)
        if row is not None:
            return (np.broadcast_to(row, self.batch.arrays[0].shape).copy(),)
        specs = _per_input(spec, self.batch)
        return tuple(
            make_baseline(s, a, dims, seed=self.seed, name=name, keep_integers=self.keeps_integers)
            for s, a, dims, name in zip(
                specs, self.batch.arrays, self.batch.dims, self.batch.names, strict=True
            )
        )

    def _row_of_frame(self, spec: Any) -> np.ndarray | None:
        """The reference that a row (or rows) of a data frame, or a dict by column, stands for."""
        columns, categories = self.batch.columns, self.batch.categories
        if len(self.batch.arrays) == 1 and columns is not None:
            if is_frame(spec):
                rows = self.wrapped.accept(spec, more=True).arrays[0]
                if len(rows) not in {1, self.count}:
                    raise InputError(
                        f"Expected a baseline of 1 or {self.count} rows, got {len(rows)}."
                    )
                return rows
            by_column = isinstance(spec, Mapping) and not set(spec) <= set(self.batch.names)
            if categories is not None and (by_column or is_frame_row(spec)):
                return self.model.adapter.accept_row(dict(spec))
        words = [c for c, known in zip(columns or (), categories or (), strict=False) if known]
        if words and not (isinstance(spec, np.ndarray) and spec.ndim):
            raise InputError(
                f"The column {words[0]!r} holds categories, and a baseline of {spec!r} is none.\n"
                "  A row of the data is one for all columns, baseline=frame.iloc[[0]]; the Shapley"
                " methods take many, background=frame."
            )
        return None

    def baseline_scores(self, baseline: tuple[np.ndarray, ...]) -> np.ndarray:
        """f(x') of each sample, `(n,)`; see `baseline_scores_each`."""
        return self.baseline_scores_each(baseline)[0]

    def baseline_scores_each(self, baseline: tuple[np.ndarray, ...]) -> np.ndarray:
        """f(x') of each sample for each target, `(targets, n)`.

        Run once where all samples share the reference. At a layer: f where the layer returns x'
        and all that goes round the layer comes from x.
        """
        shared = self.opened is None and all(bool((b == b[:1]).all()) for b in baseline)
        native = self.in_own_type(tuple(map(self.asarray, baseline)))

        def evaluate(start: int, stop: int) -> np.ndarray:
            rows = np.arange(start, stop)
            leaves = tuple(a[start : stop if not shared else start + 1] for a in native)
            with self._named(leaves, rows[: int(leaves[0].shape[0])]):
                outputs = self._run(leaves, rows)
            if shared:
                outputs = _repeat(single_output(outputs), self.count, self.xp)
                rows = np.arange(self.count)
            return self.scores_of(outputs, rows)

        if shared:
            return _finite(evaluate(0, 1))
        run = self.schedule.run(self.count, evaluate, key="forward")
        return _finite(np.concatenate([scores for _, _, scores in run], axis=1))

    def layer(
        self,
        name: str | None,
        *,
        grid: Sequence[int] | None = None,
        tokens_before: int | None = None,
    ) -> str:
        """The full path of a layer; chosen for CAM methods where `name` is None.

        `grid` and `tokens_before` say how the tokens of a transformer lie over its input.
        """
        adapter = self.model.adapter
        if name is not None:
            # Functions name their layers only when they are run.
            paths = [c.path for c in adapter.layers() or adapter.layers(self.x)]
            if not paths:
                raise CapabilityError(
                    "This model shows no layers, so it cannot be opened at one.\n"
                    "  Wrap the Keras model or torch module itself; integrated_gradients and"
                    " occlusion work without layers."
                )
            base, mark, call = name.partition("#")
            return find_layer(base, paths, separator=_separator(adapter.framework)) + mark + call
        # Which layer it is depends on the model and the input's shape: asked once for each.
        key = *self._shape_key(), None if grid is None else tuple(grid), tokens_before
        chosen = self.wrapped.layer_choices.get(key)
        if chosen is None:
            chosen = choose_layer(self, grid, tokens_before)
            self.wrapped.layer_choices[key] = chosen
        return chosen

    def layer_calls(self) -> tuple[LayerInfo, ...]:
        """The calls of layers in a run, with output shapes; asked once for each input shape."""
        key = self._shape_key()
        calls = self.wrapped.layer_calls.get(key)
        if calls is None:
            first = tuple(a[:1] for a in self.x)
            with model_errors(self.model, first, self.model.adapter):
                calls = self.wrapped.layer_calls[key] = self.model.layers(first)
        return calls

    def _shape_key(self) -> tuple[Any, ...]:
        shapes = ((a.shape[1:], a.dtype.str) for a in self.batch.arrays)
        return self.wrapped.fingerprint(), *shapes

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

    def generator(self, *purpose: int) -> np.random.Generator:
        """A random generator of this explanation's seed; other purposes, other streams."""
        return np.random.default_rng([self.seed, *purpose])

    def asarray(self, a: np.ndarray) -> Array:
        return self.model.adapter.asarray(np.ascontiguousarray(a))

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(self.model.adapter.to_numpy(a))

    def join(self, parts: list[Outputs]) -> Outputs:
        """The outputs of consecutive rows as those of all rows."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        if isinstance(first, dict):
            return {key: self.join([p[key] for p in parts]) for key in first}
        if isinstance(first, tuple | list):
            return tuple(self.join([p[i] for p in parts]) for i in range(len(first)))
        return self.xp.concat(parts, axis=0)


def _picked(
    xp: Any, forms: Sequence[tuple[Form, int]], outputs: Outputs, picks: tuple[Array, ...]
) -> list[Array]:
    """The score of each target by its form and number of picks, all `picks` in a row.

    It may be kept in a compiled function, so it holds nothing of a task.
    """
    outputs, found = single_output(outputs), []
    for form, size in forms:
        found.append(picked(outputs, xp, form, picks[:size]))
        picks = picks[size:]
    return found


def _finite(scores: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise ModelError(
            f"The model returned NaN or infinity for the baseline of the rows"
            f" {np.flatnonzero(~np.isfinite(scores).all(axis=0))[:20].tolist()}.\n"
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
