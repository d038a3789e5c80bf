"""What a method is given: a counted model, a batch, a target, and how to spend evaluations."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.adapters.protocol import LayerInfo
from pellucid.counting import CountedCut, CountedModel
from pellucid.engine.schedule import Schedule
from pellucid.errors import ModelError
from pellucid.inputs.batch import Batch
from pellucid.model import Model
from pellucid.running.gradients import (
    gradients_at,
    gradients_at_x,
    gradients_from_inputs,
    outputs_and_pullback,
    score_and_gradient,
)
from pellucid.running.layers import chosen_layer, full_path, inputs_of_layer, layer_calls
from pellucid.running.outputs import (
    check_outputs,
    join_outputs,
    model_errors,
    run_checked,
    single_output,
)
from pellucid.running.references import baseline_scores, finite_scores, make_baselines, row_of_frame
from pellucid.running.scores import scores_in_numpy
from pellucid.targets import Target
from pellucid.types import Array, Leaves, Outputs

if TYPE_CHECKING:
    from pellucid.methods.base import Attribution
    from pellucid.opened import OpenedLayer


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
        """Where a method was interrupted: the samples that have values, and their part of it."""
        self.pullback: Callable[[Array], Leaves] | None = None
        self.begun: Any = None
        """What the method's `begin` left for it to go on from."""
        self.compiled: dict[Any, Callable[..., tuple[Leaves, ...]] | None] = {}

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
        self.compiled.clear()

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
        kept = None
        if self.count <= self.schedule.first_size("gradient"):
            kept = outputs_and_pullback(self)
        if kept is None:
            self.predict()
        else:
            self.outputs, self.pullback = kept

    def gradients(self) -> tuple[tuple[np.ndarray, ...], ...]:
        """∂score/∂x of every sample for each target, float32, one array per input."""
        return gradients_at_x(self)

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
        if any(target.function for target in self.targets):
            scores = self.to_numpy(self.score_each(outputs, rows)).astype(np.float64)
            return scores.reshape(len(self.targets), -1)
        # Of a class, read in NumPy: in TensorFlow one operation takes longer than all of this.
        return scores_in_numpy(self.targets, self.to_numpy(single_output(outputs)), rows)

    def scores_at(self, leaves: Leaves, rows: np.ndarray) -> np.ndarray:
        """The explained numbers of new rows for each target, `(targets, m)` float64."""
        leaves = self.in_own_type(leaves)
        with self.naming_samples(leaves, rows):
            outputs = self.run(leaves, rows)
        return finite_scores(self.scores_of(outputs, rows))

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
        with self.naming_samples(leaves, rows):
            outputs = self.run(leaves, rows)
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
        with self.naming_samples(leaves, rows):
            outputs = self.run(leaves, rows)
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
        return score_and_gradient(self, leaves, rows)

    def gradients_at(
        self, leaves: Leaves, rows: np.ndarray, *, many: bool = False
    ) -> tuple[Leaves, ...]:
        """∂score/∂leaf for each target: one forward pass, a backward pass a target.

        `many` says that enough of this work follows to be worth compiling a function for it.
        """
        return gradients_at(self, leaves, rows, many=many)

    def gradients_from_inputs(
        self, inputs: Leaves, rows: np.ndarray, *, many: bool = False
    ) -> tuple[Leaves, ...]:
        """∂score/∂leaf for each target where the model runs on `inputs`.

        As `gradients_at`, unless the leaves are those of a layer: then at what the layer returns
        for these inputs.
        """
        return gradients_from_inputs(self, inputs, rows, many=many)

    def run(self, leaves: Leaves, rows: np.ndarray) -> Outputs:
        """The model's outputs for leaves of this task, whose rows belong to samples `rows`."""
        return self.model.run(leaves) if self.opened is None else self.opened.run(leaves[0], rows)

    def score_each(self, outputs: Outputs, rows: np.ndarray) -> Array:
        """The scores of all targets, one target after the other, `(targets · m,)`."""
        outputs = single_output(outputs)
        scores = [target.score(outputs, self.model.adapter, rows) for target in self.targets]
        return scores[0] if len(scores) == 1 else self.xp.concat(scores, axis=0)

    def in_own_type(self, leaves: Leaves) -> Leaves:
        """Rows made in NumPy in the type of the model's inputs, which NumPy may not have."""
        pairs = zip(leaves, self.x, strict=True)
        return tuple(a if a.dtype == b.dtype else self.xp.astype(a, b.dtype) for a, b in pairs)

    def naming_samples(self, leaves: Leaves, rows: np.ndarray) -> AbstractContextManager[None]:
        """Within it, an error of the model's names the samples that `rows` belong to."""
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
        row = row_of_frame(self, spec)
        if row is not None:
            return (np.broadcast_to(row, self.batch.arrays[0].shape).copy(),)
        return make_baselines(spec, self.batch, seed=self.seed, keep_integers=self.keeps_integers)

    def baseline_scores(self, baseline: tuple[np.ndarray, ...]) -> np.ndarray:
        """f(x') of each sample, `(n,)`; see `baseline_scores_each`."""
        return self.baseline_scores_each(baseline)[0]

    def baseline_scores_each(self, baseline: tuple[np.ndarray, ...]) -> np.ndarray:
        """f(x') of each sample for each target, `(targets, n)`.

        Run once where all samples share the reference. At a layer: f where the layer returns x'
        and all that goes round the layer comes from x.
        """
        return baseline_scores(self, baseline)

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
        if name is None:
            return chosen_layer(self, grid, tokens_before)
        return full_path(name, self.model.adapter, self.x)

    def layer_calls(self) -> tuple[LayerInfo, ...]:
        """The calls of layers in a run, with output shapes; asked once for each input shape."""
        return layer_calls(self)

    def inputs_of_layer(self) -> tuple[bool, ...]:
        """Which inputs the layer of the cuts depends on, seen on the first sample."""
        if self.cut_layer is None:
            raise RuntimeError("No layer has been cut.")
        return inputs_of_layer(self, self.cut_layer)

    def generator(self, *purpose: int) -> np.random.Generator:
        """A random generator of this explanation's seed; other purposes, other streams."""
        return np.random.default_rng([self.seed, *purpose])

    def asarray(self, a: np.ndarray) -> Array:
        return self.model.adapter.asarray(np.ascontiguousarray(a))

    def to_numpy(self, a: Array) -> np.ndarray:
        return np.asarray(self.model.adapter.to_numpy(a))

    def join(self, parts: list[Outputs]) -> Outputs:
        """The outputs of consecutive rows as those of all rows."""
        return join_outputs(parts, self.xp)
