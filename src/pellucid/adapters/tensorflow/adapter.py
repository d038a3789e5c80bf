"""Keras models on TensorFlow, `tf.Module`s and functions of tensors.

A model is traced once for each shape of input. Plain runs and gradients use the compiled
function; layer questions use compiled pieces of it; operation by operation it is interpreted.
"""

import copy
import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pellucid.adapters.derived import info_of
from pellucid.adapters.keras.description import described
from pellucid.adapters.keras.inputs import Inputs, guessed_specs
from pellucid.adapters.keras.layers import LayerTree, channel_axis, layer_tree
from pellucid.adapters.layers import find_layer
from pellucid.adapters.protocol import (
    LAYERS_ONLY,
    Adapter,
    Cut,
    InputSpec,
    Intercept,
    LayerInfo,
    OperationInfo,
    Scores,
    Tier,
)
from pellucid.adapters.tensorflow import namespace
from pellucid.adapters.tensorflow.affine import is_affine
from pellucid.adapters.tensorflow.compiled import Gradients, compiled_gradients
from pellucid.adapters.tensorflow.cut import TracedCut
from pellucid.adapters.tensorflow.eager import EagerModel
from pellucid.adapters.tensorflow.inputs import as_array, as_leaf
from pellucid.adapters.tensorflow.intercepting import LayerExit, intercepting, like
from pellucid.adapters.tensorflow.interpret import interpret, plan
from pellucid.adapters.tensorflow.layers import children
from pellucid.adapters.tensorflow.library import LibraryModel
from pellucid.adapters.tensorflow.reading import Reading, Readings, is_out_of_memory
from pellucid.adapters.tensorflow.saved_model import SavedModel, is_loaded
from pellucid.adapters.tensorflow.segments import Chains
from pellucid.adapters.tensorflow.trace import Trace
from pellucid.adapters.tensorflow.weights import fingerprint, named_variables, read
from pellucid.errors import CapabilityError, InputError, LayerError, quote_nearest
from pellucid.types import Array, Leaves, Outputs


@dataclass(frozen=True, eq=False)
class Structure:
    """What a model was made of when it was last looked at."""

    key: Any
    tree: LayerTree
    variables: dict[str, tf.Variable]
    description: str


