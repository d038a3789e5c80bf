"""The methods by name, and how a user's own becomes one of them."""

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import EntryPoint, entry_points
from types import NoneType
from typing import Any, ClassVar, TypeVar, cast, get_args, get_type_hints

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.errors import MethodError, PellucidError, quote_nearest
from pellucid.inputs.layout import KINDS
from pellucid.methods.background import named_as_dataset
from pellucid.methods.base import Attribution, Method
from pellucid.methods.view import ModelView
from pellucid.task import Task

F = TypeVar("F")

_REGISTERED: dict[str, type[Method]] = {}
_BUILT_IN: set[str] = set()
_ENTRY_POINTS_READ: list[bool] = []


def register_method(
    name: str,
    *,
    family: str = "custom",
    needs: str | Tier = Tier.CALLABLE,
    modalities: str | Collection[str] = (),
    several_inputs: bool = False,
    cost: str = "",
    source: str = "",
) -> Callable[[F], F]:
    """Make a function or a `Method` class known by `name`, everywhere methods are named.

    A function is called as `function(model, x, target, **parameters)`: `model` a `ModelView`,
    `x` the NumPy batch `(n, ...)`, `target` the explained classes `(n,)` (None for a callable
    target). It returns an array with one map a sample, of x's shape or of its spatial axes. Its
    further arguments are the method's parameters; one called `seed` is given the seed of
    `explain`.

    `needs` is what the model must give: "callable", "differentiable" (for `model.gradient`),
    "transparent" or "trainable". `modalities` are the kinds of input that the function works on,
    of "image", "series", "volume", "table" and "array"; none says all. With `several_inputs`, `x`
    is a tuple where the model has more than one input, and a tuple of maps comes back. What does
    not fit is refused before the model is run. A class says all this in its attributes.

    A name that another function of yours has is taken over, with a `UserWarning`; defining the
    same function again, as a notebook does, is no such case.

    Raises `MethodError` for a name that is taken by a built-in method, or is no identifier, and
    for kinds of input that there are not.

    >>> @register_method("my_gradient")
    ... def my_gradient(model, x, target, power=1.0):
    ...     return model.gradient(x) * abs(x) ** power
    >>> explain(model, x, "my_gradient", power=2.0).values.shape == x.shape
    True
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise MethodError(f"A method's name is an identifier such as 'my_method', got {name!r}.")
    if name in _BUILT_IN:
        raise MethodError(f"{name!r} is a built-in method; choose another name.")
    declared = {
        "family": family,
        "needs": _tier(needs),
        "modalities": _kinds_of_input(modalities),
        "several_inputs": bool(several_inputs),
        "cost": cost,
        "source": source,
    }

    def register(method: F) -> F:
        if isinstance(method, type) and issubclass(method, Method):
            frozen = getattr(method, "__dataclass_params__", None)
            if "__dataclass_params__" not in vars(method) or frozen is None or not frozen.frozen:
                raise MethodError(
                    f"{method.__name__} must be a frozen dataclass: put @dataclass(frozen=True)"
                    " under @register_method(...)."
                )
            cls = cast("type[Method]", method)
            cls.name = name
            _enter(name, cls)
        elif callable(method) and not isinstance(method, type):
            _enter(name, _from_function(name, method, declared))
        else:
            what = method.__name__ if isinstance(method, type) else type(method).__name__
            raise MethodError(
                "Expected a function (model, x, target, **parameters) or a subclass of"
                f" pellucid.methods.base.Method, got {what}."
            )
        return cast("F", method)

    return register


def unregister_method(name: str) -> None:
    """Forget a method that is not built in; nothing happens where there is none."""
    if name not in _BUILT_IN:
        _REGISTERED.pop(name, None)


def _enter(name: str, cls: type[Method]) -> None:
    """Keep a method under its name; a word where that name was another's."""
    before = _REGISTERED.get(name)
    if before is not None and _origin(before) != _origin(cls):
        warnings.warn(
            f"The method {name!r} is now {_origin(cls)}; it was {_origin(before)}.",
            UserWarning,
            stacklevel=4,
        )
    _REGISTERED[name] = cls


def _origin(cls: type[Method]) -> str:
    """Where a method was defined: its class, or the function it was made of."""
    return _place(cls.function if issubclass(cls, _FunctionMethod) else cls)


