"""Every error pellucid raises on purpose: what was expected, what came, what to do."""

import difflib
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pellucid.explanation import Explanation


class PellucidError(Exception):
    """The root of all errors below, for callers who want one `except`.

    `partial` is the explanation of the samples that had values by then, where a method that
    goes from sample to sample was interrupted, else None.
    """

    partial: "Explanation | None" = None


class CapabilityError(PellucidError):
    """The model cannot do what the method needs; the message names a method that can."""


class CoverageError(CapabilityError):
    """An operation on the path from input to output has no rule."""


class TargetError(PellucidError, ValueError):
    """The target names no output of this model."""


class InputError(PellucidError, ValueError):
    """An input or a parameter has the wrong shape, type or values."""


class LayerError(InputError):
    """The layer is not one of this model's, or not one the method can use."""


class MethodError(InputError):
    """No method of this name is registered, or it takes no such parameter."""


class ModelError(PellucidError, RuntimeError):
    """The user's model raised, or returned something that cannot be explained."""


class BudgetError(PellucidError):
    """What was asked takes more evaluations of the model than were allowed."""


class ConformanceError(PellucidError, AssertionError):
    """An adapter or a method breaks laws of the conformance suite; one sentence for each."""


class LoadError(PellucidError, ValueError):
    """A file is not what it claims to be, is damaged, or cannot be read or written."""


class UnsafeModelError(PellucidError):
    """Loading this file could run code that came with it, and nobody vouched for it."""


class MissingExtraError(PellucidError, ImportError):
    """An optional dependency is absent; the message holds the exact `pip install`."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package = package
        self.extra = extra
        super().__init__(
            f"{purpose} needs {package}, which is not installed.\n"
            f"  Run: pip install 'pellucid[{extra}]'"
        )


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names most like `name`, best first, for the second line of an error."""
    by_folded: dict[str, str] = {}
    for candidate in known:
        by_folded.setdefault(_folded(candidate), candidate)
        # The first of several synonyms, as ImageNet's names have them, is what people type.
        by_folded.setdefault(_folded(candidate.partition(",")[0]), candidate)
    folded = _folded(name)
    words = [c for c in by_folded.values() if folded in map(_folded, re.split(r"[\s,]+", c))]
    close = difflib.get_close_matches(folded, by_folded, n=2 * count, cutoff=0.6)
    inside = [
        k for k in by_folded if len(folded) > 2 and len(k) > 2 and (folded in k or k in folded)
    ]
    nearest_first = [*words, *(by_folded[k] for k in close), *(by_folded[k] for k in inside)]
    return list(dict.fromkeys(nearest_first))[:count]


def _folded(name: str) -> str:
    return name.casefold().replace("_", "").replace(" ", "").replace("-", "")


def quote_nearest(name: str, known: Iterable[str]) -> str:
    """`Nearest: "a", "b".` or an empty string where nothing is near."""
    names = nearest(name, known)
    return f"Nearest: {', '.join(repr(n) for n in names)}." if names else ""


def quote_close(name: str, known: Iterable[str], count: int = 5) -> str:
    """As `quote_nearest`; where nothing is near, the few known names that come closest."""
    names = [n for n in dict.fromkeys(known) if n]
    found = quote_nearest(name, names)
    if found or not names:
        return found
    by_folded = {_folded(n): n for n in reversed(names)}
    close = difflib.get_close_matches(_folded(name), by_folded, n=count, cutoff=0.0)
    head = "There are" if len(close) == len(names) else "Among them are"
    return f"{head} {', '.join(repr(by_folded[n]) for n in close)}."
