"""Micro-batches across sample borders, their size and layout timed on the work itself."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from pellucid.engine.choice import Choice, Setting
from pellucid.errors import InputError, ModelError

T = TypeVar("T")
Progress = Callable[[int, int], None]


class Schedule:
    """Splits `total` work items into micro-batches.

    With `batch_size="auto"` the micro-batches are timed as they run, and their size follows what
    is fastest (see `Choice`). `memory` keeps what was learned for each `kind` and key of work, so
    that the next call goes on from there. A batch that runs out of memory is halved and goes on
    from the item it failed at.

    `layout` is the memory layout that the micro-batch being evaluated should use, of those named
    in `layouts`; "" is the layout as given. `used` tells the last setting of each key of work.

    `progress(done, total)` is called after every micro-batch, with the rows of all work so far.
    `expected` is how many rows there will be in all, where that is known; more are told where
    the work in hand has more.
    """

    def __init__(
        self,
        batch_size: int | str = "auto",
        *,
        is_out_of_memory: Callable[[BaseException], bool] = lambda error: False,
        memory: dict[str, Choice] | None = None,
        progress: Progress | None = None,
        kind: str = "",
        layouts: tuple[str, ...] = (),
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
        self.kind = kind
        self.layouts = layouts
        self.layout = ""
        self.used: dict[str, Setting] = {}
        self.expected = self.done = 0

    @property
    def _fixed(self) -> int | None:
        return None if self.batch_size == "auto" else int(self.batch_size)

    def first_size(self, key: str) -> int:
        """How many items the first micro-batch of this kind of work holds, if there are many."""
        choice = self.memory.get(self.kind + key, Choice())
        return self._fixed or choice.best()[0]

    def run(
        self,
        total: int,
        evaluate: Callable[[int, int], T],
        *,
        key: str = "",
        width: int = 1,
        at_most: int | None = None,
        layouts: bool = False,
        times: int = 1,
    ) -> Iterator[tuple[int, int, T]]:
        """`(start, stop, evaluate(start, stop))` over all items, in order.

        An item is `width` rows of the model, one as a rule; a micro-batch holds as many items as
        its size in rows has room for, and no more than `at_most` rows. With `layouts`, `evaluate`
        heeds `layout`, and other layouts are timed as well. `evaluate` works on each item `times`
        over, so that as much more work is there to find the best size for.
        """
        choice = self.memory.get(self.kind + key, Choice())
        others = self.layouts if layouts else ()
        fixed, start = self._fixed, 0
        try:
            while start < total:
                room = (total - start) * width
                room = room if at_most is None else min(room, at_most)
                setting = (
                    (fixed, "")
                    if fixed
                    else choice.following(room, total * width * times, others, whole=total * width)
                )
                rows = setting[0] if at_most is None else min(setting[0], at_most)
                full = max(1, rows // width)
                stop = min(start + full, total)
                self.layout, began = setting[1], time.perf_counter()
                try:
                    result = evaluate(start, stop)
                except Exception as error:
                    if not self.is_out_of_memory(error):
                        raise
                    if stop - start == 1:
                        raise _does_not_fit(width) from error
                    choice = choice.halved((stop - start) * width)
                    fixed = fixed and choice.limit
                    continue
                finally:
                    self.layout = ""
                if stop - start == full:
                    # As if the batch had been of the size it was cut from, so that sizes compare.
                    share = setting[0] / (full * width)
                    choice = choice.learned(setting, share * (time.perf_counter() - began))
                self.used[key] = setting
                yield start, stop, result
                self.done += (stop - start) * width
                start = stop
                if self.progress is not None:
                    self.progress(
                        self.done, max(self.expected, self.done + (total - start) * width)
                    )
        finally:
            # What was learned holds after an error too. A size that the user fixed says nothing
            # about what is fast.
            if self.batch_size == "auto":
                self.memory[self.kind + key] = choice


def _does_not_fit(width: int) -> ModelError:
    rows = "a single row" if width == 1 else f"one item of {width} rows"
    return ModelError(
        f"Out of memory with {rows}, so no smaller batch can help.\n"
        "  A smaller input, a smaller model or more memory is needed."
    )
