"""The one workflow: a model, an input, a method, an explanation."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.counting import CountedModel
from pellucid.engine.progress import ProgressBar
from pellucid.engine.schedule import Progress, Schedule
from pellucid.errors import MethodError
from pellucid.explaining.before import (
    check_feature_names,
    check_modality,
    check_seed,
    require_tier,
)
from pellucid.explaining.building import build
from pellucid.explaining.partial import keep_finished
from pellucid.explanation import Explanation, remember
from pellucid.inputs.batch import Batch
from pellucid.methods.base import Attribution, Method
from pellucid.methods.registry import make_method
from pellucid.model import Model, wrap
from pellucid.opened import at_layer
from pellucid.running.outputs import check_class_names
from pellucid.targets import Target, resolve_target
from pellucid.task import Task
from pellucid.types import TargetLike


def explain(
    model: Any,
    x: Any,
    method: str = "integrated_gradients",
    *,
    target: TargetLike = None,
    layer: str | None = None,
    baseline: Any = None,
    features: Any = None,
    seed: int = 0,
    budget: int | None = None,
    tolerance: float | None = None,
    batch_size: int | str = "auto",
    progress: Progress | bool | None = None,
    **parameters: Any,
) -> Explanation:
    """Explain what `model` makes of `x` by one method.

    `x` is a batch, or one input (a missing batch axis is added and removed again); several
    inputs come as a tuple or dict. `target` is what to explain: None (each sample's predicted
    class, or the only output), a class number or name, a list of them, a pair `(a, b)` for why a
    rather than b, or a function of the outputs that returns one number a sample. What is
    explained is the logit: a final softmax or sigmoid is taken off where the model shows it
    (`wrap(model, output="probability")` keeps it).

    `layer`, `baseline` ("dataset" means the rows in `background=`), `features` (what is switched on
    and off together: groups of columns, `"grid:7"`, `"superpixels"`, a mask of whole numbers),
    `budget` (model evaluations allowed for each sample), `tolerance` (the error to reach instead)
    and further `parameters` go to the method, which refuses what it does not take;
    `pellucid.methods()` lists the methods. Every random draw comes from `seed`.
    `batch_size="auto"` is timed on the work itself, and so may round differently from call to
    call; a number gives the same bits every time. `progress(done, total)` is called after
    every micro-batch, with evaluations; `True` shows them as a bar on stderr, with the time left.

    Where a method that goes from sample to sample is interrupted, by an error or by Ctrl-C, the
    exception's `partial` is the explanation of the samples that have values; its `warnings` say
    which of them were to be known better.

    The user's model is left as it was: mode, weights, gradients, hooks, random state.

    Raises an error of `pellucid.errors` that says what was expected, what came, and what to do.

    >>> e = explain(model, x, "occlusion", target=1, window=4)    # x is (2, 12, 10, 3)
    >>> e.values.shape == x.shape, e.evaluations.forward    # 2 × (20 windows + 1), and f(x')
    (True, 43)
    """
    given = {
        "layer": layer, "baseline": baseline, "features": features,
        "budget": budget, "tolerance": tolerance,
    }  # fmt: skip
    return explain_each(
        model, x, method, (target,), seed=seed, batch_size=batch_size, progress=progress,
        parameters={k: v for k, v in given.items() if v is not None} | parameters,
    )[0]  # fmt: skip


def explain_each(
    model: Any,
    x: Any,
    method: str,
    targets: Sequence[TargetLike],
    *,
    parameters: Mapping[str, Any],
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | bool | None = None,
) -> tuple[Explanation, ...]:
    """One explanation for each of several targets of a method that `shares_forward`.

    Forward passes are shared, so `evaluations.forward` of each is that of all together, which
    `provenance["notes"]` says; backward passes are its own.
    """
    began = time.perf_counter()
    wrapped = wrap(model, example=x)
    # An adapter remembers how the last inputs were held together: one's own for each explanation,
    # so that a prediction in between (from a progress callback, say) changes nothing.
    wrapped = replace(wrapped, adapter=wrapped.adapter.for_one_explanation())
    chosen = _method(method, parameters)
    if len(targets) > 1 and not chosen.shares_forward:
        raise MethodError(
            f"{method} explains one target at a time, got {len(targets)}.\n"
            "  explain() each, or Explainer.explain_targets, which does so."
        )
    check_seed(seed)
    require_tier(wrapped, type(chosen))
    batch = wrapped.accept(x)
    recorded = chosen.parameters()
    layered = chosen.always_at_layer or (
        chosen.works_at_layer and recorded.get("layer") is not None
    )
    check_modality(wrapped, batch, type(chosen), layered=layered)
    check_feature_names(wrapped, batch)
    task = Task(
        wrapped, batch, CountedModel(wrapped.adapter, peel=wrapped.peel), seed=int(seed),
        schedule=_schedule(wrapped, batch, batch_size, progress, layered=layered),
        keeps_integers=type(chosen).needs >= Tier.DIFFERENTIABLE and not layered,
    )  # fmt: skip
    with _watched(task, method, progress):
        found = _explained(task, chosen, recorded, targets, layered=layered, began=began)
    held = replace(wrapped, adapter=wrapped.adapter.for_one_explanation())
    return tuple(remember(e, held, x, target) for e, target in zip(found, targets, strict=True))


def _explained(
    task: Task,
    chosen: Method,
    recorded: dict[str, Any],
    targets: Sequence[TargetLike],
    *,
    layered: bool,
    began: float,
) -> tuple[Explanation, ...]:
    wrapped, batch = task.wrapped, task.batch
    task.schedule.expected = chosen.expected(task) or 0
    _predict(task, chosen, recorded, layered=layered)
    check_class_names(wrapped.class_names, task.outputs)
    explained = wrapped.explained(batch.leaves)
    resolved = [
        resolve_target(
            target, task.outputs, len(batch), wrapped.class_names,
            explained=explained, to_numpy=wrapped.adapter.to_numpy,
        )
        for target in targets
    ]  # fmt: skip
    task.set_target(*resolved)
    scores = task.scores()
    at = at_layer(task, recorded["layer"]) if layered else task

    def built(attribution: Attribution, score: np.ndarray, target: Target) -> Explanation:
        return build(
            at, chosen, attribution, score, target=target, origin=task,
            recorded=recorded | dict(attribution.parameters),
            explained=explained, seconds=time.perf_counter() - began,
        )  # fmt: skip

    try:
        attributions = chosen.attribute_each(at)
    except (Exception, KeyboardInterrupt) as error:
        keep_finished(error, at, lambda found: built(found, scores[0], resolved[0]))
        raise
    return tuple(map(built, attributions, scores, resolved))


@contextmanager
def _watched(task: Task, title: str, progress: Progress | bool | None) -> Iterator[None]:
    """Progress on stderr where it is asked for, ended whatever happens."""
    if progress is not True:
        yield
        return
    bar = ProgressBar(title)
    task.schedule.progress = bar
    try:
        yield
    finally:
        bar.close()


def _method(name: str, parameters: Mapping[str, Any]) -> Method:
    try:
        return make_method(name, parameters)
    except TypeError as error:
        raise MethodError(f"{name}: {error}.") from error


def _schedule(
    model: Model,
    batch: Batch,
    batch_size: int | str,
    progress: Progress | bool | None,
    *,
    layered: bool,
) -> Schedule:
    return Schedule(
        batch_size,
        is_out_of_memory=model.adapter.is_out_of_memory,
        # A batch size that is good above a layer says nothing of the whole model.
        memory={} if layered else model.batch_sizes,
        progress=None if isinstance(progress, bool) else progress,
        kind=" ".join(f"{a.shape[1:]}{a.dtype}" for a in batch.arrays) + " ",
        layouts=model.adapter.layouts,
    )


def _predict(task: Task, method: Method, recorded: dict[str, Any], *, layered: bool) -> None:
    """Run the model in the way that spares the method a run; a layer chosen is recorded."""
    if layered or method.opens_at_layer:
        recorded["layer"] = task.layer(
            recorded.get("layer"),
            grid=recorded.get("grid"),
            tokens_before=recorded.get("tokens_before"),
        )
        task.predict_by_cut(recorded["layer"])
    elif method.opens_with_gradient:
        task.predict_for_gradient()
    else:
        _predict_or_begin(task, method)


def _predict_or_begin(task: Task, method: Method) -> None:
    adapter, begun = task.model.adapter, None
    if not adapter.compiles_functions and task.count <= task.schedule.first_size("backward"):
        begun = method.begin(task)
    if begun is None:
        task.predict()
    else:
        task.outputs, task.begun = begun
