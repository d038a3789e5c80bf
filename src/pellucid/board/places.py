"""Where in its pictures a model looks, class by class: what each cell of a grid counts for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pellucid.board.answers import Answers
from pellucid.board.examples import as_shown
from pellucid.explain import explain
from pellucid.explanation import Explanation
from pellucid.inputs.batch import Batch
from pellucid.model import Model

MOST_ROWS = 200
MOST_EVALUATIONS = 4000
MOST_CELLS = 8
MOST_CLASSES = 20
FEWEST = 5
"""Pictures that a class needs, for a mean with an interval."""
ALIGNED = 0.3
_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Places:
    """What each cell of a grid counts for, one map a class that the model names.

    Of every picture the share of Σ|a| in each cell; `means (classes, rows, columns)` are over the
    `counts` pictures of a class, `low` and `high` their 95 % bootstrap intervals, uniform would be
    1 / cells. `agreement` is how much single pictures have in common: the mean correlation of each
    one's cells with the mean of the others.
    """

    class_names: tuple[str, ...]
    counts: tuple[int, ...]
    means: np.ndarray
    low: np.ndarray
    high: np.ndarray
    agreement: np.ndarray
    method: str

    @property
    def registered(self) -> bool:
        """Whether a place means about the same in every picture, as far as the maps tell."""
        return bool(np.average(self.agreement, weights=self.counts) >= ALIGNED)


def make_places(
    model: Model,
    batch: Batch,
    answers: Answers,
    example: Explanation | None,
    *,
    parameters: Mapping[str, Any],
    per_row: float | None,
    max_seconds: float | None,
    seed: int,
    batch_size: int | str,
) -> tuple[Places | None, int, int]:
    """The places, how many rows were explained, and forward passes; by the examples' method.

    Of at most 200 rows of `default_rng([seed, 67])` and 4 000 evaluations, or what a quarter of
    the time allows. None where inputs are no pictures, or no class has 5 of them.
    """
    pictures = len(batch.arrays) == 1 and model.modality(batch) == "image"
    if not pictures or example is None or answers.probabilities is None:
        return None, 0, 0
    spent = example.evaluations
    cost = max(1.0, (spent.forward + spent.backward + spent.suffix) / len(example))
    wanted = min(len(batch), MOST_ROWS, int(MOST_EVALUATIONS / cost))
    if per_row is not None and max_seconds is not None:
        wanted = min(wanted, int(max_seconds / 4 / (per_row * cost)))
    rows = np.sort(np.random.default_rng([seed, 67]).permutation(len(batch))[:wanted])
    named = answers.predicted[rows].astype(int)
    known = [c for c in np.argsort(-np.bincount(named), kind="stable")[:MOST_CLASSES]
             if (named == c).sum() >= FEWEST] if len(named) else []  # fmt: skip
    if not known:
        return None, 0, 0
    rows = rows[np.isin(named, known)]
    x = model.adapter.as_given(tuple(a[rows] for a in batch.arrays))
    found = explain(
        replace(model, preprocess=None), x, example.method, seed=seed, batch_size=batch_size,
        **parameters,
    )  # fmt: skip
    shares = cells_of(as_shown(found, batch, rows))
    named = answers.predicted[rows].astype(int)
    each = [_of_class(shares[named == c], seed) for c in sorted(known)]
    means, low, high, agreement = (np.stack(part) for part in zip(*each, strict=True))
    names = tuple(answers.class_names[c] for c in sorted(known))
    counts = tuple(int((named == c).sum()) for c in sorted(known))
    own = Places(names, counts, means, low, high, agreement, example.method)
    return own, len(rows), found.evaluations.forward


def cells_of(found: Explanation) -> np.ndarray:
    """The share of each picture's Σ|a| in each cell, `(n, rows, columns)`; 0 for an empty map."""
    part = found.parts[0]
    axes = part.dims.index("height"), part.dims.index("width")
    maps = np.abs(np.moveaxis(part.values.astype(np.float64), axes, (1, 2)))
    maps = maps.reshape(*maps.shape[:3], -1).sum(axis=3)
    for axis in (1, 2):
        length = maps.shape[axis]
        edges = np.linspace(0, length, min(length, MOST_CELLS) + 1).astype(int)
        maps = np.add.reduceat(maps, edges[:-1], axis=axis)
    total = maps.sum(axis=(1, 2), keepdims=True)
    return maps / np.where(total > 0, total, 1.0)


def _of_class(shares: np.ndarray, seed: int) -> tuple[Any, ...]:
    """Mean, 95 % bootstrap interval over pictures, and agreement of one class."""
    count = len(shares)
    draws = np.random.default_rng([seed, 68]).multinomial(count, [1 / count] * count, _DRAWS)
    resampled = np.tensordot(draws / count, shares, axes=1)
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    flat = shares.reshape(count, -1)
    others = (flat.sum(axis=0) - flat) / (count - 1)
    pairs = zip(flat - flat.mean(axis=1, keepdims=True), others - others.mean(axis=1)[:, None],
                strict=True)  # fmt: skip
    sizes = [(a @ b, float(np.sqrt((a @ a) * (b @ b)))) for a, b in pairs]
    agreement = np.array([product / size if size > 0 else 0.0 for product, size in sizes])
    return shares.mean(axis=0), low, high, agreement.mean()
