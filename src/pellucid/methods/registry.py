"""The methods by name, and how a user's own becomes one of them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from importlib.metadata import entry_points
from typing import Any, ClassVar, TypeVar, cast

import numpy as np

from pellucid.adapters.protocol import Tier
from pellucid.errors import InputError, MethodError, quote_nearest
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
    needs: Tier = Tier.CALLABLE,
    cost: str = "",
    source: str = "",
) -> Callable[[F], F]:
    """Make a function or a `Method` class known by `name`, everywhere methods are named.

    A function is called as `function(model, x, target, **parameters)`: `model` a `ModelView`,
    `x` the NumPy batch `(n, ...)` (a tuple for several inputs), `target` the explained classes
    `(n,)` (None for a callable target). It returns an array with one map a sample, of x's shape
    or of its spatial axes. Its further arguments are the method's parameters.

    Raises `MethodError` for a name that is taken by a built-in method, or is no identifier.

    >>> @register_method("my_gradient")
    ... def my_gradient(model, x, target, power=1.0):
    ...     return model.gradient(x) * abs(x) ** power
    >>> explain(model, x, "my_gradient", power=2.0).values.shape == x.shape
    True
    """
    if not name.isidentifier():
        raise MethodError(f"A method's name is an identifier such as 'my_method', got {name!r}.")
    if name in _BUILT_IN:
        raise MethodError(f"{name!r} is a built-in method; choose another name.")

    def register(method: F) -> F:
        if isinstance(method, type) and issubclass(method, Method):
            if not is_dataclass(method):
                raise MethodError(f"{method.__name__} must be a frozen dataclass.")
            cls = cast("type[Method]", method)
            cls.name = name
            _REGISTERED[name] = cls
        elif callable(method):
            _REGISTERED[name] = _from_function(name, method, family, needs, cost, source)
        else:
            raise MethodError(
                f"Expected a function or a Method class, got {type(method).__name__}."
            )
        return cast("F", method)

    return register


def seal_built_in() -> None:
    """Called once, after the methods that ship have registered themselves."""
    _BUILT_IN.update(_REGISTERED)


def registered() -> Mapping[str, type[Method]]:
    """All methods by name, those of installed plug-ins included."""
    if not _ENTRY_POINTS_READ:
        _ENTRY_POINTS_READ.append(True)
        for point in entry_points(group="pellucid.methods"):
            if point.name not in _REGISTERED:
                register_method(point.name)(point.load())
    return _REGISTERED


def method_class(name: str) -> type[Method]:
    """The method of this name; `MethodError` with the nearest ones where there is none."""
    if not isinstance(name, str):
        raise MethodError(f"Expected the name of a method, got {type(name).__name__}.")
    known = _REGISTERED if name in _REGISTERED else registered()
    if name not in known:
        raise MethodError(
            f"No method {name!r}. {quote_nearest(name, known)}\n"
            f"  Known: {', '.join(sorted(known))}."
        )
    return known[name]


def make_method(name: str, parameters: Mapping[str, Any]) -> Method:
    """The method with these parameters.

    Raises `MethodError` for a parameter it does not take, or two that contradict each other.
    """
    cls = method_class(name)
    if issubclass(cls, _FunctionMethod):
        return cls.with_parameters(parameters)
    known = [f.name for f in fields(cls)]  # type: ignore[arg-type]
    _check_names(name, parameters, known)
    for a, b in cls.conflicts:
        if parameters.get(a) is not None and parameters.get(b) is not None:
            raise MethodError(f"{name} takes {a} or {b}, not both.")
    return cls(**parameters)


def _check_names(method: str, given: Mapping[str, Any], known: list[str]) -> None:
    unknown = [p for p in given if p not in known]
    if unknown:
        takes = ", ".join(known) if known else "none"
        raise MethodError(
            f"{method} takes no parameter {unknown[0]!r}. {quote_nearest(unknown[0], known)}\n"
            f"  Its parameters: {takes}."
        )


@dataclass(frozen=True)
class _FunctionMethod(Method):
    """A user's function, given a method's clothes."""

    given: Mapping[str, Any] = field(default_factory=dict)

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
        several = task.batch.arrays
        x = several if len(several) > 1 else next(iter(several))
        returned = type(self).function(view, x, task.target.recorded(), **self.given)
        if isinstance(returned, Attribution):
            return returned
        values = returned if isinstance(returned, tuple) else (returned,)
        arrays = tuple(np.asarray(task.to_numpy(v), dtype=np.float32) for v in values)
        if len(arrays) != len(task.batch.arrays) or any(
            a.ndim == 0 or a.shape[0] != task.count for a in arrays
        ):
            raise InputError(
                f"Expected {self.name} to return {len(task.batch.arrays)} array(s) with one map for"
                f" each of {task.count} samples, got {[a.shape for a in arrays]}."
            )
        return Attribution(arrays)


def _from_function(
    name: str, function: Callable[..., Any], family: str, needs: Tier, cost: str, source: str
) -> type[Method]:
    names = list(inspect.signature(function).parameters.values())
    if len(names) < 3:
        raise MethodError(f"{name} must take (model, x, target) and then its parameters.")
    rest = names[3:]
    return type(
        name,
        (_FunctionMethod,),
        {
            "__doc__": function.__doc__,
            "name": name,
            "family": family,
            "needs": needs,
            "cost": cost,
            "source": source or f"{function.__module__}.{function.__qualname__}",
            "function": staticmethod(function),
            "defaults": {
                p.name: p.default
                for p in rest
                if p.kind in {p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY}
            },
            "takes_any": any(p.kind is p.VAR_KEYWORD for p in rest),
        },
    )
