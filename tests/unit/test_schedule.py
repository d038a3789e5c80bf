"""Micro-batches: every item once and in order, whatever happens to their size."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid import explain, wrap
from pellucid.engine.choice import Choice
from pellucid.engine.schedule import Schedule
from pellucid.errors import InputError, ModelError

sizes = st.one_of(st.just("auto"), st.integers(1, 40))


class Clock:
    """Time that passes only when work is done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def work(self, cost: Callable[[int], float]) -> Callable[[int, int], int]:
        def evaluate(start: int, stop: int) -> int:
            self.now += cost(stop - start)
            return stop - start

        return evaluate


@given(st.integers(0, 300), sizes)
def test_every_item_once_and_in_order(total, batch_size):
    schedule = Schedule(batch_size)
    seen = [list(range(a, b)) for a, b, _ in schedule.run(total, lambda a, b: None)]
    assert [i for part in seen for i in part] == list(range(total))
    assert all(seen)
    if batch_size != "auto":
        assert all(len(part) == batch_size for part in seen[:-1])


@given(st.integers(1, 200), sizes, st.integers(1, 40))
def test_also_when_memory_ends(total, batch_size, limit):
    def evaluate(start: int, stop: int) -> range:
        if stop - start > limit:
            raise MemoryError
        done.extend(range(start, stop))
        return range(start, stop)

    done: list[int] = []
    schedule = Schedule(batch_size, is_out_of_memory=lambda e: isinstance(e, MemoryError))
    results = [r for _, _, r in schedule.run(total, evaluate)]
    assert [i for r in results for i in r] == list(range(total)) == done


@given(st.integers(1, 100), sizes)
def test_progress_counts_up_to_the_total(total, batch_size):
    calls: list[tuple[int, int]] = []
    schedule = Schedule(batch_size, progress=lambda done, of: calls.append((done, of)))
    list(schedule.run(total, lambda a, b: None))
    assert calls[-1] == (total, total)
    assert {of for _, of in calls} == {total}
    assert sorted(set(calls)) == calls


def test_a_fixed_size_that_fails_is_halved_until_it_fits():
    tried: list[int] = []

    def evaluate(start: int, stop: int) -> None:
        tried.append(stop - start)
        if stop - start > 3:
            raise MemoryError

    schedule = Schedule(24, is_out_of_memory=lambda e: isinstance(e, MemoryError))
    list(schedule.run(10, evaluate))
    assert tried == [10, 5, 2, 2, 2, 2, 2], "the failed batch had 10 rows, not 24"


def test_memory_that_ends_late_is_halved_from_the_item_that_failed():
    spans: list[tuple[int, int]] = []

    def evaluate(start: int, stop: int) -> None:
        if start >= 8 and stop - start > 2:
            raise MemoryError
        spans.append((start, stop))

    schedule = Schedule(4, is_out_of_memory=lambda e: isinstance(e, MemoryError))
    list(schedule.run(12, evaluate))
    assert spans == [(0, 4), (4, 8), (8, 10), (10, 12)]


def test_a_single_row_that_does_not_fit_and_other_errors():
    def out_of_memory(start: int, stop: int) -> None:
        raise MemoryError

    schedule = Schedule("auto", is_out_of_memory=lambda e: isinstance(e, MemoryError))
    with pytest.raises(ModelError, match="single row") as caught:
        list(schedule.run(5, out_of_memory))
    assert isinstance(caught.value.__cause__, MemoryError)

    def broken(start: int, stop: int) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        list(schedule.run(5, broken))


# The size that is found


def batches(schedule: Schedule, total: int, evaluate: Callable, key: str = "") -> list[int]:
    return [r for _, _, r in schedule.run(total, evaluate, key=key)]


def test_it_grows_where_a_call_has_a_fixed_cost(monkeypatch):
    clock = Clock(monkeypatch)
    memory: dict[str, Choice] = {}
    found = batches(Schedule(memory=memory), 20_000, clock.work(lambda n: 1 + 0.001 * n))
    assert found[:6] == [8, 8, 32, 32, 128, 128], "each size is timed twice: once it may compile"
    assert max(found) >= 512
    assert memory[""].best()[0] >= 512


