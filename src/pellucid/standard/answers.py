"""The other answer of a single output that says yes or no."""

from typing import Any

import numpy as np

from pellucid.standard.subject import Subject
from pellucid.types import shape_of


def other_answer(subject: Subject) -> Any:
    """The other side of a single output that says yes or no, as a target; None of all else."""
    target, outputs = subject.task.target, subject.outputs
    single = outputs is not None and outputs.shape[1] == 1
    if not single or target.function or subject.explained not in {"logit", "probability"}:
        return None
    own = subject.target_of(np.arange(subject.count))
    return _turned if own is None else [o[::-1] if isinstance(o, tuple) else 1 - o for o in own]


def _turned(outputs: Any) -> Any:
    """A single output with its sign turned, one number a sample: a target."""
    return -outputs if len(shape_of(outputs)) == 1 else -outputs[:, 0]
