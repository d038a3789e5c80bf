"""ONNX models, run by ONNX Runtime: forward only."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import onnxruntime

from pellucid.adapters.derived import info_of
from pellucid.adapters.forward_only import ForwardOnlyAdapter
from pellucid.adapters.onnx.graph import Ending, channel_axis, stored_elsewhere, with_logits
from pellucid.adapters.onnx.reading import OnnxGraph
from pellucid.adapters.onnx.values import as_leaf, as_output, float_output, input_spec
from pellucid.adapters.onnx.watching import Watch, sample_axes, showing
from pellucid.adapters.protocol import InputSpec, Intercept, LayerInfo, OperationInfo
from pellucid.adapters.structure import Structure, unflatten
from pellucid.errors import CapabilityError, InputError, LoadError, quote_nearest
from pellucid.types import Array, Leaves, Outputs


class OnnxAdapter(ForwardOnlyAdapter):
    """An `onnx.ModelProto`, or an `onnxruntime.InferenceSession` that knows where it came from.

    A final softmax or sigmoid is taken off by asking the graph for what goes into it, checked on
    the batch. A model exported for one batch size is run in batches of that size, the last one
    filled up. The session given is used as it is for its own outputs; logits come from a second
    one of the same graph, and values on its way from a third one, of which they are outputs: its
    nodes are layers that can be looked at, though nothing of it can be changed.
    """

    framework = "onnx"
    refusal = (
        "An ONNX model cannot {what} here: ONNX Runtime only runs it.\n  occlusion works on"
        " it; for gradients, and to change layers, load the model it was exported from."
    )

    def __init__(self, model: Any) -> None:
        self._session, self._proto = _session_and_proto(model)
        self._structure: Structure = None
        self._specs = tuple(map(input_spec, self._session.get_inputs()))
        sizes = [value.shape[0] for value in self._session.get_inputs() if value.shape]
        self._rows = next((size for size in sizes if isinstance(size, int)), None)
        outputs = self._session.get_outputs()
        floats = [value.name for value in outputs if float_output(value)]
        # A converted classifier returns labels too, which are no scores.
        self._outputs = floats or [value.name for value in outputs]
        self._endings: dict[str, Ending] = {}
        self._open: Any = self._session
        if self._proto is not None:
            self._find_endings(self._proto)
        self._confirmed: tuple[str | None, ...] | None = None if self._endings else self._no_ending
        self._graph = None if self._proto is None else OnnxGraph(self._proto)
        self._shown: tuple[tuple[str, ...], Any] = (), None
        """The values that were asked for last on the way, and the session that returns them."""
        self._axes: dict[tuple[tuple[int, ...], ...], dict[str, int | None]] = {}

    def _find_endings(self, proto: Any) -> None:
        changed, endings = with_logits(proto)
        names = [output.name for output in proto.graph.output]
        found = zip(names, endings, strict=True)
        self._endings = {n: e for n, e in found if e is not None and n in self._outputs}
        if self._endings:
            self._open = _session(changed.SerializeToString(), self._session.get_providers())

    @property
    def _no_ending(self) -> tuple[str | None, ...]:
        return (None,) * len(self._outputs)

    @property
    def device(self) -> str:
        return self._session.get_providers()[0].removesuffix("ExecutionProvider")

    @property
    def channel_axis(self) -> int:  # type: ignore[override]
        return -1 if self._proto is None else channel_axis(self._proto)

    @property
    def notes(self) -> tuple[str, ...]:
        size = () if self._rows is None else (f"the graph takes batches of {self._rows}",)
        return (f"ONNX Runtime, {self._session.get_providers()[0]}", *size)

    @property
    def inputs(self) -> tuple[InputSpec, ...] | None:
        return self._specs

    def accept(self, x: Any) -> Leaves:
        names = [spec.name for spec in self._specs]
        if isinstance(x, Mapping):
            missing = [name for name in names if name not in x]
            if missing or len(x) != len(names):
                raise InputError(
                    f"The model has the inputs {', '.join(map(repr, names))}, but"
                    f" {', '.join(map(repr, x))} came. {quote_nearest((missing or [''])[0], x)}"
                )
            self._structure, leaves = tuple(names), [x[name] for name in names]
        elif isinstance(x, tuple | list) and len(names) > 1:
            self._structure, leaves = len(names), list(x)
        else:
            self._structure, leaves = None, [x]
        if len(leaves) != len(names):
            raise InputError(
                f"The model has {len(names)} inputs ({', '.join(names)}), but {len(leaves)} came."
            )
        return tuple(as_leaf(a, s) for a, s in zip(leaves, self._specs, strict=True))

    def restore(self, leaves: Sequence[Any]) -> Any:
        return unflatten(leaves, self._structure)

    def final_activation(self, x: Leaves) -> tuple[str | None, ...]:
        if self._confirmed is None:
            self._run_open(x)
        return self._confirmed or self._no_ending

    def forward(self, x: Leaves, *, peel: bool) -> Outputs:
        if not peel or not (self._endings if self._confirmed is None else any(self._confirmed)):
            found = self._fetch(self._session, self._outputs, x)
            return _nested([found[name] for name in self._outputs])
        return self._run_open(x)

    def _run_open(self, x: Leaves) -> Outputs:
        """Logits where an output is confirmed to be their softmax or sigmoid."""
        return self._logits(self._fetch(self._open, self._with_logits, x))

    @property
    def _with_logits(self) -> list[str]:
        below = [ending.logits for ending in self._endings.values()]
        return list(dict.fromkeys([*self._outputs, *below]))

    def _logits(self, found: Mapping[str, np.ndarray]) -> Outputs:
        if self._confirmed is None:
            self._confirmed = tuple(self._check(name, found) for name in self._outputs)
        chosen = zip(self._outputs, self._confirmed or self._no_ending, strict=True)
        return _nested([found[self._endings[n].logits if a else n] for n, a in chosen])

    @property
    def shows_layers(self) -> bool:
        return self._graph is not None

    @property
    def shows_weights(self) -> bool:
        return self._graph is not None

    def _read(self) -> OnnxGraph:
        if self._graph is None:
            raise CapabilityError(
                "This InferenceSession does not keep the graph it was made from.\n"
                "  Pass the onnx.ModelProto, or open the file: pellucid.load(path)."
            )
        return self._graph

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
        if weights:
            raise self.cannot("be given other weights")
        if intercept is None:
            return self.forward(x, peel=peel)
        watch = Watch(self._read(), intercept, frozenset(layers), kinds)
        axes = self._sample_axes(x) if layers else {}
        found = self._values(x, (*self._with_logits, *watch.values))
        names = (spec.name for spec in self._specs)
        watch.show(found | dict(zip(names, x, strict=True)), axes)
        return self._logits(found) if peel else _nested([found[n] for n in self._outputs])

    def _values(self, x: Leaves, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Values on the way; the session that returns them is kept for the next micro-batch."""
        asked = tuple(dict.fromkeys(names))
        if self._shown[0] != asked:
            changed = showing(self._read().model, asked).SerializeToString()
            self._shown = asked, _session(changed, self._session.get_providers())
        return self._fetch(self._shown[1], asked, x)

    def _sample_axes(self, x: Leaves) -> dict[str, int | None]:
        key = tuple(a.shape[1:] for a in x)
        if key not in self._axes:
            graph = self._read()
            names = [node.outputs[0] for node in graph.nodes]

            def shapes(rows: int) -> dict[str, tuple[int, ...]]:
                found = self._values(tuple(np.repeat(a[:1], rows, axis=0) for a in x), names)
                return {name: value.shape for name, value in found.items()}

            self._axes[key] = sample_axes(graph, shapes, free=self._rows is None)
        return self._axes[key]

    def layers(self, x: Leaves | None = None) -> tuple[LayerInfo, ...]:
        if self._graph is None:
            return ()
        known = self._graph.layers()
        if x is None:
            return known
        shapes: dict[str, tuple[int, ...]] = {}

        def see(op: Any) -> Array:
            shapes[op.path] = op().shape
            return op()

        self.run(x, intercept=see, layers=[layer.path for layer in known], kinds=frozenset())
        return tuple(replace(layer, shape=shapes[layer.path]) for layer in known)

    def operations(self, x: Leaves) -> tuple[OperationInfo, ...]:
        found: list[OperationInfo] = []

        def see(op: Any) -> Array:
            found.append(info_of(op, op().shape))
            return op()

        self.run(x, intercept=see)
        return tuple(found)

    def weights(self, select: Callable[[str], bool] | None = None) -> dict[str, Array]:
        graph = self._read()
        return {n: graph.array(n) for n in graph.owners if select is None or select(n)}

    @property
    def weight_layers(self) -> Mapping[str, tuple[str, ...]]:
        return {} if self._graph is None else self._graph.owners

    def weight_outputs_first(self, name: str) -> bool:
        return self._read().outputs_first(name)

    def _check(self, name: str, found: Mapping[str, np.ndarray]) -> str | None:
        ending = self._endings.get(name)
        if ending is None or not ending.confirmed(found[ending.logits], found[name]):
            return None
        return ending.activation

    def _fetch(self, session: Any, names: Any, x: Leaves) -> dict[str, np.ndarray]:
        """The named tensors for all rows, in as many runs as the graph's batch size asks for."""
        wanted, count = list(names), int(x[0].shape[0])
        size = self._rows or max(count, 1)
        parts = []
        for start in range(0, max(count, 1), size):
            rows = [a[start : start + size] for a in x]
            short = size - len(rows[0]) if self._rows else 0
            if short:
                rows = [np.concatenate([a, np.repeat(a[-1:], short, axis=0)]) for a in rows]
            named = {
                s.name: np.ascontiguousarray(a) for s, a in zip(self._specs, rows, strict=True)
            }
            results = [as_output(value) for value in session.run(wanted, named)]
            parts.append([a[: size - short] if short and _is_for(a, size) else a for a in results])
        joined = [
            np.concatenate(column) if len(parts) > 1 and column[0].ndim else column[0]
            for column in zip(*parts, strict=True)
        ]
        return dict(zip(wanted, joined, strict=True))

    def fingerprint(self) -> str:
        if self._proto is None:
            text = repr([(s.name, s.shape, s.dtype) for s in self._specs]).encode()
            text += str(self._session.get_modelmeta().graph_name).encode()
        else:
            text = self._proto.SerializeToString(deterministic=True)
        return hashlib.blake2b(text, digest_size=8).hexdigest()

    def is_out_of_memory(self, error: BaseException) -> bool:
        said = str(error)
        return isinstance(error, MemoryError) or "allocate memory" in said or "bad_alloc" in said