def _kinds_of_input(given: str | Collection[str]) -> frozenset[str]:
    listed = {given} if isinstance(given, str) else given
    if not isinstance(listed, Collection) or not set(listed) <= set(KINDS):
        raise MethodError(
            f"Expected modalities to be some of {', '.join(map(repr, KINDS))}, got {given!r}."
        )
    return frozenset(listed)


def _tier(needs: str | Tier) -> Tier:
    names = {tier.name.lower(): tier for tier in Tier}
    if isinstance(needs, str) and needs in names:
        return names[needs]
    if not isinstance(needs, Tier):
        raise MethodError(f"Expected needs to be one of {list(names)}, got {needs!r}.")
    return needs


def seal_built_in() -> None:
    """Called once, after the methods that ship have registered themselves."""
    _BUILT_IN.update(_REGISTERED)


def registered() -> Mapping[str, type[Method]]:
    """All methods by name, those of installed plug-ins included."""
    if not _ENTRY_POINTS_READ:
        _ENTRY_POINTS_READ.append(True)
        for point in entry_points(group="pellucid.methods"):
            if point.name not in _REGISTERED:
                _register_plug_in(point)
    return _REGISTERED


def _register_plug_in(point: EntryPoint) -> None:
    """A plug-in that cannot be loaded costs its own method, not all others."""
    try:
        loaded = point.load()
        # A decorated function has registered itself, with what it declares.
        if point.name not in _REGISTERED:
            register_method(point.name)(loaded)
    except Exception as error:
        warnings.warn(
            f"The method {point.name!r} of the plug-in {point.value!r} cannot be loaded:"
            f" {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=3,
        )


def registered_name(function: Any) -> str | None:
    """The name that a function or class is registered under; None where it is not."""
    for name, cls in registered().items():
        if cls is function or (issubclass(cls, _FunctionMethod) and cls.function is function):
            return name
    return None


def method_class(name: str) -> type[Method]:
    """The method of this name; `MethodError` with the nearest ones where there is none."""
    if not isinstance(name, str):
        raise MethodError(
            f"Expected the name of one method, got {type(name).__name__}.\n"
            "  Explainer(model, [...]).compare(x) takes several."
        )
    known = _REGISTERED if name in _REGISTERED else registered()
    if name not in known:
        raise MethodError(
            f"No method {name!r}. {quote_nearest(name, known)}\n"
            f"  Known: {', '.join(sorted(known))}."
        )
    return known[name]


def takes_parameter(name: str, parameter: str) -> bool:
    """Whether the method of this name has a parameter of that name."""
    cls = method_class(name)
    if issubclass(cls, _FunctionMethod):
        return cls.takes_any or parameter in cls.defaults
    return parameter in {f.name for f in fields(cls)}  # type: ignore[arg-type]


def make_method(name: str, parameters: Mapping[str, Any]) -> Method:
    """The method with these parameters.

    Raises `MethodError` for a parameter it does not take, or two that contradict each other.
    """
    cls = method_class(name)
    if issubclass(cls, _FunctionMethod):
        return cls.with_parameters(parameters)
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    parameters = named_as_dataset(name, known, parameters)
    _check_names(name, parameters, known, cls.refusals)
    for a, b in cls.conflicts:
        if parameters.get(a) is not None and parameters.get(b) is not None:
            raise MethodError(f"{name} takes {a} or {b}, not both.")
    _check_types(cls, parameters)
    return cls(**parameters)


_KINDS: dict[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool, np.bool_), "True or False"),
    int: ((int, np.integer), "a whole number"),
    float: ((int, float, np.integer, np.floating), "a number"),
    str: ((str,), "a string"),
}


def _check_types(cls: type[Method], given: Mapping[str, Any]) -> None:
    """Refuse values of the wrong plain type, as the dataclass declares its fields."""
    hints = get_type_hints(cls)
    for name, value in given.items():
        kinds = get_args(hints[name]) or (hints[name],)
        known = [_KINDS[k] for k in kinds if k in _KINDS]
        if value is None and NoneType in kinds:
            continue
        if not known or len(known) != len([k for k in kinds if k is not NoneType]):
            continue
        types = tuple(t for pair in known for t in pair[0])
        a_flag = isinstance(value, bool | np.bool_)
        if not isinstance(value, types) or (a_flag and bool not in kinds):
            words = " or ".join(pair[1] for pair in known)
            raise MethodError(f"Expected {cls.name}'s {name} to be {words}, got {value!r}.")


