"""Every registered method on one model: what must hold, whatever the model is."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import pellucid
from pellucid import explain, wrap
from pellucid.methods.registry import takes_parameter

CHEAP = {
    "steps": 3, "samples": 4, "masks": 8, "fraction": 0.1, "draws": 3, "window": 24, "stride": 24,
    "features": "grid:2", "budget": 20,
}  # fmt: skip
"""Parameters by name, given to each method that takes one of that name."""

MAY_BE_ZERO = frozenset({"constant", "edges"})


def names() -> list[str]:
    """The methods for images, left out those of attention and a user's own of other tests."""
    others = {"custom", "attention"}
    return [row["name"] for row in pellucid.methods("image") if row["family"] not in others]


def cheap(method: str) -> dict[str, Any]:
    return {name: value for name, value in CHEAP.items() if takes_parameter(method, name)}


@contextmanager
def unchanged(state: Callable[[], dict[str, Any]]) -> Iterator[None]:
    """What `state` tells of a model, and the random state of NumPy, are the same afterwards."""
    before, drawn = state(), np.random.get_state()[1].tobytes()
    yield
    after = state()
    assert np.random.get_state()[1].tobytes() == drawn, "NumPy's random state moved"
    assert list(after) == list(before)
    moved = [name for name in before if not _same(before[name], after[name])]
    assert not moved, f"changed by explaining: {moved[:5]}"


def _same(a: Any, b: Any) -> bool:
    return np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b


def check_every_method(
    model: Any,
    x: Any,
    state: Callable[[], dict[str, Any]],
    *,
    outputs: Callable[[], np.ndarray] | None = None,
    **options: Any,
) -> dict[str, pellucid.Explanation]:
    """Run every method that the model can take; whole maps, finite, and a model left alone."""
    wrapped = wrap(model, **options)
    found = {}
    for method in names():
        with unchanged(state):
            e = explain(wrapped, x, method, **cheap(method))
        values = e.values
        assert values.dtype == np.float32
        assert len(values) == len(x)
        assert np.isfinite(values).all(), f"{method}: not finite"
        if method not in MAY_BE_ZERO:
            empty = [i for i, v in enumerate(values) if not v.any()]
            if e.parameters.get("relu") and len(empty) < len(values):
                # Evidence against the class everywhere: random weights may find that for a sample.
                signed = explain(wrapped, x, method, **cheap(method), relu=False).values
                empty = [i for i, v in enumerate(signed) if not v.any()]
            assert not empty, f"{method}: nothing at all for the samples {empty}"
        if e.gap is not None:
            assert np.isfinite(e.gap).all(), f"{method}: no completeness gap"
        found[method] = e
    return found
