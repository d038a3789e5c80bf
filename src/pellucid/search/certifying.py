"""With which imputers to certify: others than the race's, and no finalist's own baseline."""

from collections.abc import Sequence

from pellucid.errors import InputError
from pellucid.inputs.layout import space_axes
from pellucid.methods.registry import make_method
from pellucid.search.space import Candidate
from pellucid.standard.imputers import default_names
from pellucid.standard.references import own_imputer

_SPATIAL, _FLAT = ("blur", "mean", "inpaint", "zeros"), ("mean", "zeros")


def imputers_of(
    given: Sequence[str] | None, dims: tuple[str, ...], rows: int
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """What to race with, what may certify, best first, and a remark.

    Raises `InputError` for an empty list.
    """
    names = default_names(dims, rows) if given is None else tuple(given)
    if not names:
        raise InputError("Expected imputers, or None for two that fit.")
    if given is None:
        others = _SPATIAL if space_axes(dims) else _FLAT
        names = tuple(dict.fromkeys((*names, *others)))
    if len(names) > 1:
        return names[:1], names[1:], ()
    note = f"Certified with the imputer of the race, {', '.join(names)}: no other is given."
    return names, names, (note,)


def own_of(candidate: Candidate) -> str | None:
    """The imputer that is the candidate's own baseline."""
    return own_imputer(
        candidate.method, make_method(candidate.method, candidate.parameters).parameters()
    )


def certifiers(
    allowed: Sequence[str], groups: Sequence[Sequence[Candidate]], *, all_of_them: bool
) -> tuple[str, ...]:
    """Those that are nobody's own baseline in the first of some groups that leaves any.

    The first one, or all that are left; what is allowed, whosever it is, where none is left.
    """
    for group in groups:
        taken = {own_of(candidate) for candidate in group}
        free = [name for name in allowed if name not in taken]
        if free:
            return tuple(free if all_of_them else free[:1])
    return tuple(allowed if all_of_them else allowed[:1])


def certified_by_own(candidates: Sequence[Candidate], imputers: Sequence[str]) -> tuple[str, ...]:
    """The names of those whose own baseline is among the certifying imputers."""
    return tuple(dict.fromkeys(c.name for c in candidates if own_of(c) in imputers))