def _check_names(
    method: str, given: Mapping[str, Any], known: list[str], refusals: Mapping[str, str] = {}
) -> None:
    unknown = [p for p in given if p not in known]
    if unknown:
        if unknown[0] in refusals:
            raise MethodError(f"{method} takes no {unknown[0]}: {refusals[unknown[0]]}.")
        takes = ", ".join(known) if known else "none"
        near = quote_nearest(unknown[0], known)
        raise MethodError(
            f"{method} takes no parameter {unknown[0]!r}.{' ' * bool(near)}{near}\n"
            f"  Its parameters: {takes}."
        )


@dataclass(frozen=True)
class _FunctionMethod(Method):
    """A user's function, given a method's clothes."""

    given: Mapping[str, Any] = field(default_factory=dict)

    needs_seed: ClassVar[bool] = False
    function: ClassVar[Callable[..., Any]]
    defaults: ClassVar[Mapping[str, Any]]
    takes_any: ClassVar[bool]

    @classmethod
    def with_parameters(cls, parameters: Mapping[str, Any]) -> "_FunctionMethod":
        if not cls.takes_any:
            _check_names(cls.name, parameters, list(cls.defaults))
        missing = [
            p
            for p, d in cls.defaults.items()
            if d is inspect.Parameter.empty and p not in parameters
        ]
        if missing:
            raise MethodError(f"{cls.name} needs the parameter {missing[0]!r}.")
        return cls({**cls.defaults, **parameters})

    def parameters(self) -> dict[str, Any]:
        return dict(self.given)

    def attribute(self, task: Task) -> Attribution:
        view = ModelView(task)
        # Copies: a function that works in place would change the user's arrays.
        several = tuple(a.copy() for a in task.batch.arrays)
        x = several if len(several) > 1 else next(iter(several))
        given = {**self.given, "seed": task.seed} if self.needs_seed else self.given
        try:
            returned = type(self).function(view, x, task.target.recorded(), **given)
        except PellucidError:
            raise
        except Exception as error:
            raise MethodError(
                f"The method {self.name} raised {type(error).__name__}: {error}"
            ) from error
        if isinstance(returned, Attribution):
            return returned
        listed = isinstance(returned, list) and len(several) > 1
        values = tuple(returned) if isinstance(returned, tuple) or listed else (returned,)
        try:
            return Attribution(
                tuple(np.asarray(task.to_numpy(v), dtype=np.float32) for v in values)
            )
        except (TypeError, ValueError) as error:
            raise MethodError(
                f"Expected {self.name} to return an array of numbers, one map a sample, got"
                f" {type(returned).__name__}: {error}"
            ) from error


_OF_EXPLAIN = frozenset({"model", "x", "method", "target", "batch_size", "progress"})


def _place(function: Any) -> str:
    """Where a function was defined, for people; partials and callable objects by their type."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def _from_function(
    name: str, function: Callable[..., Any], declared: Mapping[str, Any]
) -> type[Method]:
    """A method class of a function, with what was declared of it as class attributes."""
    try:
        names = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise MethodError(f"{name} does not show its parameters: {error}") from error
    positional = [p for p in names if p.kind in {p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD}]
    if len(positional) < 3:
        raise MethodError(f"{name} must take (model, x, target) and then its parameters.")
    rest = [p for p in names if p not in positional[:3]]
    taken = [p.name for p in rest if p.name in _OF_EXPLAIN]
    if taken:
        raise MethodError(
            f"{name} has a parameter {taken[0]!r}, which explain() keeps for itself: call it"
            " something else."
        )
    return type(
        name,
        (_FunctionMethod,),
        {
            "__doc__": function.__doc__,
            "name": name,
            **declared,
            "source": declared["source"] or _place(function),
            "function": staticmethod(function),
            "defaults": {
                p.name: p.default
                for p in rest
                if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY} and p.name != "seed"
            },
            "needs_seed": any(p.name == "seed" for p in rest),
            "takes_any": any(p.kind is p.VAR_KEYWORD for p in rest),
        },
    )
