"""Between what a user passes and the flat arrays the other rooms see."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from pellucid.adapters.protocol import InputSpec
from pellucid.errors import InputError, quote_nearest
from pellucid.types import Leaves

AsArray = Callable[[Any], Any]
"""A native array, or whatever can be made one, as an array with a shape."""

AsLeaf = Callable[[Any, InputSpec | None], Any]
"""An array as a native one in the type that the model takes."""


@dataclass(frozen=True)
class Structure:
    """How a user nested the inputs; `places[i]` is where leaf i stands in that nesting."""

    nest: Any
    places: tuple[int, ...]


class Inputs:
    """The structure and dtypes of one model's inputs, and of what was last passed to it.

    Structures are remembered per number of leaves, and per thread first, so that two threads
    that explain with different structures do not meet.
    """

    def __init__(
        self,
        model: Any,
        as_array: AsArray,
        as_leaf: AsLeaf,
        *,
        declared: tuple[Any, tuple[InputSpec, ...] | None] | None = None,
    ) -> None:
        self._as_array, self._as_leaf = as_array, as_leaf
        known = declared or (_declared_nest(model), _declared_specs(model))
        self.declared, self.specs = known
        self._shared: dict[int, Structure] = {}
        self._local = threading.local()

    def accept(self, x: Any) -> Leaves:
        nest = self._opened(x)
        flat = flattened(nest)
        if not flat:
            raise InputError("The input holds no array.")
        places = self._order(nest, len(flat))
        specs: Sequence[InputSpec | None] = self.specs or [None] * len(places)
        leaves = tuple(
            self._as_leaf(flat[place], spec) for place, spec in zip(places, specs, strict=True)
        )
        self._remember(Structure(packed(nest, iter([0] * len(flat))), places))
        return leaves

    def restore(self, leaves: Sequence[Any]) -> Any:
        known = self._known(len(leaves))
        if known is None:
            return leaves[0] if len(leaves) == 1 else tuple(leaves)
        flat: list[Any] = [None] * len(leaves)
        for place, leaf in zip(known.places, leaves, strict=True):
            flat[place] = leaf
        return packed(known.nest, iter(flat))

    def nest_for(self, count: int) -> Any:
        """The structure to call the model with, with a 0 for each leaf."""
        if self.declared is not None:
            return self.declared
        known = self._known(count)
        if known is None:
            return 0 if count == 1 else tuple([0] * count)
        return known.nest

    def _known(self, count: int) -> Structure | None:
        mine = getattr(self._local, "structures", {})
        return mine.get(count) or self._shared.get(count)

    def _remember(self, structure: Structure) -> None:
        if not hasattr(self._local, "structures"):
            self._local.structures = {}
        self._local.structures[len(structure.places)] = structure
        self._shared[len(structure.places)] = structure

    def _opened(self, x: Any) -> Any:
        """`x` with its containers of inputs kept, everything else an array."""
        if isinstance(x, Mapping):
            return {key: self._part(key, value) for key, value in x.items()}
        if isinstance(x, list | tuple) and self._holds_inputs(x):
            parts = [self._as_array(part) for part in x]
            return tuple(parts) if isinstance(x, tuple) else parts
        return self._as_array(x)

    def _part(self, key: Any, value: Any) -> Any:
        declared = self.declared.get(key) if isinstance(self.declared, dict) else 0
        if isinstance(value, Mapping):
            return {inner: self._as_array(part) for inner, part in value.items()}
        if isinstance(declared, list | tuple) and len(declared) == len(value):
            return [self._as_array(part) for part in value]
        return self._as_array(value)

    def _holds_inputs(self, x: Sequence[Any]) -> bool:
        """Whether a list or tuple holds several inputs, rather than the rows of one."""
        arrays = len(x) > 0 and all(len(getattr(part, "shape", ())) > 0 for part in x)
        if self.specs is None:
            return arrays and (isinstance(x, tuple) or all(len(part.shape) > 1 for part in x))
        if len(self.specs) > 1:
            return len(x) == len(self.specs)
        shape = next(iter(self.specs)).shape
        return arrays and len(x) == 1 and shape is not None and len(x[0].shape) == len(shape) + 1

    def _order(self, nest: Any, count: int) -> tuple[int, ...]:
        """For each input of the model, in its order, the place of its array in `nest`."""
        if self.specs is None:
            return tuple(range(count))
        names = [spec.name for spec in self.specs]
        if isinstance(nest, dict) and not any(isinstance(v, dict) for v in nest.values()):
            wanted = names
            if isinstance(self.declared, dict):
                wanted = sorted(self.declared)
            keys = sorted(nest)
            missing = [name for name in wanted if name not in nest]
            if missing:
                near = quote_nearest(missing[0], keys)
                raise InputError(
                    f"The model has the inputs {', '.join(map(repr, wanted))}; {missing[0]!r} is"
                    f" missing, the input has {', '.join(map(repr, keys))}.\n  {near}"
                )
            if len(keys) != len(wanted):
                spare = [key for key in keys if key not in wanted]
                raise InputError(
                    f"The model has no input {spare[0]!r}.\n  Its inputs:"
                    f" {', '.join(map(repr, wanted))}."
                )
            return tuple(keys.index(name) for name in wanted)
        if count != len(names):
            raise InputError(
                f"The model has {len(names)} inputs ({', '.join(names)}), but {count} came.\n"
                "  Pass a dict by these names, or a tuple in this order."
            )
        return tuple(range(count))


def flattened(nest: Any) -> list[Any]:
    """The arrays of nested containers in order, dictionaries by sorted key.

    Not the framework's own: a list or a string may be a leaf to whoever calls `packed`.
    """
    if isinstance(nest, dict):
        return [leaf for key in sorted(nest) for leaf in flattened(nest[key])]
    if isinstance(nest, list | tuple):
        return [leaf for part in nest for leaf in flattened(part)]
    return [nest]


def packed(nest: Any, leaves: Iterator[Any]) -> Any:
    """`nest` with its leaves replaced in the order of `flattened`."""
    if isinstance(nest, dict):
        by_key = {key: packed(nest[key], leaves) for key in sorted(nest)}
        return {key: by_key[key] for key in nest}
    if isinstance(nest, list | tuple):
        return type(nest)(packed(part, leaves) for part in nest)
    return next(leaves)


def _declared_nest(model: Any) -> Any:
    """The structure a built Keras model was declared with; None where it does not say."""
    if not isinstance(model, keras.Model) or getattr(model, "inputs", None) is None:
        return None
    functional = getattr(model, "_functional", None) or model
    declared = getattr(functional, "_inputs_struct", None)
    if declared is None:
        return None
    nest = _plain(declared)
    single = isinstance(nest, list | tuple) and len(nest) == 1
    return 0 if single and isinstance(nest[0], int) else nest


def _plain(nest: Any) -> Any:
    if isinstance(nest, Mapping):
        return {key: _plain(value) for key, value in nest.items()}
    if isinstance(nest, list | tuple):
        return type(nest)(map(_plain, nest)) if type(nest) is tuple else [_plain(p) for p in nest]
    return 0


def _declared_specs(model: Any) -> tuple[InputSpec, ...] | None:
    declared = getattr(model, "inputs", None) if isinstance(model, keras.Model) else None
    if declared:
        return tuple(
            InputSpec(str(t.name), tuple(t.shape)[1:], keras.backend.standardize_dtype(t.dtype))
            for t in declared
        )
    return None


def guessed_specs(model: Any) -> tuple[InputSpec, ...] | None:
    """The one input a subclassed Keras model was first called with; it may take others."""
    if not isinstance(model, keras.Model) or not model.built:
        return None
    shapes = list((getattr(model, "_build_shapes_dict", None) or {}).values())
    if len(shapes) != 1 or not isinstance(shapes[0], list | tuple) or not shapes[0]:
        return None
    if not all(size is None or isinstance(size, int) for size in shapes[0]):
        return None
    return (InputSpec("input", tuple(shapes[0][1:]), None, certain=False),)
