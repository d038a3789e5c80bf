"""A model held in inference mode for a call, and put back as it was."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_LOCK = threading.RLock()

_PATCHED = frozenset({"forward"})
"""Belongs to whoever watches layers return, who takes it off again."""


@dataclass
class _Held:
    """The attributes that parts of one model had before the first of the calls now running."""

    before: list[tuple[dict[str, Any], dict[str, Any]]]
    by_part: dict[int, dict[str, Any]] = field(default_factory=dict)
    calls: int = 0


_HELD: dict[int, _Held] = {}


def attributes_before(model: Any, part: Any) -> Mapping[str, Any]:
    """The attributes of a part of a model as the user left them, also while the model is held."""
    with _LOCK:
        held = _HELD.get(id(model))
        found = held.by_part.get(id(part)) if held is not None else None
        return dict(part.__dict__ if found is None else found)


@contextlib.contextmanager
def held_in_inference(
    model: Any,
    parts: Callable[[], Sequence[Any]],
    prepare: Callable[[Any], Mapping[str, Any]],
) -> Iterator[None]:
    """Set the attributes `prepare(part)` on each of `parts()`; restore every one that changed.

    Calls from several threads share one preparation: the first makes it, the last undoes it.
    """
    with _LOCK:
        held = _HELD.get(id(model))
        if held is None:
            found = parts()
            held = _Held([(part.__dict__, dict(part.__dict__)) for part in found])
            held.by_part = {
                id(part): before for part, (_, before) in zip(found, held.before, strict=True)
            }
            changes = [prepare(part) for part in found]
            _HELD[id(model)] = held
            for part, change in zip(found, changes, strict=True):
                part.__dict__.update(change)
        held.calls += 1
    try:
        yield
    finally:
        with _LOCK:
            held.calls -= 1
            if not held.calls:
                for attributes, before in held.before:
                    _restore(attributes, before)
                del _HELD[id(model)]


def _restore(attributes: dict[str, Any], before: Mapping[str, Any]) -> None:
    for name in attributes.keys() - before.keys() - _PATCHED:
        del attributes[name]
    for name, value in before.items():
        if name not in _PATCHED and attributes.get(name, _HELD) is not value:
            attributes[name] = value
