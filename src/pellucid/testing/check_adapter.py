"""The conformance suite for adapters: what every method relies on, tried on one of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from pellucid.adapters.protocol import Adapter, Operation, Tier
from pellucid.errors import InputError
from pellucid.model import Model
from pellucid.testing import adapter_laws, inside_laws
from pellucid.testing.adapter_case import AdapterCase
from pellucid.testing.laws import Broken, Report, Skipped, require, require_close, try_laws
from pellucid.types import Array


def check_adapter(
    adapter: Adapter | Model | Callable[[], Adapter],
    x: Any,
    *,
    call: Callable[[Any], Any] | None = None,
    state: Callable[[], Any] | None = None,
    change_weights: Callable[[], Any] | None = None,
) -> Report:
    """Every law of adapters, tried on one: which hold, which do not apply, which are broken.

    `adapter` is an adapter, a `Model`, or a function that makes one; `x` a batch of at least two
    samples as a user would pass it, away from kinks and switches. What only you can do is asked of
    you: `call(x)` runs the model itself, `state()` returns numbers, strings or arrays that tell
    whether the model is as it was (its mode, weights, hooks), `change_weights()` trains it a
    little; without them, the laws about them are skipped. Laws about tiers beyond
    `adapter.supports` are skipped too.

    Returns a `Report`; raises `ConformanceError` (an `AssertionError`) with a sentence for each
    law that is broken. Needs no test framework.

    >>> from pellucid.adapters.callable import CallableAdapter
    >>> from pellucid.testing import check_adapter
    >>> function = lambda x: x @ w
    >>> report = check_adapter(CallableAdapter(function), np.ones((3, 2)), call=function)
    >>> "a_run_is_the_model" in report.passed, sorted(report.broken)
    (True, [])
    """
    made = adapter if isinstance(adapter, Adapter | Model) or not callable(adapter) else adapter()
    made = made.adapter if isinstance(made, Model) else made
    if not isinstance(made, Adapter):
        raise InputError(
            f"Expected an Adapter, a Model or a function that makes one, got {type(made).__name__}."
        )
    case = AdapterCase(made, x, call, state, change_weights)
    case.before = None if state is None else _copied(state())
    report = try_laws(f"{type(made).__name__} of {made.framework}", LAWS, case)
    report.raise_if_broken()
    return report


def threads_get_the_serial_numbers(case: AdapterCase) -> None:
    """Eight threads with one model give the numbers of one."""
    deep = case.adapter.supports >= Tier.DIFFERENTIABLE and bool(case.floats)
    batches = [[np.roll(a, k, axis=0) for a in case.arrays] for k in range(8)]

    def work(batch: list[np.ndarray]) -> list[np.ndarray]:
        leaves = case.native(batch)
        found = case.run(leaves)
        return [*found, *case.gradient(leaves)[1]] if deep else found

    serial = [work(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, batches))
    for one, other in zip(together, serial, strict=True):
        for a, b in zip(one, other, strict=True):
            require_close(a, b, "eight threads give other numbers than one after another", 1e-5)


class _Raised(Exception):  # noqa: N818 - stands for whatever a user's code may raise
    """Raised in the middle of the model's work, to see what is left behind."""


def an_exception_leaves_nothing_behind(case: AdapterCase) -> None:
    """An exception in the middle comes out as it is; the model is as before."""
    case.needs(Tier.DIFFERENTIABLE)
    a, before, name = case.adapter, case.run(), case.adapter.fingerprint()

    def fails(v: Any) -> Any:
        a.run(v)
        raise _Raised

    attempts = [lambda: a.vjp(fails, case.leaves)]
    if a.supports >= Tier.TRANSPARENT:
        attempts.append(lambda: a.run(case.leaves, intercept=_raise))
        paths = [c.path for c in a.layers(case.leaves)][-1:]
        attempts.append(lambda: a.run(case.leaves, intercept=_raise, layers=paths))
    for attempt in attempts:
        try:
            attempt()
        except _Raised:
            pass
        except Exception as error:
            raise Broken(f"an exception came out as a {type(error).__name__}.") from error
        else:
            raise Broken("an exception in the middle of the work was swallowed.")
        for one, other in zip(case.run(), before, strict=True):
            require_close(one, other, "after an exception the model gives other outputs", 3e-6)
        require(a.fingerprint() == name, "after an exception the model has another fingerprint.")
        _require_state(case, "after an exception")


def _raise(op: Operation) -> Array:
    raise _Raised


def the_model_is_as_it_was(case: AdapterCase) -> None:
    """What `state()` says is the same before and after."""
    if case.state is None:
        raise Skipped("no `state` was given to look at")
    _require_state(case, "after all that was done to it")


def _require_state(case: AdapterCase, when: str) -> None:
    if case.state is not None:
        same = _same(case.before, case.state())
        require(same, f"{when} the model's state is another one.")


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(_same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))


def _copied(a: Any) -> Any:
    if isinstance(a, dict):
        return {key: _copied(value) for key, value in a.items()}
    if isinstance(a, list | tuple):
        return [_copied(value) for value in a]
    return np.array(a)


def a_fingerprint_names_the_weights(case: AdapterCase) -> None:
    """Last, for it changes the model."""
    before = case.adapter.fingerprint()
    require(isinstance(before, str) and before, "the fingerprint is not a string.")
    require(case.adapter.fingerprint() == before, "the fingerprint changes from call to call.")
    if case.change_weights is None:
        raise Skipped("it is stable; no `change_weights` was given to see it change")
    outputs = case.run()
    case.change_weights()
    require(case.adapter.fingerprint() != before, "other weights have the same fingerprint.")
    moved = any(not np.array_equal(a, b) for a, b in zip(case.run(), outputs, strict=True))
    require(moved, "after its weights changed, the model gives the outputs of before.")


LAWS = (
    adapter_laws.facts_are_stated,
    adapter_laws.arrays_go_and_come_back,
    adapter_laws.accept_and_restore_are_a_round_trip,
    adapter_laws.a_run_is_the_model,
    adapter_laws.a_run_can_be_repeated,
    adapter_laws.a_sample_does_not_know_its_batch,
    adapter_laws.a_peeled_end_can_be_put_back,
    adapter_laws.missing_tiers_are_refused,
    adapter_laws.a_gradient_is_the_derivative,
    adapter_laws.a_pullback_can_be_called_again,
    adapter_laws.what_is_not_used_has_a_zero_gradient,
    adapter_laws.stop_gradient_stops,
    adapter_laws.custom_vjp_is_obeyed,
    inside_laws.layers_have_one_path_a_call,
    inside_laws.operations_are_listed,
    inside_laws.looking_changes_nothing,
    inside_laws.a_patched_layer_is_obeyed,
    inside_laws.a_cut_is_the_model,
    inside_laws.a_cut_takes_variants,
    inside_laws.a_zero_probe_finds_the_gradient_at_a_layer,
    inside_laws.weights_are_those_of_the_run,
    threads_get_the_serial_numbers,
    an_exception_leaves_nothing_behind,
    the_model_is_as_it_was,
    a_fingerprint_names_the_weights,
)
"""In the order in which they are tried."""
