"""Peer and ours in one process, interleaved A-B-A-B: the ratio with its spread.

A workload is a generator of `Case`s. Time, evaluations and memory are measured in three passes,
so that none disturbs another: pairs of runs against the clock; one run of each with the model
counted; and, in a process of its own for either side, one run watched for its memory. Each pass
begins with as many warm-ups, in which ours also finds its batch sizes and layouts.
"""

import ctypes
import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SETTLED = 6
"""Warm-ups after which ours tries no more batch sizes and layouts on workloads of this size."""

HEADER = (
    "| workload | peer | ours, s | peer, s | peer ÷ ours, median [min..max] | peer ÷ model alone"
    " | evaluations, ours / peer | peak memory, ours / peer | difference | goal | verdict"
    " | notes |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|"
)


class Counter:
    """Rows that went through the model, forward and backward; off while the clock runs.

    `head` counts forward rows that went through the model's last weights but not its first.
    """

    def __init__(self) -> None:
        self.on = False
        self.forward = self.backward = self.head = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        self.on, self.forward, self.backward, self.head = True, 0, 0, 0
        try:
            yield
        finally:
            self.on = False

    def __str__(self) -> str:
        head = f" + {self.head} h" if self.head > 0 else ""
        return f"{self.forward} f + {self.backward} b{head}"


@dataclass(frozen=True)
class Goal:
    """How many times faster than the peer, and what share of its memory and evaluations."""

    ratio: float | None = None
    memory: float | None = None
    evaluations: float | None = None

    def __str__(self) -> str:
        parts = [f"≥ {self.ratio:g} ×"] if self.ratio else []
        parts += [f"memory ≤ {self.memory:g}"] if self.memory else []
        parts += [f"evaluations ≤ {self.evaluations:g} ×"] if self.evaluations else []
        return ", ".join(parts) or "–"


@dataclass(frozen=True)
class Case:
    """One line of the table. `ours` and `peer` do the whole work and return what they found.

    `counter` counts the rows of the model both use; None where only pellucid counts.
    `difference` compares the two results; `note` is a remark made of them. `alone` makes the same
    evaluations with nothing around them, as fast as is known for this model: what the peer takes
    longer than that is all that any package could win. `reason` is said where the goal is not met.
    """

    name: str
    peer_name: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    difference: Callable[[Any, Any], float]
    counter: Counter | None = None
    note: Callable[[Any, Any], str] = lambda ours, peer: ""
    goal: Goal = Goal()
    alone: Callable[[], Any] | None = None
    reason: str = ""
    runs: int = 5
    memory: bool = True
    warm_ups: int = 2


@dataclass(frozen=True)
class Line:
    """What was measured of one case; `ratio` is peer seconds / our seconds."""

    name: str
    peer: str
    ours_seconds: float
    peer_seconds: float
    ratio: float
    low: float
    high: float
    bound: float | None
    ours_evaluations: str
    peer_evaluations: str
    evaluations: float | None
    difference: float
    goal: dict[str, float | None]
    reason: str
    note: str

    def row(self, ours_memory: float | None, peer_memory: float | None) -> str:
        both = ours_memory is not None and peer_memory is not None
        memory, share = "–", None
        if both:
            share = ours_memory / peer_memory if peer_memory > 1 else None
            memory = f"{ours_memory:.0f} / {peer_memory:.0f} MiB"
            memory += f" ({share:.2f})" if share is not None else ""
        bound = "–" if self.bound is None else f"{self.bound:.2f}"
        return (
            f"| {self.name} | {self.peer} | {self.ours_seconds:.3f} | {self.peer_seconds:.3f} |"
            f" {self.ratio:.2f} [{self.low:.2f}..{self.high:.2f}] | {bound} |"
            f" {self.ours_evaluations} / {self.peer_evaluations} | {memory} |"
            f" {self.difference:.1e} | {Goal(**self.goal)} | {self.verdict(share)} |"
            f" {self.note or '–'} |"
        )

    def verdict(self, share: float | None) -> str:
        """Whether the goal is met; where it is not, what was measured of the reason."""
        goal, missed = Goal(**self.goal), []
        if goal == Goal():
            return "–"
        if goal.ratio and self.ratio < goal.ratio:
            missed.append(f"{self.ratio:.2f} × of {goal.ratio:g} ×")
            if self.bound is not None and self.bound < goal.ratio:
                missed[-1] += f": out of reach, the model alone would be {self.bound:.2f} ×"
        if goal.memory and share is not None and share > goal.memory:
            missed.append(f"memory {share:.2f} of {goal.memory:g}")
        if goal.evaluations and self.evaluations and self.evaluations > goal.evaluations:
            missed.append(f"evaluations {self.evaluations:.2f} × of {goal.evaluations:g} ×")
        if not missed:
            return "met"
        return "not met: " + "; ".join(missed + ([self.reason] if self.reason else []))

    def record(self) -> dict[str, Any]:
        return asdict(self)


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(case: Case) -> Line:
    """Warm-ups, `runs` interleaved pairs, and a counted run of each."""
    works = [case.ours, case.peer] + ([case.alone] if case.alone is not None else [])
    for _ in range(case.warm_ups):
        for work in works:
            work()
    runs = [[timed(work) for work in works] for _ in range(case.runs)]
    ratios = sorted(run[1] / run[0] for run in runs)
    ours, ours_count, ours_rows = _counted(case.counter, case.ours)
    peer, peer_count, peer_rows = _counted(case.counter, case.peer)
    return Line(
        name=case.name,
        peer=case.peer_name,
        ours_seconds=statistics.median(run[0] for run in runs),
        peer_seconds=statistics.median(run[1] for run in runs),
        ratio=statistics.median(ratios),
        low=ratios[0],
        high=ratios[-1],
        bound=statistics.median(r[1] / r[2] for r in runs) if case.alone is not None else None,
        ours_evaluations=ours_count,
        peer_evaluations=peer_count,
        evaluations=ours_rows / peer_rows if peer_rows else None,
        difference=case.difference(ours, peer),
        goal=asdict(case.goal),
        reason=case.reason,
        note=case.note(ours, peer),
    )


def _counted(counter: Counter | None, work: Callable[[], Any]) -> tuple[Any, str, int]:
    """What the work found, the rows it took, and how many of them went forward."""
    if counter is None:
        return work(), "not counted", 0
    with counter.counting():
        result = work()
    return result, str(counter), counter.forward


def peak_memory(work: Callable[[], object], warm_ups: int) -> float:
    """MiB by which the process grows at most while `work` runs once more.

    The resident set's high-water mark, set back before the run (Linux); what earlier runs leave
    behind (compiled code, pages of libraries, weights in another layout) is not counted.
    """
    for _ in range(warm_ups):
        work()
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    work()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise RuntimeError(f"No {field} in /proc/self/status: memory is measured on Linux only.")


def load() -> str:
    return f"{os.getloadavg()[0]:.1f}"
