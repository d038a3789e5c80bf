"""ONNX models, run by ONNX Runtime: forward only."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime

from pellucid.adapters.forward_only import ForwardOnlyAdapter
from pellucid.adapters.onnx.graph import Ending, channel_axis, with_logits
from pellucid.adapters.onnx.values import as_leaf, as_output, float_output, input_spec
from pellucid.adapters.protocol import InputSpec
from pellucid.adapters.structure import Structure, unflatten
from pellucid.errors import CapabilityError, InputError, LoadError, quote_nearest
from pellucid.types import Leaves, Outputs


class OnnxAdapter(ForwardOnlyAdapter):
    """An `onnx.ModelProto`, or an `onnxruntime.InferenceSession` that knows where it came from.

    A final softmax or sigmoid is taken off by asking the graph for what goes into it, checked on
    the batch. A model exported for one batch size is run in batches of that size, the last one
    filled up. The session given is used as it is for its own outputs; logits come from a second
    one of the same graph.
    """

    framework = "onnx"
    refusal = (
        "An ONNX model cannot {what} here: ONNX Runtime only runs it.\n  occlusion works on"
        " it; for gradients and layers load the model it was exported from."
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
        below = [ending.logits for ending in self._endings.values()]
        first = self._confirmed is None
        found = self._fetch(self._open, dict.fromkeys([*self._outputs, *below]), x)
        if first:
            self._confirmed = tuple(self._check(name, found) for name in self._outputs)
        chosen = zip(self._outputs, self._confirmed or self._no_ending, strict=True)
        return _nested([found[self._endings[n].logits if a else n] for n, a in chosen])

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
            parts.append([a[: size - short] if short else a for a in results])
        joined = [
            np.concatenate(column) if len(parts) > 1 else column[0]
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


def _nested(outputs: list[np.ndarray]) -> Outputs:
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _session_and_proto(model: Any) -> tuple[Any, Any]:
    if isinstance(model, onnx.ModelProto):
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
