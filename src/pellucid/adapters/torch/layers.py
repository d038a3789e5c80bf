"""Layers of a torch module: found by path, followed by hooks, replaced at their exit."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pellucid.adapters.layers import find_layer
from pellucid.adapters.protocol import Intercept, LayerInfo
from pellucid.adapters.torch.calls import TorchOperation
from pellucid.adapters.torch.position import Position, tensors_in, watching
from pellucid.adapters.torch.reading import Named, Reading
from pellucid.errors import CapabilityError, LayerError

Said = Callable[[str, torch.Tensor], torch.Tensor]
Count = Callable[[torch.nn.Module], int]


def find_modules(reading: Reading, paths: Sequence[str]) -> Named:
    """The modules that `paths` name (call numbers left out), aliases too."""
    if not reading.trainable:
        raise CapabilityError(
            "A function has no layers. Wrap the torch.nn.Module to explain at a layer."
        )
    known = dict(reading.layers(aliases=True))
    found = []
    for path in dict.fromkeys(p.partition("#")[0] for p in paths):
        name = find_layer(path, known, separator=reading.separator)
        found.append((name, known[name]))
    return found


def call_path(path: str, number: int) -> str:
    """`path`, or `path#2` for a second call."""
    return path if number == 1 else f"{path}#{number}"


def call_number(layer: str) -> int:
    """The call that a path names: 2 for `encoder#2`."""
    number = layer.partition("#")[2]
    if number and not number.isdigit():
        raise LayerError(f"Expected a call number after '#', as in 'encoder#2', got {layer!r}.")
    return int(number) if number else 1


def list_layers(modules: Named, count: Count) -> tuple[LayerInfo, ...]:
    """All modules in the order in which they are held."""
    return tuple(
        LayerInfo(n, type(m).__name__, None, count(m), i) for i, (n, m) in enumerate(modules)
    )


def layer_calls(
    modules: Named, count: Count, run: Callable[[], Any], x: Sequence[torch.Tensor]
) -> tuple[LayerInfo, ...]:
    """One entry a call, in the order in which they return in a run on `x`, with output shapes."""
    calls: list[LayerInfo] = []
    batch = len(x[0]) if x and x[0].ndim else None

    def note(path: str, number: int, part: torch.nn.Module, output: Any) -> None:
        first = next(tensors_in(output), None)
        shape = None if first is None else _free(first.shape, batch)
        name, kind = call_path(path, number), type(part).__name__
        calls.append(LayerInfo(name, kind, shape, count(part), len(calls)))

    with watching(modules, Position(), note):
        run()
    return tuple(calls)


def _free(shape: Sequence[int], batch: int | None) -> tuple[int | None, ...]:
    """A shape whose batch axis is free: the first as long as the batch, else the first of all."""
    sizes = list(shape)
    axis = sizes.index(batch) if batch in sizes else 0
    return tuple(None if i == axis else size for i, size in enumerate(sizes))


def with_first(output: Any, value: torch.Tensor) -> Any:
    """`output` with its first tensor replaced."""
    if isinstance(output, torch.Tensor):
        return value
    if isinstance(output, dict):
        first = next(k for k, v in output.items() if next(tensors_in(v), None) is not None)
        changed = copy.copy(output)  # of its own kind: transformers read its entries as attributes
        changed[first] = with_first(output[first], value)
        return changed
    items = list(output)
    for i, item in enumerate(items):
        if next(tensors_in(item), None) is not None:
            items[i] = with_first(item, value)
            break
    return type(output)(*items) if hasattr(output, "_fields") else type(output)(items)


def exit_hook(
    intercept: Intercept, layers: Sequence[str], separator: str, modules: Named, said: Said
) -> Callable[..., Any]:
    """What hands requested layer calls to the interceptor, for `watching`.

    `said` is what a call of this name is said to return.
    """
    names = dict(modules)
    wanted = {
        (find_layer(p.partition("#")[0], names, separator=separator), call_number(p))
        for p in layers
    }

    def at_exit(path: str, number: int, module: torch.nn.Module, output: Any) -> Any:
        value = next(tensors_in(output), None)
        if (path, number) not in wanted or value is None:
            return None
        value = said(call_path(path, number), value)
        op = TorchOperation(
            lambda inputs, weights: inputs[0],
            name=type(module).__name__, kind="layer", path=path,
            number=number, index=-1, inputs=(value,), live=(True,), weights={}, arguments={},
        )  # fmt: skip
        # A copy, because an operation above the layer may change what it is given in place.
        return with_first(output, intercept(op).clone())

    return at_exit
