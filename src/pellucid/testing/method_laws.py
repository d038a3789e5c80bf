"""The laws of a method, each tried on a tiny model."""

import gc
import itertools
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError, PellucidError
from pellucid.explain import explain
from pellucid.explanation import Explanation
from pellucid.methods.base import Method
from pellucid.model import Model, wrap
from pellucid.testing.laws import Broken, Skipped, require, require_close
from pellucid.testing.spy import SpyAdapter
from pellucid.testing.tiny import build


@dataclass
class MethodCase:
    """A method by its name, and the tiny model it is tried on."""

    name: str
    cls: type[Method]
    framework: str
    tiny: str
    parameters: Callable[[Any], Mapping[str, Any]]

    @cached_property
    def model(self) -> Model:
        return wrap(build(self.tiny, self.framework)[0])

    @cached_property
    def x(self) -> np.ndarray:
        return build(self.tiny, self.framework)[1]  # type: ignore[return-value]

    @cached_property
    def whole(self) -> Explanation:
        """All samples in one go, each for the class it is predicted to be."""
        return self.explain(self.x)

    def explain(self, x: Any, *, model: Any = None, **options: Any) -> Explanation:
        """The method with the parameters of the check, on a copy of some samples."""
        given = {**self.parameters(self.x.copy()), **options}
        return explain(self.model if model is None else model, x.copy(), self.name, **given)


def maps_are_raw(case: MethodCase) -> None:
    """Finite float32 maps of samples that differ, not scaled each to a range of its own."""
    for part in case.whole.parts:
        values = part.values
        require(values.dtype == np.float32, f"the maps are {values.dtype}, not float32.")
        require(np.isfinite(values).all(), "the maps hold NaN or infinity.")
        flat = values.reshape(len(values), -1)
        low, high = flat.min(axis=1), flat.max(axis=1)
        require(
            not ((np.abs(low) < 1e-7).all() and (np.abs(high - 1) < 1e-7).all()),
            "every map runs from exactly 0 to exactly 1: it was normalised, which is for pictures.",
        )


def a_sample_does_not_know_its_batch(case: MethodCase) -> None:
    """Alone, in another order, and in micro-batches of other sizes, a sample has the same map."""
    whole = case.whole.values
    targets = case.whole.target
    for row in (0, len(whole) - 1):
        alone = case.explain(case.x[row : row + 1], target=int(targets[row]))
        require_close(alone.values[0], whole[row], f"sample {row} alone has another map", 1e-5)
    for size in (1, 2, len(whole)):
        parts = case.explain(case.x, batch_size=size)
        require_close(parts.values, whole, f"in batches of {size} the maps are others", 1e-5)
    order = np.arange(len(whole))[::-1]
    turned = case.explain(np.ascontiguousarray(case.x[order]))
    require_close(turned.values[order], whole, "in another order the maps are others", 1e-5)


def the_seed_decides(case: MethodCase) -> None:
    """The same seed gives the same bits, and NumPy's global generator is not asked."""
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]
    # A fixed size: "auto" is timed, and another size may round the last bit differently.
    first, again = (case.explain(case.x, seed=3, batch_size=4) for _ in range(2))
    require(np.array_equal(first.values, again.values), "the same seed gave other numbers.")
    after = np.random.get_state()[1]  # type: ignore[index]
    require(np.array_equal(before, after), "NumPy's global random state was drawn from.")


def what_the_user_has_is_as_it_was(case: MethodCase) -> None:
    """Arrays, outputs and weights are the same after an explanation."""
    given, before = case.x.copy(), case.model.predict(case.x)
    name = case.model.fingerprint()
    explain(case.model, given, case.name, **case.parameters(case.x.copy()))
    require(np.array_equal(given, case.x), "the user's array was written to.")
    _require_as_before(case, before, name, "after an explanation")


def an_exception_leaves_nothing_behind(case: MethodCase) -> None:
    """A target that raises, the first time it is asked or later, changes nothing."""
    before, name = case.model.predict(case.x), case.model.fingerprint()
    raised = 0
    for allowed in (0, 1, 2):
        calls = []

        def fails(outputs: Any, calls: list[int] = calls, allowed: int = allowed) -> Any:
            calls.append(1)
            if len(calls) > allowed:
                raise ArithmeticError("a target that fails")
            return outputs[:, 0]

        try:
            case.explain(case.x, target=fails)
        except (PellucidError, ArithmeticError):
            raised += 1
        _require_as_before(case, before, name, "after an exception")
    require(raised > 0, "an exception of the target was swallowed.")
    again = case.explain(case.x)
    require_close(again.values, case.whole.values, "after an exception the maps are others", 1e-5)


