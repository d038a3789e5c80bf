"""What can be wrapped: each kind of JAX model as a pure function of weight arrays and inputs."""

import functools
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pellucid.adapters.functions import code_text
from pellucid.adapters.jax.inputs import as_array, channel_axis_of, float_type, guess_inputs
from pellucid.adapters.jax.marks import Modules, calls_marked
from pellucid.adapters.jax.trees import anchor_of, captured, is_linen, is_nnx, reached, split
from pellucid.adapters.protocol import InputSpec
from pellucid.adapters.structure import Structure, arguments, flatten, unflatten
from pellucid.errors import InputError
from pellucid.types import Leaves


@dataclass(frozen=True)
class Snapshot:
    """A model as it is now: named weight arrays, a key of all else, and how to call it.

    `call(arrays, leaves, structure)` is pure, and may be traced.
    """

    names: tuple[str, ...]
    arrays: tuple[Any, ...]
    key: Any
    call: Callable[[Sequence[Any], Sequence[Any], Structure], Any]


class Source(ABC):
    """A model to be read; `look` never changes it.

    Traces of models with equal snapshot keys are the same, and kept while the `anchor` lives.
    """

    framework, outputs_first = "jax", False
    has_weights = False
    hint = ""
    """What to do where the model cannot be traced, for people."""
    notes: tuple[str, ...] = ()
    _channel_axis = -1

    @property
    def anchor(self) -> Any:
        return type(self.function)

    @abstractmethod
    def look(self) -> Snapshot: ...

    @property
    @abstractmethod
    def function(self) -> Any:
        """What is called, for its signature and its code."""

    @cached_property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return guess_inputs(self.modules())

    @property
    def channel_axis(self) -> int:
        """Where the pictures last accepted have their channels."""
        return self._channel_axis

    def accept(self, x: Any) -> tuple[Leaves, Structure]:
        leaves, structure = flatten(x)
        if not leaves:
            raise InputError("The input holds no array.")
        dtype = float_type(self.look().arrays)
        wants_floats = self.inputs is not None and len(leaves) == 1
        found = tuple(as_array(a, dtype, wants_floats=wants_floats) for a in leaves)
        self._channel_axis = channel_axis_of(self.modules(), found)
        return found, structure

    def restore(self, leaves: Sequence[Any], structure: Structure) -> Any:
        return unflatten(leaves, structure)

    def prepare(self, x: Leaves) -> None:  # noqa: B027 - most have nothing to do
        """What has to happen once before the model can be looked at."""

    def modules(self) -> tuple[tuple[str, Any], ...]:
        """Path and module of every layer that the model says it holds, inner ones first."""
        return ()

    def parameters(self, snapshot: Snapshot, path: str) -> int:
        """How many numbers the layer at a path has as weights."""
        named = zip(snapshot.names, snapshot.arrays, strict=True)
        return sum(int(a.size) for name, a in named if _belongs(name, path))

    def description(self) -> str:
        """Code and settings, in words that are the same for equal models."""
        parts = [_code_of(self.function)]
        parts += [f"{path}:{_settings(module)}" for path, module in self.modules()]
        return "\n".join(parts)


class FunctionSource(Source):
    """A function of arrays. What it closes over is taken as it is when first called."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._held = _modules_held(function)
        if any(is_nnx(m) for _, m in self._held):
            self.hint = (
                "A function cannot put the NNX module it calls into inference mode: call"
                " module.eval() first, or wrap the module itself."
            )

    @property
    def anchor(self) -> Any:
        return anchor_of(self._function)

    @property
    def function(self) -> Any:
        return self._function

    def look(self) -> Snapshot:
        held: Modules = {id(m): (path, m) for path, m in self._held}

        def call(arrays: Sequence[Any], leaves: Sequence[Any], structure: Structure) -> Any:
            positional, named = arguments(self._function, leaves, structure)
            with calls_marked(held):
                return self._function(*positional, **named)

        return Snapshot((), (), captured(self._function), call)

    def modules(self) -> tuple[tuple[str, Any], ...]:
        return tuple((path, m) for path, m in self._held if path)


class ApplySource(Source):
    """A function whose first arguments are its parameters: `partial(apply, params)`."""

    has_weights = True

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], named: Any) -> None:
        self._function, self._args, self._named = function, args, dict(named)

    @property
    def anchor(self) -> Any:
        return anchor_of(self._function)

    @property
    def function(self) -> Any:
        return functools.partial(self._function, *self._args, **self._named)

    def look(self) -> Snapshot:
        # The parameters of a model with one set of them are named without its place.
        given = self._args[0] if len(self._args) == 1 and not self._named else self._given
        names, arrays, rest = split(given)
        single = given is not self._given

        def call(arrays: Sequence[Any], leaves: Sequence[Any], structure: Structure) -> Any:
            whole = rest.joined(arrays)
            args, named = ((whole,), {}) if single else (whole["args"], whole["named"])
            positional, spread = arguments(self.function, leaves, structure)
            return self._function(*args, *positional, **named, **spread)

        return Snapshot(names, arrays, (captured(self._function), rest.key), call)

    @property
    def _given(self) -> dict[str, Any]:
        return {"args": self._args, "named": self._named}


class EquinoxSource(Source):
    """An Equinox module, called in inference mode."""

    has_weights = outputs_first = True
    hint = "Equinox's layers take one sample: wrap jax.vmap(model) to explain a batch."

    def __init__(self, model: Any) -> None:
        self._model = model

    @property
    def function(self) -> Any:
        return self._model

    def look(self) -> Snapshot:
        equinox = sys.modules["equinox"]
        names, arrays, rest = split(equinox.nn.inference_mode(self._model))

        def call(arrays: Sequence[Any], leaves: Sequence[Any], structure: Structure) -> Any:
            model = rest.joined(arrays)
            positional, named = arguments(model, leaves, structure)
            with calls_marked({id(m): (path, m) for path, m in _equinox_modules(model)}):
                return model(*positional, **named)

        return Snapshot(names, arrays, rest.key, call)

    def modules(self) -> tuple[tuple[str, Any], ...]:
        return tuple(_equinox_modules(self._model))


class NnxSource(Source):
    """A Flax NNX module: its state is an argument, and the module merged anew for each trace."""

    has_weights = True

    def __init__(self, model: Any) -> None:
        from flax import nnx

        self._model, self._nnx = model, nnx

    @property
    def function(self) -> Any:
        return self._model

    def look(self) -> Snapshot:
        nnx = self._nnx
        graph, state = nnx.split(self._model)
        names, arrays, rest = split(state)

        def call(arrays: Sequence[Any], leaves: Sequence[Any], structure: Structure) -> Any:
            model = nnx.merge(graph, rest.joined(arrays))
            model.eval()
            positional, named = arguments(model, leaves, structure)
            with calls_marked({id(m): (path, m) for path, m in self._parts(model)}):
                return model(*positional, **named)

        return Snapshot(names, arrays, (graph, rest.key), call)

    def _parts(self, model: Any) -> list[tuple[str, Any]]:
        found = (("/".join(map(str, path)), m) for path, m in self._nnx.iter_modules(model))
        return [(path, m) for path, m in found if path and callable(m)]

    def modules(self) -> tuple[tuple[str, Any], ...]:
        return tuple(self._parts(self._model))


def _belongs(name: str, path: str) -> bool:
    """Whether a weight is one of the layer at `path`; Flax puts a collection's name before it."""
    return name.startswith(f"{path}/") or name.partition("/")[2].startswith(f"{path}/")


