"""How much memory a piece of work takes at its peak, in this process."""

import ctypes
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def peak_growth(work: Callable[[], Any]) -> float:
    """Bytes by which the resident memory grows at most while `work` runs; NaN where none is told.

    The system's high-water mark is set back first, and freed memory that the allocator kept is
    given back, so that work which reuses it is seen. Linux only.
    """
    before = _start()
    work()
    if before is None:
        return float("nan")
    return max(float(_status("VmHWM") - before), 0.0)


def _start() -> int | None:
    """The resident memory, with the high-water mark set back to it; None where none is told."""
    try:
        RESET.write_text("5")
    except OSError:
        return None
    with suppress(AttributeError):  # an allocator that gives nothing back
        ctypes.CDLL(None).malloc_trim(0)
    RESET.write_text("5")
    return _status("VmRSS")


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} does not tell {name}.")
    return int(found.group(1)) * 1024