class TensorFlowAdapter(Adapter):
    """A Keras model on the TensorFlow backend, a `tf.Module`, or a function of tensors.

    A `LibraryModel` is read the same way, and called by its own rules.
    """

    xp = namespace
    compiles_functions = True

    def __init__(self, model: Any) -> None:
        if is_loaded(model):
            model = SavedModel(model)
        self._model = model
        self._keras = isinstance(model, keras.layers.Layer)
        library = model if isinstance(model, LibraryModel) else None
        self.framework = "keras" if self._keras else "tensorflow"
        if library is not None:
            self.framework = library.framework
        if self._keras and keras.backend.backend() != "tensorflow":
            raise CapabilityError(
                f"Keras runs on {keras.backend.backend()} here, this adapter reads TensorFlow.\n"
                "  Set KERAS_BACKEND=tensorflow before Keras is imported."
            )
        self._structure: Structure | None = None
        self._readings = Readings(model, self._tree)
        as_own = functools.partial(as_leaf, float_dtype=self._float_dtype())
        declared = None if library is None else (library.nest, library.specs)
        if isinstance(model, SavedModel):
            declared = model.declared
        self._inputs = Inputs(model, as_array, as_own, declared=declared)

    # Facts

    @property
    def supports(self) -> Tier:  # type: ignore[override]
        trainable = self._keras or isinstance(self._model, tf.Module | LibraryModel)
        return Tier.TRAINABLE if trainable else Tier.TRANSPARENT

    @property
    def backend(self) -> str:
        return "tensorflow"

    @functools.cached_property
    def device(self) -> str:  # type: ignore[override]
        variables = list(self._variables().values())
        where = variables[0].device if variables else ""
        found = tf.DeviceSpec.from_string(where) if where else None
        if found is None or found.device_type is None:
            return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
        return f"{found.device_type}:{found.device_index or 0}"

    @functools.cached_property
    def channel_axis(self) -> int:  # type: ignore[override]
        default = keras.config.image_data_format() if self._keras else ""
        return channel_axis(self._tree().layers.values(), default)

    @property
    def notes(self) -> tuple[str, ...]:
        return self._readings.notes

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return self._inputs.specs or guessed_specs(self._model)

    def _float_dtype(self) -> tf.DType:
        variables = self._model.variables if isinstance(self._model, tf.Module) else ()
        floats = [v.dtype for v in variables if v.dtype.is_floating]
        return floats[0] if floats and not self._keras else tf.float32

    def for_one_explanation(self) -> "TensorFlowAdapter":
        found = copy.copy(self)
        found._readings = self._readings.for_one_explanation()
        return found

    def _known(self) -> Structure:
        """Layers and weights by name, worked out again when the model was changed."""
        key = self._readings.look()
        if self._structure is None or self._structure.key != key:
            model, library = self._model, isinstance(self._model, LibraryModel)
            tree = model.tree() if library else layer_tree(model, children)
            variables = named_variables(model, tree)
            whose, without = (model.model, model.bookkeeping) if library else (model, None)
            text = described(whose, tree, variables, without=without)
            text += self._readings.described()
            self._structure = Structure(key, tree, variables, text)
        return self._structure

    def _tree(self) -> LayerTree:
        return self._known().tree

    def _variables(self) -> dict[str, tf.Variable]:
        return self._known().variables

    # Inputs and outputs

    def accept(self, x: Any) -> Leaves:
        return self._inputs.accept(x)

    def restore(self, leaves: Sequence[Any]) -> Any:
        return self._inputs.restore(leaves)

    def asarray(self, a: np.ndarray) -> Array:
        return tf.convert_to_tensor(a)

    def to_numpy(self, a: Array) -> np.ndarray:
        if not hasattr(a, "numpy"):
            return np.asarray(a)
        # NumPy has no bfloat16: what stands for it there is no number to most of its functions.
        return (tf.cast(a, tf.float32) if a.dtype == tf.bfloat16 else a).numpy()

    def _reading(self, x: Leaves) -> Reading:
        return self._readings.get(x, self._inputs.nest_for(len(x)))

    # Verbs

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        x = self._batches(x)[0][0]
        reading = self._reading(x)
        return (reading if isinstance(reading, EagerModel) else reading.trace).activations(x)

    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        if x is None:
            return self._tree().infos()
        reading = self._reading(x)
        return reading.infos(x) if isinstance(reading, EagerModel) else reading.trace.infos()

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        found: list[OperationInfo] = []

        def note(op: Any) -> Any:
            result = op()
            first = result if tf.is_tensor(result) else result[0]
            shape = tuple(first.shape) if first.shape.rank is not None else None
            found.append(info_of(op, shape))
            return result

        self.run(self._batches(x)[0][0], peel=False, intercept=note)
        return tuple(found)

    def run(
        self,
        x: Leaves,
        *,
        peel: bool = True,
        intercept: Intercept | None = None,
        layers: Sequence[str] = (),
        kinds: frozenset[str] | None = None,
        weights: Mapping[str, Array] | None = None,
    ) -> Outputs:
        options = (peel, intercept, layers, kinds, weights)
        batches = self._batches(x)
        if len(batches) == 1 and batches[0][0] is x:
            return self._run_batch(x, *options)
        # The model serves one batch size only; the last batch is filled up, and cut again.
        parts = [
            tf.nest.map_structure(lambda a, n=real: a[:n], self._run_batch(batch, *options))
            for batch, real in batches
        ]
        return tf.nest.map_structure(lambda *a: tf.concat(a, axis=0), *parts)

    def _batches(self, x: Leaves) -> list[tuple[Leaves, int]]:
        if isinstance(self._model, SavedModel):
            return self._model.batches(x)
        return [(x, -1)]

    def _run_batch(self, x: Leaves, *options: Any) -> Outputs:
        reading = self._reading(x)
        try:
            return self._run(reading, x, *options)
        finally:
            self._readings.ran(reading, x, self._inputs.nest_for(len(x)))

    def _run(
        self,
        reading: Reading,
        x: Leaves,
        peel: bool,
        intercept: Intercept | None,
        layers: Sequence[str],
        kinds: frozenset[str] | None,
        weights: Mapping[str, Array] | None,
    ) -> Outputs:
        names = self._names(reading, x, layers) if layers else []
        only_layers = kinds is not None and kinds <= LAYERS_ONLY
        if isinstance(reading, EagerModel):
            return self._run_eagerly(reading, x, peel, intercept, names, only_layers, weights)
        trace, chains = reading.trace, reading.chains
        replaced = self._replaced(weights)
        if intercept is None or (only_layers and not names):
            if not replaced:
                return trace.run(x, peel)
            return self._run_pieces(trace, chains, x, peel, lambda op: op(), [], replaced)
        if only_layers:
            return self._run_pieces(trace, chains, x, peel, intercept, names, replaced)
        return self._run_operations(trace, x, peel, intercept, names, kinds, replaced)

    def _run_eagerly(
        self,
        model: EagerModel,
        x: Leaves,
        peel: bool,
        intercept: Intercept | None,
        names: Sequence[str],
        only_layers: bool,
        weights: Mapping[str, Array] | None,
    ) -> Outputs:
        if weights or (intercept is not None and not only_layers):
            verb = "replace weights" if weights else "see single operations"
            raise CapabilityError(
                f"This model cannot be traced ({model.reason}), so pellucid cannot {verb} in it.\n"
                "  Methods that use gradients or layers work; see"
                " `pellucid.methods(model=model)`."
            )
        if intercept is None or not names:
            return model.run(x, peel)
        return model.intercepted(x, peel, intercept, names)

    def _run_pieces(
        self,
        trace: Trace,
        chains: Chains,
        x: Leaves,
        peel: bool,
        intercept: Intercept,
        names: Sequence[str],
        replaced: Mapping[str, tuple[tf.Variable, tf.Tensor]],
    ) -> Outputs:
        exits = {trace.value_of(name, x, peel): trace.marks[name][0] for name in names}
        variables = tuple(v for v, _ in replaced.values())
        given = [tensor for _, tensor in replaced.values()]
        wanted, nested = trace.open_ended(peel)
        chain = chains.get(exits, wanted, variables)
        known: dict[int, Any] = dict(zip(trace.program.inputs, x, strict=True))
        for stop, piece in zip(chain.stops, chain.pieces, strict=False):
            known.update(piece.run(known, given))
            mark, value = exits[stop], known[stop]
            changed = intercept(LayerExit(mark.path, mark.call, mark.kind, value))
            known[stop] = like(changed, value)
        results = chain.pieces[-1].run(known, given)
        return nested([results[v] for v in chain.wanted])

    def _run_operations(
        self,
        trace: Trace,
        x: Leaves,
        peel: bool,
        intercept: Intercept,
        names: Sequence[str],
        kinds: frozenset[str] | None,
        replaced: Mapping[str, tuple[tf.Variable, tf.Tensor]],
    ) -> Outputs:
        program = trace.for_rules
        exits = {}
        for name in names:
            number, mark = trace.value_of(name, x, peel), trace.marks[name][0]
            exits[number] = lambda value, m=mark: LayerExit(m.path, m.call, m.kind, value)
        wanted = trace.wanted(x, peel)
        handles = {id(v.handle): name for name, v in self._variables().items()}
        todo = plan(program, (*wanted, *exits))
        given = dict(zip(program.inputs, x, strict=True))
        overrides = {id(v.handle): tensor for v, tensor in replaced.values()}
        on_step = intercepting(
            program, intercept, kinds, exits, handles, trace.mark_values, overrides=overrides
        )
        results = interpret(program, todo, given, overrides=overrides, on_step=on_step)
        return trace.nested(results[: len(wanted)])

    def _names(self, reading: Reading, x: Leaves, layers: Sequence[str]) -> list[str]:
        """Layer names as typed -> layer calls of this run."""
        if isinstance(self._model, SavedModel):
            raise CapabilityError(
                f"No layer {layers[0]!r}: a SavedModel holds operations and weights, no layers.\n"
                "  Load the .keras file it was exported from, or use a method that needs none, such"
                " as integrated_gradients."
            )
        if isinstance(reading, EagerModel):
            calls = reading.calls(x, layers)
        else:
            calls = list(reading.trace.marks)
        found = []
        for name in layers:
            if name not in calls and not calls:
                raise LayerError(f"No layer {name!r}: this model shows no layers to look into.")
            if name in self._tree().layers and name not in calls:
                raise LayerError(
                    f"The layer {name!r} does not reach the output of this model, or runs inside"
                    f" a loop or a branch.\n  {quote_nearest(name, calls)}"
                )
            found.append(find_layer(name, calls))
        return found

    def _replaced(
        self, weights: Mapping[str, Array] | None
    ) -> dict[str, tuple[tf.Variable, tf.Tensor]]:
        if not weights:
            return {}
        known, replaced = self._variables(), {}
        for name, value in weights.items():
            if name not in known:
                raise InputError(f"The model has no weight {name!r}. {quote_nearest(name, known)}")
            variable = known[name]
            tensor = tf.cast(tf.convert_to_tensor(value), variable.dtype)
            if not tensor.shape.is_compatible_with(variable.shape):
                raise InputError(
                    f"The weight {name!r} has shape {tuple(variable.shape)}, but an array of shape"
                    f" {tuple(tensor.shape)} came."
                )
            replaced[name] = (variable, tensor)
        return replaced

    def vjp(
        self, fn: Callable[[Leaves], tuple[Array, Any]], x: Leaves
    ) -> tuple[Array, Any, Callable[[Array], Leaves]]:
        # Fresh tensors: one array passed as two inputs must not add up its gradients.
        leaves = tuple(tf.identity(a) for a in x)
        floats = [a for a in leaves if a.dtype.is_floating or a.dtype.is_complex]
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(floats)
            value, aux = fn(leaves)

        def pullback(cotangent: Array) -> Leaves:
            found = tape.gradient(
                value,
                floats,
                output_gradients=cotangent,
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            gradients = iter(found)
            return tuple(
                tf.convert_to_tensor(next(gradients))
                if a.dtype.is_floating or a.dtype.is_complex
                else tf.zeros_like(a)
                for a in leaves
            )

        return value, aux, pullback

    def compiled_gradients(
        self, x: Leaves, scores: Scores, form: Hashable, *, peel: bool = True
    ) -> Gradients | None:
        reading = self._reading(x)
        if isinstance(reading, EagerModel):
            return None
        if peel:
            reading.trace.activations(x)  # which is peeled is settled by an ordinary run
        found = reading.compiled.get((form, peel))
        if found is None:
            found = reading.compiled[form, peel] = compiled_gradients(reading.trace, scores, peel)
        return found

    def compiled(
        self,
        x: Leaves,
        function: Callable[..., tuple[Any, Any]],
        arguments: tuple[Any, ...],
        form: Hashable,
    ) -> tuple[Any, Any] | None:
        reading = self._reading(x)
        if isinstance(reading, EagerModel):
            return None
        reading.trace.activations(x)  # which is peeled is settled by an ordinary run
        return reading.functions.run(function, arguments, form, self._readings.note)

    def is_known(self, a: Array) -> bool:
        return hasattr(a, "numpy")

    def cut(self, x: Leaves, layer: str, *, peel: bool = True) -> Cut:
        reading = self._reading(x)
        (name,) = self._names(reading, x, [layer])
        if isinstance(reading, EagerModel):
            return reading.cut(x, name, peel)
        trace, chains = reading.trace, reading.chains
        stop = trace.value_of(name, x, peel)
        wanted, nested = trace.open_ended(peel)
        return TracedCut(
            trace.program,
            chains.get([stop], wanted),
            x,
            nested,
            lambda more: self._again(more, name, peel),
            reading.fixed,
            lambda: is_affine(trace.program, stop, trace.wanted(x, peel)),
        )

    def _again(self, x: Leaves, name: str, peel: bool) -> TracedCut:
        """The same cut for other rows, to read what crosses it there."""
        cut = self.cut(x, name, peel=peel)
        if not isinstance(cut, TracedCut):
            raise CapabilityError(
                f"This model can be traced for {x[0].shape[0]} rows no more, so that variants of"
                f" the layer {name!r} cannot be run.\n  Pass one variant a sample."
            )
        return cut

    def stop_gradient(self, a: Array) -> Array:
        return tf.stop_gradient(a)

    def custom_vjp(
        self, fn: Callable[..., Array], backward: Callable[..., Any]
    ) -> Callable[..., Array]:
        @tf.custom_gradient
        def wrapped(*arrays: tf.Tensor) -> Any:
            return fn(*arrays), lambda cotangent: backward(cotangent, *arrays)

        return wrapped

    def weights(self, select: Callable[[str], bool] | None = None) -> dict[str, Array]:
        return {
            name: read(variable)
            for name, variable in self._variables().items()
            if select is None or select(name)
        }

    def fingerprint(self) -> str:
        known = self._known()
        return fingerprint(known.description, known.variables)

    def is_out_of_memory(self, error: BaseException) -> bool:
        return is_out_of_memory(error)