def test_it_stops_growing_where_growth_no_longer_pays(monkeypatch):
    clock = Clock(monkeypatch)
    memory: dict[str, Choice] = {}
    batches(Schedule(memory=memory), 20_000, clock.work(lambda n: 1 + n))
    assert memory[""].best() == (16, ""), "from 8 to 32 saves 8 %, from 16 only 3 %"


def test_of_sizes_as_fast_the_one_that_needs_less_memory_is_taken(monkeypatch):
    """ResNet18 at 112²: 7.5, 6.2 and 6.0 ms a row at 8, 16 and 32 rows."""
    clock = Clock(monkeypatch)
    rates = {2: 10.0, 8: 7.5, 16: 6.2, 32: 6.0, 128: 7.0}
    memory: dict[str, Choice] = {}
    batches(Schedule(memory=memory), 1000, clock.work(lambda n: n * rates.get(n, 7.0)))
    assert memory[""].best() == (16, "")


def test_it_stays_small_where_a_row_costs_more_in_company(monkeypatch):
    clock = Clock(monkeypatch)
    memory: dict[str, Choice] = {}
    found = batches(Schedule(memory=memory), 4000, clock.work(lambda n: n * (1 + n)))
    assert memory[""].best()[0] <= 8
    assert max(found) == 32
    assert found.count(32) == 2, "a larger one was tried, twice"


def test_a_size_is_tried_only_where_it_is_a_third_of_the_work_at_most(monkeypatch):
    """Else one input with 50 steps would go through the model at once, and need its memory."""
    clock, memory = Clock(monkeypatch), dict[str, Choice]()
    work = clock.work(lambda n: n**0.5)
    seen = [batches(Schedule(memory=memory), 50, work) for _ in range(8)]
    assert max(max(found) for found in seen) == 16
    assert all(sum(found) == 50 for found in seen)


def test_a_slow_first_call_is_not_counted(monkeypatch):
    """Compiling costs a hundred times a batch."""
    clock = Clock(monkeypatch)
    compiled: set[int] = set()

    def cost(n: int) -> float:
        new = n not in compiled
        compiled.add(n)
        return 1000.0 if new else n * (1 + n)

    memory: dict[str, Choice] = {}
    batches(Schedule(memory=memory), 4000, clock.work(cost))
    assert memory[""].best()[0] <= 8


def test_a_setting_that_had_bad_luck_is_timed_again(monkeypatch):
    """The size that is best was slow in its first two timings, by no more than twice."""
    clock, memory = Clock(monkeypatch), dict[str, Choice]()
    seen: list[int] = []

    def cost(rows: int) -> float:
        seen.append(rows)
        if rows == 128:
            return (0.016 if seen.count(128) <= 2 else 0.01) * rows
        return 0.05 + 0.015 * rows

    batches(Schedule(memory=memory), 20_000, clock.work(cost), key="forward")
    assert memory["forward"].best()[0] == 128
    assert seen.count(128) > 50


def test_a_second_call_starts_with_what_was_found(monkeypatch):
    clock = Clock(monkeypatch)
    memory: dict[str, Choice] = {}
    work = clock.work(lambda n: 1 + 0.001 * n)
    batches(Schedule(memory=memory), 100_000, work, key="forward")
    again = batches(Schedule(memory=memory), 20_000, work, key="forward")
    size = memory["forward"].best()[0]
    assert set(again[:-1]) == {size}
    assert Schedule(memory=memory).first_size("forward") == size
    assert Schedule(memory=memory).first_size("gradient") == 8, "another kind of work"
    assert Schedule(memory=memory, kind="224² ").first_size("forward") == 8, "another shape"
    assert Schedule(5, memory=memory).first_size("forward") == 5


def layouts_used(schedule: Schedule, work: Callable, total: int, *, heeded: bool) -> list[str]:
    """The layout of each micro-batch."""
    seen: list[str] = []

    def evaluate(start: int, stop: int) -> None:
        seen.append(schedule.layout)
        work(start, stop)

    list(schedule.run(total, evaluate, layouts=heeded))
    return seen


@pytest.mark.parametrize(("factor", "kept"), [(0.7, "last"), (0.98, ""), (1.5, "")])
def test_a_layout_is_kept_where_it_is_faster(monkeypatch, factor, kept):
    clock, memory = Clock(monkeypatch), dict[str, Choice]()
    schedule = Schedule(memory=memory, layouts=("last",))

    def cost(n: int) -> float:
        return (1 + n) * (factor if schedule.layout == "last" else 1)

    seen = layouts_used(schedule, clock.work(cost), 2000, heeded=True)
    assert seen.count("last") >= 2, "it was tried"
    assert seen[-1] == kept
    assert schedule.used[""] == (16, kept)
    assert schedule.layout == "", "over when the work is"