def _settings(module: Any) -> str:
    plain = {
        k: v
        for k, v in sorted(vars(module).items())
        if isinstance(v, bool | int | float | str | tuple) and not k.startswith("_")
    }
    return f"{type(module).__qualname__}{plain}"


def _code_of(function: Any) -> str:
    """The code of a function and of what it wraps; equal for equal functions."""
    parts: list[str] = []
    while function is not None and len(parts) < 8:
        parts.append(code_text(function))
        function = getattr(function, "__wrapped__", None) or getattr(function, "func", None)
    return "\n".join(parts)


def _equinox_modules(model: Any) -> list[tuple[str, Any]]:
    """Path and module of every callable part of an Equinox module, inner ones first."""
    module = sys.modules["equinox"].Module
    found: list[tuple[str, Any]] = []
    seen: set[int] = set()

    def visit(value: Any, path: str) -> None:
        if id(value) in seen:
            return
        if isinstance(value, module):
            seen.add(id(value))
            for name, part in vars(value).items():
                visit(part, f"{path}/{name}".strip("/"))
            if path and callable(value):
                found.append((path, value))
        elif isinstance(value, list | tuple):
            for i, part in enumerate(value):
                visit(part, f"{path}/{i}".strip("/"))
        elif isinstance(value, dict):
            for key in value:
                visit(value[key], f"{path}/{key}".strip("/"))

    visit(model, "")
    return found


def _modules_held(function: Any) -> list[tuple[str, Any]]:
    """The layers of an Equinox or NNX module that a function (a `vmap` of it, say) calls."""
    found: list[Any] = []
    seen: set[int] = set()

    def visit(value: Any, left: int) -> None:
        if left < 0 or id(value) in seen:
            return
        seen.add(id(value))
        roots = {c.__module__.partition(".")[0] for c in type(value).__mro__}
        if "equinox" in roots or is_nnx(value):
            found.append(value)
        elif callable(value) and not isinstance(value, type):
            if isinstance(value, functools.partial):
                visit(value.func, left - 1)
            for part in reached(value):
                visit(part, left - 1)

    visit(function, 4)
    parts: list[tuple[str, Any]] = []
    for k, module in enumerate(found):
        inside = NnxSource(module).modules() if is_nnx(module) else tuple(_equinox_modules(module))
        prefix = "" if len(found) == 1 else f"model{k + 1}/"
        parts += [(prefix + path, m) for path, m in inside]
    return parts


def source_of(model: Any) -> Source:
    """The reading that fits a model."""
    model = _unjitted(model)
    if (source := _with_parameters(model)) is not None:
        return source
    if is_nnx(model):
        return NnxSource(model)
    roots = {c.__module__.partition(".")[0] for c in type(model).__mro__}
    if "equinox" in roots and isinstance(model, sys.modules["equinox"].Module):
        return EquinoxSource(model)
    if "flax" in roots and getattr(model, "scope", None) is not None:
        module, variables = model.unbind()
        return ApplySource(module.apply, (variables,), {})
    return FunctionSource(model)


def _with_parameters(model: Any) -> Source | None:
    """`partial(apply, params)`, `(apply, params)` or, of Flax, `(module, params)`."""
    if isinstance(model, functools.partial) and split((model.args, model.keywords))[0]:
        return ApplySource(_unjitted(model.func), model.args, model.keywords)
    if isinstance(model, tuple) and len(model) == 2 and callable(model[0]):
        function: Any = model[0].apply if is_linen(model[0]) else _unjitted(model[0])  # type: ignore
        return ApplySource(function, (model[1],), {})
    return None


def _unjitted(model: Any) -> Any:
    """The Python function inside `jax.jit`: a trace of its own sees the layers in it."""
    while type(model).__module__.partition(".")[0] == "jaxlib" and hasattr(model, "__wrapped__"):
        model = model.__wrapped__
    return model
