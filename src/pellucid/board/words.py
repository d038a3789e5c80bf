"""Which words count most over a data set, of models that take words by their numbers."""

from dataclasses import replace

import numpy as np

from pellucid.errors import CapabilityError, ModelError
from pellucid.explain import explain
from pellucid.importance import OF_WORDS, Importance
from pellucid.inputs.batch import Batch
from pellucid.model import Model

FEWEST = 3
"""So often a word has to occur."""
_MOST_ROWS = 200
_MOST_EVALUATIONS = 10_000
_DRAWS = 1000


def holds_words(model: Model, batch: Batch) -> bool:
    """Whether the only input is rows of whole numbers that no one has named as columns."""
    array = batch.arrays[0]
    named = model.feature_names is not None or batch.columns is not None
    of_columns = named or bool(model.adapter.parts())  # what is made of parts takes tables
    return array.ndim == 2 and array.dtype.kind in "iu" and not of_columns


def of_words(
    model: Model, batch: Batch, rows: np.ndarray, *, seed: int, batch_size: int | str
) -> tuple[Importance | None, int, str]:
    """What is lost on the mean where one occurrence of a word is hidden, by `occlusion`.

    I_w = Σ_i s_iw / Σ_i c_iw, s_iw the sum of |a| over the c_iw occurrences of the word w in text
    i, for the class predicted; the interval resamples texts. Words that occur less than 3 times
    are left out.
    """
    most = max(2, min(_MOST_ROWS, _MOST_EVALUATIONS // (1 + batch.arrays[0].shape[1])))
    drawn = np.random.default_rng([seed, 69]).permutation(rows)[:most]
    rows = np.sort(drawn)
    x = model.adapter.as_given(tuple(a[rows] for a in batch.arrays))
    past = replace(model, preprocess=None)
    try:
        found = explain(past, x, "occlusion", seed=seed, batch_size=batch_size)
    except (CapabilityError, ModelError) as error:
        return None, 0, f"No importance of words: {str(error).splitlines()[0]}"
    words, size = batch.arrays[0][rows], np.abs(found.parts[0].values).astype(np.float64)
    known, where = np.unique(words, return_inverse=True)
    where = where.reshape(words.shape)
    index = (np.repeat(np.arange(len(rows)), words.shape[1]), where.ravel())
    sums, counts = (np.zeros((len(rows), len(known))) for _ in range(2))
    np.add.at(sums, index, size.ravel())
    np.add.at(counts, index, 1.0)
    kept = np.flatnonzero(counts.sum(axis=0) >= FEWEST)
    if not len(kept):
        return None, found.evaluations.forward, f"No importance: no word occurs {FEWEST} times."
    sums, counts = sums[:, kept], counts[:, kept]
    draws = np.random.default_rng([seed, 70]).multinomial(
        len(rows), [1 / len(rows)] * len(rows), _DRAWS
    )
    with np.errstate(invalid="ignore"):
        resampled = (draws @ sums) / (draws @ counts)  # NaN where a draw has no such text
    low, high = np.nanquantile(resampled, [0.025, 0.975], axis=0)
    mean, total = sums.sum(axis=0) / counts.sum(axis=0), counts.sum(axis=0).astype(int)
    table = tuple(
        (f"word {known[kept[j]]} ({total[j]:,} times)", float(mean[j]), float(low[j]),
         float(high[j]))
        for j in np.argsort(-mean, kind="stable")
    )  # fmt: skip
    return Importance(table, OF_WORDS, 0.95, len(rows)), found.evaluations.forward, ""
