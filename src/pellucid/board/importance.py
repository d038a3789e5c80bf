"""What each column of a table counts for: what is lost where it is shuffled."""

from dataclasses import replace

import numpy as np

from pellucid.board.answers import Answers
from pellucid.board.words import holds_words, of_words
from pellucid.explain import explain
from pellucid.importance import Importance
from pellucid.inputs.batch import Batch
from pellucid.model import Model

REPEATS = 5
MOST_COLUMNS = 2000


def make_importance(
    model: Model,
    batch: Batch,
    answers: Answers,
    rows: np.ndarray,
    *,
    seed: int,
    batch_size: int | str,
) -> tuple[Importance | None, int, str]:
    """Permutation importance over `rows`, evaluations, and why there is none if there is none.

    Of classes accuracy lost, of numbers mean absolute error gained; see `feature_permutation`.
    """
    if len(batch.arrays) == 1 and holds_words(model, batch):
        return of_words(model, batch, rows, seed=seed, batch_size=batch_size)
    if len(batch.arrays) != 1 or model.modality(batch) != "table":
        pictures = len(batch.arrays) == 1 and model.modality(batch) == "image"
        why = (
            "of pictures the places that count are found, where there are enough of a class."
            if pictures
            else "a place in these inputs means something else in every row. The examples below"
            " show what counts."
        )
        return (
            None,
            0,
            f"No importance over all rows: that is asked of the columns of a table; {why}",
        )
    width = batch.arrays[0].shape[1]
    if width > MOST_COLUMNS:
        return None, 0, (
            f"No importance: {width:,} columns are shuffled one by one, and above"
            f" {MOST_COLUMNS:,} that takes too many predictions."
        )  # fmt: skip
    x = model.adapter.as_given(tuple(a[rows] for a in batch.arrays))
    classes, limit = answers.probabilities is not None, answers.limit

    def error(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        if outputs.shape[1] > 1:
            return (outputs.argmax(axis=1) != labels).astype(np.float64)
        return ((outputs[:, 0] > limit) != labels).astype(np.float64)

    past = replace(model, preprocess=None, class_names=None)
    names = model.feature_names or batch.columns
    if names is not None:
        past = replace(past, feature_names=tuple(names))
    found = explain(
        past, x, "feature_permutation", labels=answers.labels[rows],
        loss=error if classes else "absolute", repeats=REPEATS, target=0, seed=seed,
        batch_size=batch_size,
    )  # fmt: skip
    what = "accuracy lost" if classes else "absolute error gained"
    importance = replace(found.importance(seed=seed), statistic=what, note="")
    return importance, found.evaluations.forward, ""
