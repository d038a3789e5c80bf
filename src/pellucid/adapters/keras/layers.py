"""The layers inside a Keras model and their paths.

Paths come from walking the layers themselves. Name scopes of a graph are wrong as paths:
every one carries a suffix that depends on how often the name was used before.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from pellucid.adapters.protocol import LayerInfo


def weights_of(layer: keras.layers.Layer) -> Sequence[Any]:
    """The weights of a Keras layer, once it has some."""
    return layer.weights if layer.built else ()


@dataclass(frozen=True)
class LayerTree:
    """Every layer below a model by its path, in the order in which calls would return.

    The layers may be those of another library that holds and calls them alike.
    """

    layers: dict[str, Any]
    weights_of: Callable[[Any], Sequence[Any]] = weights_of
    method: str | None = None
    """The method that a call of a layer runs; None for Keras's own."""

    @functools.cached_property
    def path_of(self) -> dict[int, str]:
        return {id(layer): path for path, layer in self.layers.items()}

    def infos(self) -> tuple[LayerInfo, ...]:
        return tuple(
            LayerInfo(path, type(layer).__name__, None, self.parameters(layer), i)
            for i, (path, layer) in enumerate(self.layers.items())
        )

    def parameters(self, layer: Any) -> int:
        """Numbers in the layer's weights, those of the layers inside it included."""
        return _count(self.weights_of(layer))


def parameter_count(layer: keras.layers.Layer) -> int:
    """Numbers in a Keras layer's weights, those of the layers inside it included."""
    return _count(weights_of(layer))


def _count(weights: Iterable[Any]) -> int:
    return sum(int(np.prod(v.shape)) for v in weights)


def inside(model: Any) -> list[keras.layers.Layer]:
    """The layers directly inside a Keras layer or model."""
    return list(model._layers)


def layer_tree(
    model: Any, children: Callable[[Any], list[keras.layers.Layer]] = inside
) -> LayerTree:
    """All layers below `model`, inner ones before the layer that holds them."""
    paths: dict[str, keras.layers.Layer] = {}
    seen: set[int] = {id(model)}

    def visit(parent: Any, prefix: str) -> None:
        found = [
            layer
            for layer in children(parent)
            if id(layer) not in seen and not isinstance(layer, keras.layers.InputLayer)
        ]
        names = unique_names(parent, found)
        seen.update(map(id, found))
        for layer, name in zip(found, names, strict=True):
            path = f"{prefix}{name}"
            visit(layer, f"{path}/")
            paths[path] = layer

    visit(model, "")
    return LayerTree(paths)


def unique_names(parent: Any, layers: Sequence[Any]) -> list[str]:
    """Layer names; where two layers have one name, the attributes that hold them."""
    counts = Counter(layer.name for layer in layers)
    own = getattr(parent, "__dict__", {})
    # A torch module, as Keras's layers are on that backend, keeps its modules apart.
    attributes = [*own.items(), *own.get("_modules", {}).items()]
    held = {id(value): name for name, value in reversed(attributes)}
    names: list[str] = []
    for layer in layers:
        name = str(layer.name)
        if counts[name] > 1:
            attribute = held.get(id(layer))
            free = attribute is not None and counts[attribute] == 0 and attribute not in names
            same = sum(n.partition("@")[0] == name for n in names)
            name = str(attribute) if free else f"{name}@{same + 1}"
        names.append(name)
    return names


def structure_key(roots: Iterable[keras.layers.Layer]) -> tuple[Any, ...]:
    """Changes when a layer is added or removed, or given other weight objects.

    A traced graph reads weights when it runs, but would go on with the old structure. Plain
    attributes are looked at by `layer_state`.
    """
    return tuple(
        (id(layer), *map(id, layer._trainable_variables))
        for root in roots
        for layer in root._flatten_layers()
    )


def channel_axis(layers: Iterable[keras.layers.Layer], default: str = "") -> int:
    """1 where the first layer that says so has its channels first, else -1."""
    formats = (getattr(layer, "data_format", None) for layer in layers)
    found = next((f for f in formats if f), default)
    return 1 if found == "channels_first" or found.startswith("NC") else -1


def numbered(path: str, call: int) -> str:
    """The name of one call: the path, with `#2` for a second one."""
    return path if call == 1 else f"{path}#{call}"
