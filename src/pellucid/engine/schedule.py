"""Micro-batches across sample borders, their size timed on the work itself."""

import math
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from pellucid.errors import InputError, ModelError

T = TypeVar("T")
Progress = Callable[[int, int], None]

_FIRST = 8
_GROWTH = 4
_WORTH_IT = 0.9


class Schedule:
    """Splits `total` work items into micro-batches.

    With `batch_size="auto"` the first micro-batches are timed: the size grows fourfold while
    time per item falls by a tenth, tries a quarter once, and then stays. `memory` remembers
    the choice for each `key`, so a second call starts with it. A batch that runs out of memory
    is halved and goes on from the item it failed at.

    `progress(done, total)` is called after every micro-batch.
    """

    def __init__(
        self,
        batch_size: int | str = "auto",
        *,
        is_out_of_memory: Callable[[BaseException], bool] = lambda error: False,
        memory: dict[str, int] | None = None,
        progress: Progress | None = None,
    ) -> None:
        whole = isinstance(batch_size, int | np.integer) and not isinstance(batch_size, bool)
        if batch_size != "auto" and not (whole and int(batch_size) > 0):
            raise InputError(
                f"Expected batch_size to be 'auto' or a whole number of 1 or more, got"
                f" {batch_size!r}."
            )
        if progress is not None and not callable(progress):
            raise InputError(f"Expected progress to be a function (done, total), got {progress!r}.")
        self.batch_size = batch_size
        self.is_out_of_memory = is_out_of_memory
        self.memory = {} if memory is None else memory
        self.progress = progress

    def first_size(self, key: str) -> int:
        """How many items the first micro-batch of this kind of work holds."""
        return _Size(self.batch_size, self.memory.get(key)).current

    def run(
        self,
        total: int,
        evaluate: Callable[[int, int], T],
        *,
        key: str = "",
        width: int = 1,
        at_most: int | None = None,
    ) -> Iterator[tuple[int, int, T]]:
        """`(start, stop, evaluate(start, stop))` over all items, in order.

        An item is `width` rows of the model, one as a rule; a micro-batch holds as many items as
        its size in rows has room for, and no more than `at_most` rows.
        """
        size = _Size(self.batch_size, self.memory.get(key))
        limit = math.inf if at_most is None else at_most
        start = 0
        while start < total:
            full = max(1, int(min(size.current, limit)) // width)
            stop = min(start + full, total)
            began = time.perf_counter()
            try:
                result = evaluate(start, stop)
            except Exception as error:
                if not self.is_out_of_memory(error):
                    raise
                if stop - start == 1:
                    rows = "a single row" if width == 1 else f"one item of {width} rows"
                    raise ModelError(
                        f"Out of memory with {rows}, so no smaller batch can help.\n"
                        "  A smaller input, a smaller model or more memory is needed."
                    ) from error
                size.halve((stop - start) * width)
                continue
            if stop - start == full:
                # As if the batch had been of the size it was cut from, so that sizes compare.
                share = size.current / (full * width)
                size.learn(size.current, share * (time.perf_counter() - began))
            yield start, stop, result
            start = stop
            if self.progress is not None:
                self.progress(start, total)
        # A size that the user fixed says nothing about what is fast.
        if size.settled and self.batch_size == "auto":
            self.memory[key] = size.current


class _Size:
    """The search for a good batch size: double-check the first timing, grow, shrink once."""

    def __init__(self, batch_size: int | str, remembered: int | None) -> None:
        self.settled = batch_size != "auto" or remembered is not None
        self.current = int(batch_size) if batch_size != "auto" else remembered or _FIRST
        self._limit: int | None = None
        self._rates: dict[int, float] = {}
        self._warm = False

    def halve(self, failed: int) -> None:
        self.current = max(1, failed // 2)
        self._limit = self.current
        self.settled = True

    def learn(self, rows: int, seconds: float) -> None:
        if self.settled or rows < self.current:
            return
        if not self._warm:
            # The first call may compile or page memory in; its time says nothing.
            self._warm = True
            return
        rate = seconds / rows
        known = self._rates.get(rows)
        self._rates[rows] = rate if known is None else min(rate, known)
        self._choose()

    def _choose(self) -> None:
        best = min(self._rates, key=lambda rows: self._rates[rows])
        larger, smaller = max(self._rates) * _GROWTH, max(1, _FIRST // _GROWTH)
        growing = len(self._rates) == 1 or (
            best == max(self._rates)
            and self._rates[best] < _WORTH_IT * self._rates.get(best // _GROWTH, float("inf"))
        )
        if growing and larger <= 2048:
            self.current = larger
        elif best == _FIRST and smaller not in self._rates:
            self.current = smaller
        else:
            self.current = best
            self.settled = True
