"""TensorLayerX modules on its TensorFlow backend: the same rules, other attributes."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from pellucid.adapters.keras.description import unique
from pellucid.adapters.keras.layers import LayerTree
from pellucid.adapters.keras.state import State, plain_attributes
from pellucid.adapters.tensorflow.library import LibraryModel
from pellucid.adapters.tensorlayer.inference import attributes_before, held_in_inference
from pellucid.errors import CapabilityError


class TensorLayerXModule(LibraryModel):
    """A `tensorlayerx.nn.Module`, held in inference mode when it runs.

    Raises `CapabilityError` for a module whose weights are not made yet.
    """

    framework = "tensorlayerx"
    nest = None
    specs = None
    bookkeeping = frozenset(
        "name is_train trainable forward _params _layers _params_status _parameter_layout_dict"
        " _create_time _nodes_fixed _build_graph _all_weights _trainable_weights"
        " _nontrainable_weights _forward_state _check _built".split()
    )

    def __init__(self, model: Any) -> None:
        self.model = model
        unbuilt = [path for path, part in self.tree().layers.items() if not _is_built(part)]
        if unbuilt:
            raise CapabilityError(
                f"The layer {unbuilt[0]!r} of this TensorLayerX module has no weights yet.\n"
                "  Run model.init_build(inputs) or call the model once, then wrap it."
            )

    def tree(self) -> LayerTree:
        paths: dict[str, Any] = {}

        def visit(parent: Any, prefix: str) -> None:
            for name, part in parent._layers.items():
                if not any(part is known for known in paths.values()):
                    visit(part, f"{prefix}{name}/")
                    paths[f"{prefix}{name}"] = part

        visit(self.model, "")
        return LayerTree(paths, _weights_of, "forward")

    def parts(self) -> list[Any]:
        """The module and every one inside it."""
        return [*self.tree().layers.values(), self.model]

    def variables(self) -> dict[str, tf.Variable]:
        return unique((v.name.partition(":")[0], v) for v in _weights_of(self.model))

    def structure_key(self) -> tuple[Any, ...]:
        return tuple((id(p), *(id(v) for v in p._params.values())) for p in self.parts())

    def state(self) -> State:
        found: State = {}
        for number, part in enumerate(self.parts()):
            attributes = attributes_before(self.model, part).items()
            mine = {name: value for name, value in attributes if name not in self.bookkeeping}
            found.update(plain_attributes(mine, f"layer {number}"))
        return found

    def run(self, nest: Any, leaves: Sequence[Any]) -> Any:
        given = tf.nest.pack_sequence_as(nest, list(leaves))
        with held_in_inference(self.model, self.parts, lambda part: {"is_train": False}):
            return self.model(*given) if isinstance(given, tuple) else self.model(given)


def _is_built(part: Any) -> bool:
    return bool(part._layers) or part._built or type(part).build.__qualname__.startswith("Module.")


def _weights_of(part: Any) -> list[tf.Variable]:
    own = list(part._params.values())
    return own + [v for inner in part._layers.values() for v in _weights_of(inner)]
