"""The explained number of rows that have run, read from the outputs in NumPy.

Where no gradient is wanted this is the same in every framework, bit for bit, for equal outputs.
"""

from collections.abc import Sequence

import numpy as np

from pellucid.targets import Target


def scores_in_numpy(targets: Sequence[Target], outputs: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`(targets, m)` float64 of outputs `(m,)` or `(m, classes)`; rows[k] is the sample of k.

    The numbers are rounded to float32 before they become float64, as they are for gradients.
    """
    found = np.empty((len(targets), len(rows)))
    for row, target in zip(found, targets, strict=True):
        if outputs.ndim == 1 or target.chosen is None or outputs.shape[1] == 1:
            score = outputs.reshape(-1)
        else:
            score = _column(outputs, target.chosen[rows])
            if target.against is not None:
                score = score - _column(outputs, target.against[rows])
        score = score.astype(np.float32)
        if target.first is not None:
            factor, constant = target.picks(rows)[-2:]
            score = score * factor + constant
        row[:] = score
    return found


def _column(outputs: np.ndarray, classes: np.ndarray) -> np.ndarray:
    if len(classes) and (classes == classes[0]).all():
        return outputs[:, classes[0]]
    return outputs[np.arange(len(classes)), classes]
