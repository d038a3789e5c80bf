"""How far an explanation is, for a person at a terminal."""

import sys
import time
from typing import TextIO

_EVERY = 0.1
"""Seconds between two looks of the line."""
_WIDTH = 30


class ProgressBar:
    """One line on stderr: evaluations done of all there are, and the time left.

    Called as `bar(done, total)`; `close()` ends the line. Time left is what the evaluations that
    are missing take at the mean speed so far, the time until the first call included.
    """

    def __init__(self, title: str, stream: TextIO | None = None) -> None:
        self._title = title
        self._stream = sys.stderr if stream is None else stream
        self._began = time.perf_counter()
        self._last = -float("inf")
        self._length = 0

    def __call__(self, done: int, total: int) -> None:
        now = time.perf_counter()
        if now - self._last < _EVERY and done < total:
            return
        self._last = now
        filled = _WIDTH * done // max(total, 1)
        left = (now - self._began) * (total - done) / max(done, 1)
        line = (
            f"{self._title} |{'█' * filled}{' ' * (_WIDTH - filled)}| {done:,} of {total:,}"
            f" evaluations, {duration(left)} left"
        )
        self._stream.write("\r" + line.ljust(self._length))
        self._stream.flush()
        self._length = len(line)

    def close(self) -> None:
        """End the line, if anything was written."""
        if self._length:
            self._stream.write("\n")
            self._stream.flush()
            self._length = 0


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(0.4), duration(75), duration(7300)
    ('0 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
