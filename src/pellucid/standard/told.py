"""What a model said of one batch and its copies, kept so that it is asked once."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

Known = Mapping[str, np.ndarray]
"""What a model said, by what it was asked."""


@dataclass(frozen=True)
class Copies:
    """What the model says of changed copies: scores and whether the class is kept, `(n, count)`.

    Scores are NaN where the model returned no finite number.
    """

    scores: np.ndarray
    same_class: np.ndarray


@dataclass(eq=False)
class Told:
    """Scores of what is shared by all explanations: f(x'), the random subsets, shifted copies."""

    empty: dict[str, np.ndarray] = field(default_factory=dict)
    subsets: dict[str, np.ndarray] = field(default_factory=dict)
    shifts: dict[str, Copies] = field(default_factory=dict)

    @classmethod
    def of(cls, known: Known) -> "Told":
        """What `plain` made arrays of."""
        found = cls()
        for key, values in known.items():
            kind, _, name = key.partition(" ")
            if kind == "empty":
                found.empty[name] = values
            elif kind == "subsets":
                found.subsets[name] = values
            elif kind == "shifted":
                found.shifts[name] = Copies(values, known[f"same {name}"] > 0)
        return found

    def plain(self, outputs: np.ndarray) -> Known:
        """All of it and the outputs of the batch; nothing where a file cannot hold those."""
        if outputs.dtype.kind != "f" or not np.isfinite(outputs).all():
            return {}
        found = {"outputs": outputs}
        found |= {f"empty {name}": values for name, values in self.empty.items()}
        found |= {f"subsets {name}": values for name, values in self.subsets.items()}
        for name, copies in self.shifts.items():
            found |= {f"shifted {name}": copies.scores, f"same {name}": copies.same_class * 1.0}
        return found
