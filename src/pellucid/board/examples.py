"""Rows worth looking at, each with an explanation: surely right, surely wrong, least sure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.board.answers import Answers
from pellucid.errors import CapabilityError, InputError, LayerError, MethodError, ModelError
from pellucid.explain import explain
from pellucid.explanation import Explanation
from pellucid.inputs.batch import Batch
from pellucid.model import Model

BACKGROUND = 20
"""Rows of the data set that a table's example is compared with."""


@dataclass(frozen=True)
class Example:
    """One row: its number in the data set, its label, and what the model says of it."""

    row: int
    label: str
    predicted: str
    sure: float
    """The probability of the predicted class; of a number, the residual."""
    place: int | None
    """Which sample of the board's `explanation` it is; None where none could be made."""


@dataclass(frozen=True)
class ExampleGroup:
    """Rows that are worth looking at for one reason."""

    title: str
    what: str
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Examples:
    """The groups, the explanation of their rows, its cost, what is to be said, what to warn of."""

    groups: tuple[ExampleGroup, ...] = ()
    explanation: Explanation | None = None
    forward: int = 0
    note: str = ""
    warning: str = ""


class _Found(NamedTuple):
    """An explanation, the forward passes that led to it, and why it is not of the first method."""

    explanation: Explanation | None = None
    forward: int = 0
    note: str = ""


def chosen_rows(answers: Answers, each: int) -> list[tuple[str, str, np.ndarray]]:
    """Title, meaning, and rows of each group; the first rows at ties."""
    if answers.probabilities is None:
        residual = answers.labels - answers.predicted
        size = np.abs(residual)
        under, over = np.argsort(-residual, kind="stable"), np.argsort(residual, kind="stable")
        return [
            ("Most underestimated", "The label lies furthest above the prediction.",
             under[residual[under] > 0][:each]),
            ("Most overestimated", "The label lies furthest below the prediction.",
             over[residual[over] < 0][:each]),
            ("Closest", "Label and prediction differ least.",
             np.argsort(size, kind="stable")[:each]),
        ]  # fmt: skip
    top = answers.probabilities.max(axis=1)
    right = answers.labels == answers.predicted
    surest = np.argsort(-top, kind="stable")
    ranked = np.sort(answers.probabilities, axis=1)
    margin = ranked[:, -1] - ranked[:, -2]
    unsure = np.argsort(margin, kind="stable")
    unsure = unsure[margin[unsure] < 1 - 1e-6][:each]  # a model that is always sure has none
    certain = surest[right[surest]]
    return [
        ("Surely wrong", "Wrong answers with the highest probability.",
         surest[~right[surest]][:each]),
        ("Least sure", "The two best classes are closest to each other.",
         unsure),
        ("Surely right", "Right answers with the highest probability.",
         certain[~np.isin(certain, unsure)][:each]),
    ]  # fmt: skip


def make_examples(
    model: Model,
    batch: Batch,
    answers: Answers,
    *,
    each: int,
    method: str | None,
    parameters: Mapping[str, Any],
    seed: int,
    batch_size: int | str,
    at: np.ndarray,
) -> Examples:
    """The groups, and one explanation of all their rows.

    `at` are the numbers in the data set of the batch's rows.
    """
    groups = [g for g in chosen_rows(answers, each) if len(g[2])]
    if not groups:
        return Examples()
    rows = np.unique(np.concatenate([g[2] for g in groups]))
    found, why = _Found(), ""
    try:
        found = _explanation(model, batch, rows, method, parameters, seed, batch_size)
    except (CapabilityError, LayerError, MethodError, ModelError) as error:
        if method is not None:
            raise
        why = f"The examples have no explanation: {str(error).splitlines()[0]}"
    places = {int(row): i for i, row in enumerate(rows)} if found.explanation is not None else {}
    return Examples(
        tuple(
            ExampleGroup(title, what, tuple(_example(answers, int(r), places, at) for r in own))
            for title, what, own in groups
        ),
        found.explanation,
        found.forward,
        found.note,
        why,
    )


def _example(answers: Answers, row: int, places: Mapping[int, int], at: np.ndarray) -> Example:
    label, predicted, number = answers.labels[row], answers.predicted[row], int(at[row])
    if answers.probabilities is None:
        return Example(number, f"{label:.5g}", f"{predicted:.5g}", float(label - predicted),
                       places.get(row))  # fmt: skip
    names = answers.class_names
    sure = float(answers.probabilities[row, predicted])
    return Example(number, names[label], names[predicted], sure, places.get(row))


