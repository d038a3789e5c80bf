"""The samples in two halves, one to choose on and one to certify with, in chunks."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pellucid.errors import InputError
from pellucid.explanation import Explanation
from pellucid.inputs.batch import Batch
from pellucid.model import Model
from pellucid.standard.subject import Subject
from pellucid.standard.told import Known
from pellucid.types import TargetLike

FEWEST = 4
KEPT = 5


def split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sample numbers to choose on and to certify with, drawn from `default_rng([seed, 50])`.

    The first half is the larger one of an odd number. Raises `InputError` for fewer than four.
    """
    if count < FEWEST:
        raise InputError(
            f"Expected {FEWEST} samples or more, half to choose on and half to certify with, got"
            f" {count}."
        )
    order = np.random.default_rng([seed, 50]).permutation(count)
    middle = (count + 1) // 2
    return order[:middle], order[middle:]


def target_of_rows(target: TargetLike, rows: np.ndarray, count: int) -> Any:
    """What is explained of these rows, where `target` may hold one entry a sample."""
    if isinstance(target, np.ndarray | list) and len(target) == count:
        return [target[i] for i in rows]
    return target


@dataclass(eq=False)
class Half:
    """Half of the samples as one model takes them, past any preprocessing."""

    model: Model
    arrays: tuple[np.ndarray, ...]
    target: TargetLike
    masks: np.ndarray | None
    background: tuple[np.ndarray, ...]
    imputers: tuple[str, ...]
    seed: int
    batch_size: int | str
    made: dict[tuple[str, int, int], tuple[Explanation, int]] = field(
        default_factory=dict, init=False
    )
    """The last explanations, by candidate and samples, so that gates need not make them again.

    Each with the rows of the model that no second one like it would take.
    """
    _held: tuple[tuple[int, int], Subject] | None = field(default=None, init=False)

    def with_imputers(self, imputers: tuple[str, ...]) -> "Half":
        """The same samples, features removed in other ways."""
        return self if imputers == self.imputers else replace(self, imputers=imputers)

    @property
    def count(self) -> int:
        return len(self.arrays[0])

    def rows(self, start: int, stop: int) -> Any:
        """These samples in the form the model takes."""
        return self.model.adapter.as_given(tuple(a[start:stop] for a in self.arrays))

    def target_of(self, start: int, stop: int) -> Any:
        """What is explained of them."""
        return target_of_rows(self.target, np.arange(start, stop), self.count)

    def keep(self, key: tuple[str, int, int], made: tuple[Explanation, int]) -> None:
        """Hold an explanation until five others have come."""
        self.made[key] = made
        if len(self.made) > KEPT:
            del self.made[next(iter(self.made))]

    def holds(self, start: int, stop: int) -> bool:
        """Whether the last subject was of these samples."""
        return self._held is not None and self._held[0] == (start, stop)

    def subject(self, start: int, stop: int, known: Known | None = None) -> Subject:
        """The model over these samples; what it says of shared copies is asked once.

        `known` is what an earlier run was told of them.
        """
        if self._held is None or self._held[0] != (start, stop):
            made = Subject(
                self.model, self.rows(start, stop), target=self.target_of(start, stop),
                background=self.model.adapter.as_given(self.background), imputers=self.imputers,
                seed=self.seed, batch_size=self.batch_size, known=known,
            )  # fmt: skip
            self._held = ((start, stop), made)
        return self._held[1]


def half_of(
    model: Model,
    batch: Batch,
    rows: np.ndarray,
    *,
    target: TargetLike,
    masks: Any,
    background: tuple[np.ndarray, ...] | None,
    imputers: Sequence[str],
    seed: int,
    batch_size: int | str,
) -> Half:
    """The samples of these numbers; without a background they are each other's."""
    arrays = tuple(a[rows] for a in batch.arrays)
    count = len(batch)
    given = None if masks is None else np.asarray(masks)
    if given is not None and len(given) != count:
        raise InputError(f"Expected masks for {count} samples, got {len(given)}.")
    return Half(
        replace(model, preprocess=None), arrays, target_of_rows(target, rows, count),
        None if given is None else given[rows], background or arrays, tuple(imputers), seed,
        batch_size,
    )  # fmt: skip
