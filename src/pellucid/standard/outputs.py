"""What a model decides, read from its outputs."""

import numpy as np

from pellucid.task import Task
from pellucid.types import shape_of


def decisions(outputs: np.ndarray, explained: str) -> np.ndarray:
    """The class of each row of outputs; of a single output, its side; all alike of a regression."""
    if outputs.shape[1] > 1:
        return outputs.argmax(axis=1)
    limit = {"logit": 0.0, "probability": 0.5}.get(explained, -np.inf)
    return (outputs[:, 0] > limit).astype(np.int64)


def output_matrix(task: Task) -> np.ndarray | None:
    """The outputs `(n, classes)` float64; None where they are no matrix."""
    shape = shape_of(task.outputs)
    if len(shape) not in {1, 2}:
        return None
    return task.to_numpy(task.outputs).astype(np.float64).reshape(shape[0], -1)