def _require_as_before(case: MethodCase, before: np.ndarray, name: str, when: str) -> None:
    require_close(case.model.predict(case.x), before, f"{when} the model gives other outputs", 3e-6)
    require(case.model.fingerprint() == name, f"{when} the model has another fingerprint.")


def evaluations_are_those_of_the_model(case: MethodCase) -> None:
    """What the explanation says was evaluated is what a spy counted at the model."""
    spy = SpyAdapter(case.model.adapter)
    e = case.explain(case.x, model=replace(case.model, adapter=spy))
    said, counted = tuple(e.evaluations), tuple(spy.counts)
    require(
        said == counted,
        f"{said} evaluations (forward, backward, suffix) are reported, {counted} were made.",
    )


def completeness_is_kept(case: MethodCase) -> None:
    """Where Σ values = f(x) − f(x') is claimed, the gap is reported and small.

    Of a method whose layers keep shares for their biases it is reported.
    """
    if not case.cls.claims_completeness:
        raise Skipped("the method does not claim completeness")
    e = case.whole
    require(e.gap is not None, "completeness is claimed and no gap is reported.")
    total = sum(p.values.reshape(len(p.values), -1).sum(axis=1, dtype=np.float64) for p in e.parts)
    rise = np.asarray(e.score, np.float64) - np.asarray(e.baseline_score, np.float64)
    gap = np.abs(total - rise) / np.maximum(np.abs(rise), 1e-6)
    require_close(gap + 1, np.asarray(e.gap) + 1, "the gap reported is not that of the map", 1e-3)
    if case.cls.shares_with_biases:  # what they keep is in the gap, and right to be there
        return
    sampled = any(p.stderr is not None for p in e.parts)
    limit = 1.0 if sampled else 0.05
    require(gap.max() <= limit, f"the map misses f(x) − f(x') by {gap.max():.1%} of it.")


def several_inputs_have_a_map_each(case: MethodCase) -> None:
    """Two inputs: two maps of their shapes, that of a layer alone, or a refusal that says why."""
    model, x = build("two_inputs", case.framework)
    try:
        given = {**case.parameters(x)}
        e = explain(model, x, case.name, **given)
    except CapabilityError as reason:
        raise Skipped(f"the method refuses several inputs: {reason}") from reason
    if case.cls.always_at_layer:
        require(len(e.parts) == 1, f"one layer has {len(e.parts)} maps.")
        return
    require(len(e.parts) == 2, f"two inputs have {len(e.parts)} maps.")
    for part, leaf in zip(e.parts, x, strict=True):
        require(
            part.values.shape[:1] == leaf.shape[:1] and np.isfinite(part.values).all(),
            "an input of several has no finite map a sample.",
        )


def a_missing_tier_is_refused(case: MethodCase) -> None:
    """A model that gives too little is refused before it is run."""
    if case.cls.needs == Tier.CALLABLE:
        raise Skipped("the method works on every model")
    calls = []

    def function(x: np.ndarray) -> np.ndarray:
        calls.append(1)
        return x.reshape(len(x), -1)[:, :3]

    try:
        case.explain(build(case.tiny, "numpy")[1], model=function)
    except CapabilityError:
        require(not calls, "a model that gives too little was run before it was refused.")
        return
    raise Broken("a plain function, which gives too little, was not refused by CapabilityError.")


def nothing_stays_in_memory(case: MethodCase) -> None:
    """After some calls to warm up, more calls leave nothing behind."""
    for _ in range(3):
        case.explain(case.x)
    gc.collect()
    tracemalloc.start()
    try:
        held = []
        for _ in range(3):
            for _ in range(3):
                case.explain(case.x)
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    grown = min(b - a for a, b in itertools.pairwise(held)) / 3
    limit = max(20_000, 2 * case.x.nbytes)
    require(grown < limit, f"each call leaves {grown / 1000:.0f} kB behind.")


LAWS = (
    maps_are_raw,
    a_sample_does_not_know_its_batch,
    the_seed_decides,
    what_the_user_has_is_as_it_was,
    an_exception_leaves_nothing_behind,
    evaluations_are_those_of_the_model,
    completeness_is_kept,
    several_inputs_have_a_map_each,
    a_missing_tier_is_refused,
    nothing_stays_in_memory,
)
"""In the order in which they are tried."""
