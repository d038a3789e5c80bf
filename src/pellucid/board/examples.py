"""Rows worth looking at, each with an explanation: surely right, surely wrong, least sure."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

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
    return [
        ("Surely wrong", "Wrong answers with the highest probability.",
         surest[~right[surest]][:each]),
        ("Least sure", "The two best classes are closest to each other.",
         np.argsort(margin, kind="stable")[:each]),
        ("Surely right", "Right answers with the highest probability.",
         surest[right[surest]][:each]),
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
) -> tuple[tuple[ExampleGroup, ...], Explanation | None, str]:
    """The groups, one explanation of all their rows, and why there is none where there is none.

    `at` are the numbers in the data set of the batch's rows.
    """
    groups = [g for g in chosen_rows(answers, each) if len(g[2])]
    if not groups:
        return (), None, ""
    rows = np.unique(np.concatenate([g[2] for g in groups]))
    try:
        explanation = _explanation(model, batch, rows, method, parameters, seed, batch_size)
        why = ""
    except (CapabilityError, LayerError, MethodError, ModelError) as error:
        if method is not None:
            raise
        explanation, why = None, f"The examples have no explanation: {str(error).splitlines()[0]}"
    places = {int(row): i for i, row in enumerate(rows)} if explanation is not None else {}
    return (
        tuple(
            ExampleGroup(title, what, tuple(_example(answers, int(r), places, at) for r in own))
            for title, what, own in groups
        ),
        explanation,
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
) -> Explanation:
    """The rows explained, from the arrays the model takes; shown as the user's own pictures."""
    x = model.adapter.as_given(tuple(a[rows] for a in batch.arrays))
    past = replace(model, preprocess=None)
    options = {"seed": seed, "batch_size": batch_size}
    if method is not None:
        found = explain(past, x, method, **options, **parameters)
    else:
        found = _by_first_that_fits(past, x, batch, rows, options)
    return as_shown(found, batch, rows)


def as_shown(found: Explanation, batch: Batch, rows: np.ndarray) -> Explanation:
    """An explanation of some rows, as the model took them, with the user's own pictures."""
    parts = [
        part if shown is None else replace(part, display=shown[rows])
        for part, shown in zip(found.parts, batch.display, strict=True)
    ]
    return replace(found, parts=tuple(parts))


def _by_first_that_fits(
    model: Model, x: Any, batch: Batch, rows: np.ndarray, options: dict[str, Any]
) -> Explanation:
    tried = fitting(model, batch, int(options["seed"]))
    for name, parameters in tried[:-1]:
        try:
            return explain(model, x, name, **options, **parameters)
        except (CapabilityError, LayerError):  # the next one needs less of the model
            continue
    name, parameters = tried[-1]
    return explain(model, x, name, **options, **parameters)


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
        draw = np.random.default_rng([seed, 63]).permutation(len(batch))[:BACKGROUND]
        others = model.adapter.as_given(tuple(a[np.sort(draw)] for a in batch.arrays))
        budget = len(draw) * (2 * batch.arrays[0].shape[1] + 256)
        shapley = ("kernel_shap", {"background": others, "budget": budget})
        return [("expected_gradients", {"background": others})] * smooth + [shapley]
    if kinds == {"image"} and smooth:
        return [("gradcam", {}), ("integrated_gradients", {}), ("occlusion", {})]
    return [("integrated_gradients", {})] * smooth + [("occlusion", {})]


def check_each(examples: Any) -> int:
    """How many examples of each kind; 0 for none."""
    if isinstance(examples, bool) or not isinstance(examples, int) or not 0 <= examples <= 50:
        raise InputError(f"Expected examples to be a number from 0 to 50, got {examples!r}.")
    return examples
