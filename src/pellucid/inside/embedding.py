"""Embeddings: a data set laid out in two dimensions by what a layer makes of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pellucid.engine.schedule import Progress
from pellucid.errors import InputError
from pellucid.explaining.before import check_seed
from pellucid.explaining.preparing import unasked
from pellucid.inside.embedded import Embedding
from pellucid.inside.thumbnails import thumbnails
from pellucid.methods.inside.layer_values import (
    INPUT,
    OUTPUT,
    layer_below_output,
    layer_values,
)
from pellucid.methods.inside.projections import project
from pellucid.running.outputs import check_class_names
from pellucid.task import Task
from pellucid.types import Evaluations

AT_MOST = {"pca": 50_000, "tsne": 3_000, "umap": 10_000}
"""Samples that are laid out where `at_most` does not say otherwise."""

_PURPOSE = 60


def embedding(
    model: Any,
    x: Any,
    layer: str | None = None,
    *,
    how: str = "pca",
    labels: Any = None,
    columns: Mapping[str, Any] | None = None,
    names: Sequence[str] | None = None,
    pooling: str = "mean",
    components: int = 2,
    at_most: int | None = None,
    seed: int = 0,
    batch_size: int | str = "auto",
    progress: Progress | None = None,
    **options: Any,
) -> Embedding:
    """A data set as points: samples that a layer makes alike lie near each other.

    v_i = what `layer` returns for x_i, (d,);   points = PCA, t-SNE or UMAP of v₁ … v_n

    `layer` is a name, "input", "output", or None for the last layer that returns something else
    than the outputs, which the result names. Maps are averaged over their positions;
    `pooling="max"` takes each channel's largest value, "flatten" all values. `labels` are the true
    classes `(n,)`, by number or name, or numbers for a regression (where they are no classes the
    result has no right and wrong, and its `note` says why); `columns` more of the kind by
    name (those of a table are there by themselves); `names` a word for each row. `how` is "pca" (by
    pellucid itself, float64: no randomness, and the sign of each component fixed), "tsne"
    (scikit-learn) or "umap" (umap-learn); `options` go to their classes. The last two are laid out
    from 50 principal components where d is larger. More than `at_most` rows (50 000, 3 000 and
    10 000) are sampled, by `permutation(n)` of `default_rng([seed, 60])`, and the result says so.

    The same seed gives the same bits of PCA, and of t-SNE and UMAP with the same releases on the
    same machine; between frameworks v differs by rounding, which PCA keeps small and the other two
    may blow up to another picture with the same neighbours. Distances between far clusters of t-SNE
    mean nothing. Cost: one forward a sample laid out.
    Sources: Jolliffe 2002; van der Maaten & Hinton 2008; McInnes, Healy, Melville 2018.

    Raises `LayerError` for an unknown layer, `InputError` for labels of another length, NaN in
    them or in the input laid out, fewer than 3 rows; `MissingExtraError` without scikit-learn or
    umap-learn.

    >>> found = pellucid.inside.embedding(model, np.concatenate([x, x[::-1] + 1]), "features")
    >>> found.coordinates.shape, found.pooled
    ((4, 2), 'mean over 80 positions of 4 channels')
    """
    task = unasked(model, x, seed=seed, batch_size=batch_size, progress=progress)
    rows = _sampled(task.count, at_most, how, seed)
    chosen = layer_below_output(task) if layer is None else _path(task, layer)
    truth = _column("labels", labels, task.count)
    given = {name: _column(name, c, task.count) for name, c in (columns or {}).items()}
    words = _column("names", names, task.count)
    values = layer_values(task, chosen, rows, pooling=pooling)
    laid_out = project(values.vectors, how, components, seed, **options)
    if values.outputs is not None:
        check_class_names(task.wrapped.class_names, values.outputs)
    predicted = _predicted(task, values.outputs)
    classes = 0 if values.outputs is None else max(2, values.outputs.shape[1])
    known, correct, note = _judged(task, None if truth is None else truth[rows], predicted, classes)
    named = predicted if predicted is None else _named(task, predicted)
    return Embedding(
        coordinates=laid_out.coordinates, vectors=values.vectors, rows=rows, count=task.count,
        layer=chosen, pooled=values.how, how=how, said=laid_out.said, seed=int(seed),
        evaluations=task.model.evaluations, labels=known, predicted=named, correct=correct,
        columns={n: c[rows] for n, c in (_table(task) | given).items() if c is not None},
        names=None if words is None else tuple(map(str, words[rows])),
        pictures=thumbnails(task.batch, rows), note=note,
    )  # fmt: skip


def embed_vectors(
    vectors: Any,
    *,
    how: str = "pca",
    labels: Any = None,
    names: Sequence[str] | None = None,
    columns: Mapping[str, Any] | None = None,
    components: int = 2,
    at_most: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Embedding:
    """Vectors of one's own as points, `(n, d)`: the rows of an embedding of words, say.

    As `embedding` from there on; no model is run. `names` are the words.

    >>> found = pellucid.inside.embed_vectors(np.eye(4)[:, :3], names=["a", "b", "c", "d"])
    >>> found.neighbours(3, k=2).labels
    ('a', 'b')
    """
    check_seed(seed)
    try:
        array = np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"Expected vectors to be numbers (n, d): {error}") from error
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"Expected vectors to be an array (n, d), got shape {array.shape}.")
    if not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array).all(axis=1))[:20].tolist()
        raise InputError(f"The vectors hold NaN or infinity in the rows {bad}.")
    count = len(array)
    rows = _sampled(count, at_most, how, seed)
    truth, words = _column("labels", labels, count), _column("names", names, count)
    more = {name: _column(name, c, count) for name, c in (columns or {}).items()}
    laid_out = project(array[rows], how, components, seed, **options)
    return Embedding(
        coordinates=laid_out.coordinates, vectors=array[rows], rows=rows, count=count,
        layer="vectors", pooled=f"all {array.shape[1]} values", how=how, said=laid_out.said,
        seed=int(seed), evaluations=Evaluations(),
        labels=None if truth is None else truth[rows],
        columns={n: c[rows] for n, c in more.items() if c is not None},
        names=None if words is None else tuple(map(str, words[rows])),
    )  # fmt: skip


def _path(task: Task, layer: str) -> str:
    return layer if layer in {INPUT, OUTPUT} else task.layer(layer)


def _sampled(count: int, at_most: int | None, how: str, seed: int) -> np.ndarray:
    most = AT_MOST.get(how, count) if at_most is None else at_most
    if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 3:
        raise InputError(f"Expected at_most to be a whole number of 3 or more, got {at_most!r}.")
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng([seed, _PURPOSE]).permutation(count)[: int(most)])


def _column(name: str, values: Any, count: int) -> np.ndarray | None:
    """One value a row. Raises `InputError` for another length, and for NaN."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (count,):
        raise InputError(
            f"Expected {name} to hold one value for each of the {count} rows, got shape"
            f" {array.shape}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = np.flatnonzero(~np.isfinite(array))[:20].tolist()
        raise InputError(f"{name} holds NaN or infinity in the rows {bad}.")
    return array.astype(str) if array.dtype.kind == "O" else array


def _predicted(task: Task, outputs: np.ndarray | None) -> np.ndarray | None:
    """Class numbers, where the outputs are those of a classifier."""
    if outputs is None:
        return None
    if outputs.shape[1] > 1:
        return outputs.argmax(axis=1)
    explained = task.wrapped.explained(task.x)
    if explained == "output":
        return None
    return (outputs[:, 0] > (0.5 if explained == "probability" else 0.0)).astype(np.int64)


def _named(task: Task, numbers: np.ndarray) -> np.ndarray:
    names = task.wrapped.class_names
    if names is None:
        return numbers
    return np.array(names)[numbers]


def _judged(
    task: Task, truth: np.ndarray | None, predicted: np.ndarray | None, classes: int
) -> tuple[np.ndarray | None, np.ndarray | None, str]:
    """Labels by name, whether the prediction is the label, and why that is not told."""
    if truth is None:
        return None, None, ""
    names, kind = task.wrapped.class_names, truth.dtype.kind
    if kind == "f" and not (truth == np.round(truth)).all():
        return truth, None, ""
    if kind in "biuf":
        numbers = truth.astype(np.int64)
        if predicted is None:
            return truth, None, ""
        if names is None:
            return _numbered(numbers, predicted, classes)
        if numbers.min() < 0 or numbers.max() >= len(names):
            raise InputError(
                f"The labels run from {numbers.min()} to {numbers.max()}; this model has"
                f" {len(names)} classes."
            )
        return np.array(names)[numbers], numbers == predicted, ""
    if predicted is None:
        return truth, None, ""
    if names is None:
        return truth, None, (
            "right and wrong are not told: the labels are words and the model has no class names"
            " (pellucid.wrap(model, class_names=...))"
        )  # fmt: skip
    strange = sorted(set(truth.tolist()) - set(names))
    if strange:
        raise InputError(
            f"The label {strange[0]!r} is none of the model's {len(names)} class names."
        )
    return truth, truth == np.array(names)[predicted], ""


def _numbered(
    labels: np.ndarray, predicted: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray | None, str]:
    """Labels that are numbers of unnamed classes, as `_judged` returns them."""
    strange = (labels < 0) | (labels >= classes)
    if strange.all():
        return labels, None, (
            f"right and wrong are not told: none of the labels, {labels.min()} to {labels.max()},"
            f" is one of the model's {classes} classes, 0 to {classes - 1}"
        )  # fmt: skip
    note = ""
    if strange.any():
        note = (
            f"{int(strange.sum())} labels are none of the model's {classes} classes, 0 to"
            f" {classes - 1}, and count as wrong"
        )
    return labels, labels == predicted, note


def _table(task: Task) -> dict[str, np.ndarray | None]:
    """The columns of a table by name; words for categories."""
    names = task.wrapped.feature_names or task.batch.columns
    arrays = [a for a in task.batch.arrays if a.ndim == 2]
    if names is None or len(task.batch.arrays) != 1 or not arrays:
        return {}
    categories = task.model.adapter.categories or (None,) * len(names)
    found: dict[str, np.ndarray | None] = {}
    for name, column, words in zip(names, arrays[0].T, categories, strict=True):
        known = words is not None and np.isfinite(column.astype(np.float64)).all()
        found[name] = np.array(words)[column.astype(int)] if known else column
    return found
