"""Peer and ours in one process, interleaved A-B-A-B: the ratio with its spread.

A workload is a generator of `Case`s. Time, evaluations and memory are measured in three passes,
so that none disturbs another: pairs of runs against the clock; one run of each with the model
counted; and, in a process of its own for either side, one run watched for its memory.
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

HEADER = (
    "| workload | peer | ours, s | peer, s | peer ÷ ours, median [min..max]"
    " | evaluations, ours / peer | peak memory, ours / peer | difference | goal | notes |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


class Counter:
    """Rows that went through the model, forward and backward; off while the clock runs."""

    def __init__(self) -> None:
        self.on = False
        self.forward = self.backward = 0

    @contextmanager
    def counting(self) -> Iterator[None]:
        self.on, self.forward, self.backward = True, 0, 0
        try:
            yield
        finally:
            self.on = False

    def __str__(self) -> str:
        return f"{self.forward} f + {self.backward} b"


@dataclass(frozen=True)
class Case:
    """One line of the table. `ours` and `peer` do the whole work and return what they found.

    `counter` counts the rows of the model both use; None where only pellucid counts.
    `difference` compares the two results; `note` is a remark made of them. `goal` is words.
    """

    name: str
    peer_name: str
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    difference: Callable[[Any, Any], float]
    counter: Counter | None = None
    note: Callable[[Any, Any], str] = lambda ours, peer: ""
    goal: str = ""
    runs: int = 5
    memory: bool = True


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
    ours_evaluations: str
    peer_evaluations: str
    difference: float
    goal: str
    note: str

    def row(self, ours_memory: float | None, peer_memory: float | None) -> str:
        both = ours_memory is not None and peer_memory is not None
        memory = "–"
        if both:
            share = f" ({ours_memory / peer_memory:.2f})" if peer_memory > 1 else ""
            memory = f"{ours_memory:.0f} / {peer_memory:.0f} MiB{share}"
        return (
            f"| {self.name} | {self.peer} | {self.ours_seconds:.3f} | {self.peer_seconds:.3f} |"
            f" {self.ratio:.2f} [{self.low:.2f}..{self.high:.2f}] |"
            f" {self.ours_evaluations} / {self.peer_evaluations} | {memory} |"
            f" {self.difference:.1e} | {self.goal or '–'} | {self.note or '–'} |"
        )

    def record(self) -> dict[str, Any]:
        return asdict(self)


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(case: Case) -> Line:
    """Two warm-ups, `runs` interleaved pairs, and a counted run of each."""
    for _ in range(2):
        case.ours()
        case.peer()
    pairs = [(timed(case.ours), timed(case.peer)) for _ in range(case.runs)]
    ratios = sorted(b / a for a, b in pairs)
    ours, ours_count = _counted(case.counter, case.ours)
    peer, peer_count = _counted(case.counter, case.peer)
    return Line(
        name=case.name,
        peer=case.peer_name,
        ours_seconds=statistics.median(a for a, _ in pairs),
        peer_seconds=statistics.median(b for _, b in pairs),
        ratio=statistics.median(ratios),
        low=ratios[0],
        high=ratios[-1],
        ours_evaluations=ours_count,
        peer_evaluations=peer_count,
        difference=case.difference(ours, peer),
        goal=case.goal,
        note=case.note(ours, peer),
    )


def _counted(counter: Counter | None, work: Callable[[], Any]) -> tuple[Any, str]:
    if counter is None:
        return work(), "not counted"
    with counter.counting():
        result = work()
    return result, str(counter)


def peak_memory(work: Callable[[], object]) -> float:
    """MiB by which the process grows at most while `work` runs a second time.

    The resident set's high-water mark, set back before the run (Linux); what the first run
    leaves behind (compiled code, pages of libraries, weights in another layout) is not counted.
    """
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
