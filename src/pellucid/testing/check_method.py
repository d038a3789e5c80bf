"""The conformance suite for methods: the laws every explanation keeps, tried on one method."""

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pellucid.adapters.protocol import Tier
from pellucid.errors import CapabilityError, MethodError
from pellucid.methods import registry
from pellucid.methods.base import Method
from pellucid.testing.laws import Report, try_laws
from pellucid.testing.method_laws import LAWS, MethodCase

INSTALLED_FIRST = ("torch", "tensorflow", "jax")


def check_method(
    method: str | type[Method] | Callable[..., Any],
    *,
    framework: str | None = None,
    model: str | None = None,
    parameters: Mapping[str, Any] | Callable[[Any], Mapping[str, Any]] | None = None,
) -> Report:
    """Every law of methods, tried on one: which hold, which do not apply, which are broken.

    `method` is a name, a `Method` class, or a function `(model, x, target, ...)`, which need not
    be registered. It is tried on what it declares (`register_method(..., modalities={"table"},
    several_inputs=True)`): the tiny model "dense" for methods of tables, "vit" for those of
    attention, "cnn" for images and all others, and one with two inputs unless it takes only one;
    `model` names another of `pellucid.testing.NAMES`. The `framework` is plain NumPy where the
    method says that it needs no gradient, else the first installed of torch, TensorFlow and JAX.
    `parameters` are the method's, small ones to keep it short, or a function of the batch that
    returns them (for a background, say).

    The laws: raw float32 maps; the same numbers for a sample alone, in any batch and any order;
    the same bits from the same seed; the user's arrays, NumPy's random state and the model as they
    were, also after an exception; evaluations as counted at the model; completeness where it is
    claimed; several inputs; a missing tier refused before any work; nothing left in memory.

    Returns a `Report`; raises `ConformanceError` (an `AssertionError`) with a sentence for each
    law that is broken. Needs no test framework.

    >>> from pellucid.testing import check_method
    >>> report = check_method("occlusion", parameters={"window": 4})
    >>> "evaluations_are_those_of_the_model" in report.passed, sorted(report.broken)
    (True, [])
    """
    with _named(method) as name:
        cls = registry.method_class(name)
        chosen = framework or _framework(cls)
        tiny = model or _tiny(cls)
        given = (lambda x: parameters) if isinstance(parameters, Mapping) else parameters
        case = MethodCase(name, cls, chosen, tiny, given or (lambda x: {}))
        report = try_laws(f"{name} on {chosen}", LAWS, case)
    report.raise_if_broken()
    return report


def _tiny(cls: type[Method]) -> str:
    """A tiny model with inputs of a kind that the method works on."""
    if cls.needs_attention:
        return "vit"
    if not cls.modalities or "image" in cls.modalities:
        return "cnn"
    if "table" in cls.modalities:
        return "dense"
    raise CapabilityError(
        f"{cls.name} works on inputs of the kinds {', '.join(sorted(cls.modalities))}, and the tiny"
        " models take images and tables.\n  A method that works on any of these can be checked."
    )


def _framework(cls: type[Method]) -> str:
    if cls.needs == Tier.CALLABLE:
        return "numpy"
    for name in INSTALLED_FIRST:
        if importlib.util.find_spec(name) is not None:
            return name
    raise CapabilityError(
        f"{cls.name} needs gradients, and none of {', '.join(INSTALLED_FIRST)} is installed.\n"
        "  Run: pip install 'pellucid[torch]'"
    )


@contextmanager
def _named(method: Any) -> Iterator[str]:
    """The method under a registered name, for as long as it is checked."""
    if isinstance(method, str):
        yield method
        return
    if not callable(method):
        raise MethodError(
            f"Expected a method's name, class or function, got a {type(method).__name__}."
        )
    known = registry.registered_name(method)
    if known is not None:
        yield known
        return
    own = getattr(method, "name", None) or getattr(method, "__name__", "method")
    name = f"checked_{re.sub(r'[^0-9a-zA-Z_]', '_', str(own))}"
    needs = getattr(method, "needs", Tier.CALLABLE)
    register = registry.register_method(name, needs=needs)
    before = vars(method).get("name") if isinstance(method, type) else None
    register(method)
    try:
        yield name
    finally:
        registry.unregister_method(name)
        if isinstance(method, type) and before is not None:
            method.name = before
