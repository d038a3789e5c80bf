"""How a conformance suite is run: laws with names, and what came of each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pellucid.errors import ConformanceError


class Broken(Exception):  # noqa: N818 - control flow: a law says how it is broken
    """Raised inside a law: the sentence is for the author of what is checked."""


class Skipped(Exception):  # noqa: N818 - control flow: a law says why it does not apply
    """Raised inside a law that does not apply: the sentence says why."""


@dataclass(frozen=True)
class Finding:
    """What came of one law: `status` is "passed", "skipped" or "broken"."""

    law: str
    status: str
    reason: str = ""


@dataclass(frozen=True)
class Report:
    """What came of all laws, in the order in which they were tried."""

    subject: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> tuple[str, ...]:
        """The laws that hold."""
        return tuple(f.law for f in self.findings if f.status == "passed")

    @property
    def skipped(self) -> dict[str, str]:
        """The laws that do not apply here, each with the reason."""
        return {f.law: f.reason for f in self.findings if f.status == "skipped"}

    @property
    def broken(self) -> dict[str, str]:
        """The laws that are broken, each with a sentence that says how."""
        return {f.law: f.reason for f in self.findings if f.status == "broken"}

    def __str__(self) -> str:
        """One line a law."""
        lines = [f"{self.subject}: {len(self.passed)} laws hold, {len(self.broken)} are broken"]
        lines += [f"  {f.status:8}{f.law}{': ' * bool(f.reason)}{f.reason}" for f in self.findings]
        return "\n".join(lines)

    def raise_if_broken(self) -> None:
        """Raise `ConformanceError` with a sentence for each broken law, if there is one."""
        if self.broken:
            sentences = "\n".join(f"  {law}: {reason}" for law, reason in self.broken.items())
            raise ConformanceError(
                f"{self.subject} breaks {len(self.broken)} of {len(self.findings)} laws.\n"
                f"{sentences}"
            )


Law = Callable[[Any], None]


def try_laws(subject: str, laws: Iterable[Law], case: Any) -> Report:
    """Every law tried on the case; an exception other than ours breaks the law it comes from."""
    findings = []
    for law in laws:
        name = law.__name__.strip("_")
        try:
            law(case)
        except Skipped as reason:
            findings.append(Finding(name, "skipped", str(reason)))
        except Broken as reason:
            findings.append(Finding(name, "broken", str(reason)))
        except Exception as error:
            first = str(error).strip().split("\n")[0][:300]
            findings.append(Finding(name, "broken", f"it raised {type(error).__name__}: {first}"))
        else:
            findings.append(Finding(name, "passed"))
    return Report(subject, tuple(findings))


def require(holds: Any, sentence: str) -> None:
    """Raise `Broken` with the sentence unless it holds."""
    if not holds:
        raise Broken(sentence)


def require_close(found: Any, expected: Any, sentence: str, allowed: float = 1e-4) -> None:
    """Raise `Broken` unless two arrays agree within `allowed` of the larger one's maximum."""
    a, b = np.asarray(found, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    require(a.shape == b.shape, f"{sentence}: the shapes are {a.shape} and {b.shape}.")
    require(np.isfinite(a).all() and np.isfinite(b).all(), f"{sentence}: there is NaN or infinity.")
    if a.size:
        scale = max(np.abs(a).max(), np.abs(b).max(), 1e-30)
        worst = float(np.abs(a - b).max() / scale)
        require(worst <= allowed, f"{sentence}: they differ by {worst:.1e} of the maximum.")
