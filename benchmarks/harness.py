"""Peer and ours in one process, interleaved A-B-A-B: the ratio with its spread."""

import gc
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """peer seconds / our seconds: above 1 we are faster."""

    name: str
    peer: str
    ours_seconds: float
    peer_seconds: float
    median: float
    low: float
    high: float
    difference: float

    def row(self) -> str:
        return (
            f"| {self.name} | {self.peer} | {self.ours_seconds:.3f} | {self.peer_seconds:.3f} |"
            f" {self.median:.2f} [{self.low:.2f}..{self.high:.2f}] | {self.difference:.1e} |"
        )


def timed(work: Callable[[], object]) -> float:
    gc.collect()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(
    name: str,
    peer_name: str,
    ours: Callable[[], object],
    peer: Callable[[], object],
    difference: Callable[[], float],
    *,
    runs: int = 5,
) -> Ratio:
    """`runs` interleaved pairs after two warm-ups; `difference` compares the two results."""
    for _ in range(2):
        ours()
        peer()
    pairs = [(timed(ours), timed(peer)) for _ in range(runs)]
    ratios = sorted(b / a for a, b in pairs)
    return Ratio(
        name, peer_name,
        statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs),
        statistics.median(ratios), ratios[0], ratios[-1], difference(),
    )  # fmt: skip


def load() -> str:
    """The machine's load and our peak memory, to judge a table by."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, peak memory {peak:.0f} MiB"