def _explanation(
    model: Model,
    batch: Batch,
    rows: np.ndarray,
    method: str | None,
    parameters: Mapping[str, Any],
    seed: int,
    batch_size: int | str,
) -> _Found:
    """The rows explained, from the arrays the model takes; shown as the user's own pictures."""
    x = model.adapter.as_given(tuple(a[rows] for a in batch.arrays))
    past = replace(model, preprocess=None)
    options = {"seed": seed, "batch_size": batch_size}
    if method is not None:
        made = explain(past, x, method, **options, **parameters)
        return _Found(as_shown(made, batch, rows), made.evaluations.forward)
    made, forward, note = _by_first_that_fits(past, x, batch, options)
    return _Found(as_shown(made, batch, rows), forward, note)


def as_shown(found: Explanation, batch: Batch, rows: np.ndarray) -> Explanation:
    """An explanation of some rows, as the model took them, with the user's own pictures."""
    parts = [
        part if shown is None else replace(part, display=shown[rows])
        for part, shown in zip(found.parts, batch.display, strict=True)
    ]
    return replace(found, parts=tuple(parts))


def _by_first_that_fits(
    model: Model, x: Any, batch: Batch, options: dict[str, Any]
) -> tuple[Explanation, int, str]:
    """The first method that the model allows and whose maps say something of every row.

    Where none does, the one with the fewest empty maps, the first at ties: Grad-CAM of a layer
    that is followed by weights of each place is often nothing but zeros.
    """
    made: list[Explanation] = []
    failed: Exception | None = None
    for name, parameters in fitting(model, batch, int(options["seed"])):
        try:
            made.append(explain(model, x, name, **options, **parameters))
        except (CapabilityError, LayerError) as error:  # the next one needs less of the model
            failed = error
            continue
        if not empty_maps(made[-1]).any():
            break
    if not made:
        raise failed or CapabilityError("No method fits these inputs.")
    counts = [int(empty_maps(e).sum()) for e in made]
    best = made[int(np.argmin(counts))]
    note = ""
    if best is not made[0]:
        note = (
            f"The examples are explained by {best.method}: the maps of {made[0].method} are zero"
            f" everywhere for {counts[0]} of {len(made[0])} of them."
        )
    return best, sum(e.evaluations.forward for e in made), note


def empty_maps(e: Explanation) -> np.ndarray:
    """`(n,)`: whether every value of a sample is zero."""
    filled = [p.values.reshape(len(e), -1).any(axis=1) for p in e.parts]
    return ~np.any(filled, axis=0)


def fitting(model: Model, batch: Batch, seed: int) -> list[tuple[str, dict[str, Any]]]:
    """Methods that say something at little cost about such inputs, the best first.

    Pictures: Grad-CAM where the model has a layer for it, else integrated gradients, else
    occlusion. Tables: expected gradients where there are gradients, else Shapley values, against
    rows drawn by `default_rng([seed, 63])`. Anything else: integrated gradients or occlusion.
    Raises `CapabilityError` for words, of which no method makes sense by default.
    """
    if any(a.dtype.kind not in "fiub" for a in batch.arrays):
        raise CapabilityError("The inputs are words, for which no default method fits.")
    smooth = model.supports >= Tier.DIFFERENTIABLE and all(
        a.dtype.kind == "f" for a in batch.arrays
    )
    kinds = {model.modality(batch)} if len(batch.arrays) == 1 else set()
    if kinds == {"table"}:
        draw = background_rows(len(batch), seed)
        others = model.adapter.as_given(tuple(a[draw] for a in batch.arrays))
        budget = len(draw) * (2 * batch.arrays[0].shape[1] + 256)
        shapley = ("kernel_shap", {"background": others, "budget": budget})
        return [("expected_gradients", {"background": others})] * smooth + [shapley]
    if kinds == {"image"} and smooth:
        return [("gradcam", {}), ("integrated_gradients", {}), ("occlusion", {})]
    return [("integrated_gradients", {})] * smooth + [("occlusion", {})]


def background_rows(count: int, seed: int) -> np.ndarray:
    """The rows that a table's examples are compared with; `background_code` is the same as text."""
    return np.sort(np.random.default_rng([seed, 63]).permutation(count)[:BACKGROUND])


def background_code(count: int, seed: int) -> str:
    """`background_rows` as Python."""
    return f"np.sort(np.random.default_rng([{seed}, 63]).permutation({count})[:{BACKGROUND}])"


def check_each(examples: Any) -> int:
    """How many examples of each kind; 0 for none."""
    if isinstance(examples, bool) or not isinstance(examples, int) or not 0 <= examples <= 50:
        raise InputError(f"Expected examples to be a number from 0 to 50, got {examples!r}.")
    return examples