def _is_for(a: np.ndarray, rows: int) -> bool:
    """Whether an array has a row for each sample; one on the way may be a constant."""
    return a.ndim > 0 and len(a) == rows


def _nested(outputs: list[np.ndarray]) -> Outputs:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _session_and_proto(model: Any) -> tuple[Any, Any]:
    if isinstance(model, onnx.ModelProto):
        elsewhere = next(stored_elsewhere(model), None)
        if elsewhere is not None:
            raise LoadError(
                f"The weights of this ModelProto are in another file ({elsewhere}), which it does"
                " not hold.\n  Open its file, which knows where that is: pellucid.load(path)."
            )
        return _session(model.SerializeToString(), ["CPUExecutionProvider"]), model
    if not isinstance(model, onnxruntime.InferenceSession):
        raise CapabilityError(
            f"Expected an onnx.ModelProto or an onnxruntime.InferenceSession, got a"
            f" {type(model).__name__}.\n  A file is opened by pellucid.load(path)."
        )
    # A session keeps what it was made from, where that was not a format of ONNX Runtime's own.
    content, path = getattr(model, "_model_bytes", None), getattr(model, "_model_path", None)
    if content is not None and not str(path or "").endswith(".ort"):
        return model, onnx.load_model_from_string(content)
    if path is not None and str(path).endswith(".onnx"):
        return model, onnx.load(str(path))
    return model, None


def _session(content: bytes, providers: Sequence[str]) -> Any:
    try:
        return onnxruntime.InferenceSession(content, providers=list(providers))
    except Exception as error:
        first = str(error).strip().partition("\n")[0][:300]
        raise LoadError(
            f"ONNX Runtime {onnxruntime.__version__} cannot run this model: {first}\n"
            "  Libraries of custom operations are not loaded; a newer ONNX Runtime knows newer"
            " versions of the standard."
        ) from error