def test_little_work_of_a_fast_model_is_always_done_alike(monkeypatch):
    """Another size rounds differently, and the same call should give the same bits."""
    clock, memory = Clock(monkeypatch), dict[str, Choice]()
    work = clock.work(lambda n: 0.01 + 1e-4 * n)
    assert {tuple(batches(Schedule(memory=memory), 100, work)) for _ in range(9)} == {
        (8,) * 12 + (4,)
    }


def test_no_layout_is_tried_where_work_does_not_heed_it_or_is_short(monkeypatch):
    clock = Clock(monkeypatch)
    heedless = Schedule(layouts=("last",))
    assert set(layouts_used(heedless, clock.work(lambda n: 1.0), 500, heeded=False)) == {""}
    short = Schedule(layouts=("last",))
    work = clock.work(lambda n: 1e-5 * (1 + n))
    assert set(layouts_used(short, work, 5000, heeded=True)) == {""}


def test_a_size_that_the_user_fixed_is_not_remembered():
    """Once batch_size=1 for one reason or another, later calls would stay slow."""
    model = wrap(lambda a: a.sum(axis=1))
    explain(model, np.ones((20, 3)), "occlusion", batch_size=1)
    assert model.batch_sizes == {}


def test_one_that_ran_out_of_memory_is_remembered():
    memory: dict[str, Choice] = {}

    def evaluate(start: int, stop: int) -> None:
        if stop - start > 3:
            raise MemoryError

    schedule = Schedule(memory=memory, is_out_of_memory=lambda e: isinstance(e, MemoryError))
    list(schedule.run(20, evaluate))
    assert memory[""].limit == 2
    assert Schedule(memory=memory).first_size("") == 2


@pytest.mark.parametrize("bad", [0, -1, 2.5, "8", "big", None, True, [8]])
def test_sizes_that_are_none(bad):
    with pytest.raises(InputError, match=r"'auto' or a whole number of 1 or more, got"):
        Schedule(bad)


@pytest.mark.parametrize("bad", [3, "bar", [print]])
def test_progress_is_a_function(bad):
    with pytest.raises(InputError, match=r"function \(done, total\), got"):
        Schedule(progress=bad)


def test_numpy_s_numbers_are_numbers():
    assert batches(Schedule(np.int64(3)), 7, lambda a, b: b - a) == [3, 3, 1]


def test_a_layout_is_tried_for_long_work_of_short_batches(monkeypatch):
    clock, memory = Clock(monkeypatch), dict[str, Choice]()
    schedule = Schedule(memory=memory, layouts=("last",))

    def cost(n: int) -> float:
        return (1e-3 + 1e-4 * n) * (0.5 if schedule.layout == "last" else 1)

    seen = layouts_used(schedule, clock.work(cost), 5000, heeded=True)
    assert seen[-1] == "last"
    assert seen.count("") > 2


def test_a_short_batch_is_no_reason_not_to_grow(monkeypatch):
    """A busy moment makes 32 rows look no faster than 8; both are over in no time."""
    clock, memory = Clock(monkeypatch), dict[str, Choice]()
    work = clock.work(lambda n: 1e-4 if n == 8 else 5e-4 if n == 32 else 2e-4 + 1e-7 * n)
    seen = batches(Schedule(memory=memory), 50_000, work)
    assert max(seen) >= 2048


def test_a_halved_size_is_remembered_after_an_error():
    memory: dict[str, Choice] = {}
    schedule = Schedule(is_out_of_memory=lambda e: isinstance(e, MemoryError), memory=memory)
    tried = []

    def evaluate(start: int, stop: int) -> int:
        tried.append(stop - start)
        if stop - start > 4:
            raise MemoryError
        if start >= 8:
            raise ValueError("the ninth")
        return start

    with pytest.raises(ValueError, match="ninth"):
        list(schedule.run(1000, evaluate))
    limit = memory[""].limit
    assert limit is not None
    assert limit <= 4
    tried.clear()
    with pytest.raises(ValueError, match="ninth"):
        list(schedule.run(1000, evaluate))
    assert max(tried) <= 4
