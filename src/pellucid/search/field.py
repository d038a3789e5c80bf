"""Who races where, and by what a file of it is known again."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.inputs.batch import Batch
from pellucid.model import Model
from pellucid.search.fingerprints import told
from pellucid.search.samples import Half
from pellucid.search.space import Candidate
from pellucid.standard.metric import Metric


@dataclass(frozen=True, eq=False)
class Field:
    """Who races where: models, candidates and the two halves of the samples for each model."""

    models: Mapping[str, Model]
    batch: Batch
    candidates: tuple[Candidate, ...]
    metrics: tuple[Metric, ...]
    tuning: Mapping[str, Half]
    held_out: Mapping[str, Half]
    accuracy: Mapping[str, float]
    out: Mapping[str, str]
    """Models that are dropped before the race, and why."""
    looked: int
    """Rows of the models that were run for all this."""
    seed: int
    target: Any
    notes: tuple[str, ...]
    certifiers: tuple[str, ...]
    """Imputers that may certify, the usual one first."""
    several: bool
    """Whether all of them do that are nobody's own baseline, or the first one."""
    summary: int | None
    """Rows of the background that Shapley methods get of the usual space, where those are fewer."""
    given: str
    """A hash of the target, the masks, the background and the parameters searched."""
    unknown: tuple[str, ...] = ()
    """Functions among them that no hash can tell from others."""

    def held_out_with(self, imputers: tuple[str, ...]) -> dict[str, Half]:
        """The held-out halves, features removed in these ways."""
        return {n: h.with_imputers(imputers) for n, h in self.held_out.items()}

    def head(self) -> dict[str, Any]:
        """What decides the records, for the file that holds them."""
        digest = hashlib.sha256()
        for array in self.batch.arrays:
            digest.update(f"{array.shape}{array.dtype}".encode())
            whole = array.astype(str) if array.dtype.hasobject else array
            digest.update(np.ascontiguousarray(whole).tobytes())
        some = next(iter(self.tuning.values()))
        return {
            "models": {name: m.fingerprint() for name, m in self.models.items()},
            "inputs": digest.hexdigest(),
            "target": told(self.target) if callable(self.target) else repr(self.target),
            "metrics": [m.name for m in self.metrics],
            "imputers": [list(some.imputers), list(self.certifiers)],
            "seed": self.seed,
            "target, masks, background or parameters": self.given,
        }
