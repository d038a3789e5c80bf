"""Open one file format each. Nothing here asks for trust: `opening` has decided by then."""

import contextlib
import hashlib
import importlib.util
import io
import pickle
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from pellucid.adapters.loading.file_formats import FileFacts
from pellucid.adapters.registry import recognised_estimator
from pellucid.errors import LoadError, MissingExtraError, PellucidError


@dataclass(frozen=True)
class Loaded:
    """A model fresh from a file, and what the file says about wrapping it."""

    model: Any
    options: Mapping[str, Any] = field(default_factory=dict)


# The first releases without known ways to run code from a file they call safe.
# Torch has none here: its files are loaded only when trusted, and may run code then anyway.
_FLOORS = {"keras": (3, 15), "onnx": (1, 21)}


def require(package: str, extra: str, purpose: str, *, distribution: str | None = None) -> None:
    """Raise `MissingExtraError` unless `package` can be imported; imports nothing itself."""
    if importlib.util.find_spec(package) is None:
        raise MissingExtraError(distribution or package, extra, purpose)


def require_floor(package: str, facts: FileFacts) -> None:
    """Raise `LoadError` where the installed release is known to run code from safe files."""
    floor = _FLOORS[package]
    installed = metadata.version(package)
    if tuple(int(part) for part in installed.split(".")[:2] if part.isdigit()) < floor:
        wanted = ".".join(map(str, floor))
        raise LoadError(
            f"{facts.path} is not loaded with {package} {installed}: releases before {wanted} can "
            f"be made to run code by a model file.\n  Run: pip install '{package}>={wanted}'"
        )


@contextlib.contextmanager
def _explained(facts: FileFacts, library: str, advice: str) -> Iterator[None]:
    """Turn whatever a library raises on a bad file into a `LoadError`."""
    try:
        yield
    except PellucidError:
        raise
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = lines[0] if lines else "nothing more"
        raise LoadError(
            f"{facts.path} ({facts.title}) could not be loaded: {library} says "
            f"{type(error).__name__}: {said[:300]}\n  {advice}"
        ) from error


@contextlib.contextmanager
def _judged_copy(facts: FileFacts, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """A copy nobody else can change, of the very content that was judged, under a fitting name.

    Raises `LoadError` where the file has changed since. A folder (SavedModel) is loaded where it
    lies: its hash was judged too, but whoever can write to it may still change it in between.
    """
    suffix = facts.path.suffix.lower()
    # The folder is this user's alone (mode 0700).
    with tempfile.TemporaryDirectory(prefix="pellucid-") as folder:
        copy = Path(folder) / f"model{suffix if suffix in suffixes else suffixes[0]}"
        shutil.copyfile(facts.path, copy)
        with copy.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != facts.sha256:
            raise _changed(facts)
        yield copy


def load_keras(facts: FileFacts, trusted: bool, suffixes: tuple[str, ...] = (".keras",)) -> Loaded:
    """A `.keras` or HDF5 file; Keras's own safe mode stays on unless the file is trusted."""
    require("keras", "tensorflow", f"Loading {facts.path.name}")
    if not trusted:
        require_floor("keras", facts)
    try:
        import keras
    except ImportError as error:  # Keras is there, its backend is not
        raise MissingExtraError("tensorflow", "tensorflow", f"Loading {facts.path.name}") from error

    advice = (
        "If it holds classes of your own, import the module that registers them "
        "(keras.saving.register_keras_serializable) first, or load through a "
        '"package.module:factory"; else save it again with model.save("model.keras").'
    )
    with _explained(facts, "Keras", advice), _judged_copy(facts, suffixes) as path:
        # An argument, not keras.config: the switch for the whole process is never touched.
        model = keras.saving.load_model(path, compile=False, safe_mode=not trusted)
    return Loaded(model)


def load_hdf5(facts: FileFacts, trusted: bool) -> Loaded:
    """A Keras model in the older HDF5 format."""
    return load_keras(facts, trusted, (".h5", ".hdf5"))


def load_saved_model(facts: FileFacts, trusted: bool) -> Loaded:
    """A SavedModel folder, as a `tf.Module` that is called like the model it was saved from."""
    require("tensorflow", "tensorflow", f"Loading {facts.path.name}")
    import tensorflow as tf

    from pellucid.adapters.tensorflow.saved_model import SavedModel

    advice = "Check that the folder was copied whole: saved_model.pb and variables/."
    with _explained(facts, "TensorFlow", advice):
        loaded = tf.saved_model.load(str(facts.path))
        return Loaded(SavedModel(loaded, facts.path.name), {"framework": "tensorflow"})


def load_torch_export(facts: FileFacts, trusted: bool) -> Loaded:
    """A program saved by `torch.export.save`."""
    require("torch", "torch", f"Loading {facts.path.name}")
    import torch

    advice = "Save it again with torch.export.save, by a torch no newer than the one installed."
    with _explained(facts, "torch", advice), _judged_copy(facts, (".pt2",)) as path:
        return Loaded(torch.export.load(path).module())


def load_torch_object(facts: FileFacts, trusted: bool) -> Loaded:
    """A whole torch module saved by `torch.save(model)`: a pickle, so only when trusted."""
    require("torch", "torch", f"Loading {facts.path.name}")
    import torch

    advice = "Its classes must be importable: run from the folder that holds their module."
    with _explained(facts, "torch", advice), _judged_copy(facts, (".pt",)) as path:
        # Chosen by the file's content and the user's word; never a fallback from weights_only.
        model = torch.load(path, map_location="cpu", weights_only=False)
    if not isinstance(model, torch.nn.Module):
        raise LoadError(
            f"{facts.path} holds a {type(model).__name__}, not a torch.nn.Module.\n"
            '  Build the model in a function of yours and load that: "package.module:factory".'
        )
    return Loaded(model)


def load_pickle(facts: FileFacts, trusted: bool) -> Loaded:
    """An object from a plain pickle, called through `predict_proba` or `predict`."""
    data = _vouched_bytes(facts)
    advice = "Its classes must be importable, in the versions it was pickled with."
    with _explained(facts, "pickle", advice):
        return _estimator(pickle.load(io.BytesIO(data)), facts)


def load_joblib(facts: FileFacts, trusted: bool) -> Loaded:
    """An object from a joblib file, called through `predict_proba` or `predict`."""
    require("joblib", "sklearn", f"Loading {facts.path.name}")
    import joblib  # pyright: ignore[reportMissingImports]  # comes with the sklearn extra

    data = _vouched_bytes(facts)
    advice = "Its classes must be importable, in the versions it was pickled with."
    with _explained(facts, "joblib", advice):
        return _estimator(joblib.load(io.BytesIO(data)), facts)


def load_skops(facts: FileFacts, trusted: bool) -> Loaded:
    """A scikit-learn object from skops; types nobody knows to be harmless only if trusted."""
    require("skops", "sklearn", f"Loading {facts.path.name}")
    import skops.io  # pyright: ignore[reportMissingImports]  # comes with the sklearn extra

    from pellucid.adapters.loading.skops_types import HARMLESS, wrong_trees
    from pellucid.adapters.loading.trust import malformed, refusal

    with _explained(facts, "skops", "Save it again with skops.io.dump."):
        asked = skops.io.get_untrusted_types(file=facts.path)
        unknown = [name for name in asked if name not in HARMLESS]
        if unknown and not trusted:
            raise refusal(facts, tuple(f"type {name}" for name in unknown))
        estimator = skops.io.load(facts.path, trusted=asked)
        wrong = wrong_trees(estimator)
        if wrong:
            raise malformed(facts, wrong)
        return _estimator(estimator, facts)


def load_onnx(facts: FileFacts, trusted: bool) -> Loaded:
    """An ONNX model, with the weights that lie in files beside it."""
    for package in ("onnx", "onnxruntime"):
        require(package, "onnx", f"Loading {facts.path.name}")
    if not trusted:
        require_floor("onnx", facts)
    import onnx

    data = _vouched_bytes(facts)
    with _explained(facts, "onnx", "Export the model again, or copy the file anew."):
        model = onnx.load_model_from_string(data)
        if _has_external_data(model, facts):
            onnx.load_external_data_for_model(model, str(facts.path.parent))
    return Loaded(model)


def _has_external_data(model: Any, facts: FileFacts) -> bool:
    """Whether weights lie in other files. Raises `UnsafeModelError` for names elsewhere."""
    from pellucid.adapters.loading.archives import leads_outside
    from pellucid.adapters.loading.trust import malformed
    from pellucid.adapters.onnx.graph import tensors

    names = {
        entry.value
        for tensor in tensors(model)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    folder = facts.path.parent.resolve()
    outside = [
        name
        for name in sorted(names)
        if leads_outside(name) or (folder / name).resolve() != folder / name
    ]
    if outside:
        reason = "its weights are in {!r}, which leads outside the folder of the model"
        raise malformed(facts, tuple(map(reason.format, outside)))
    return bool(names)


def _vouched_bytes(facts: FileFacts) -> bytes:
    """The content whose hash was judged; `LoadError` where the file has changed since."""
    data = facts.path.read_bytes()
    if hashlib.sha256(data).hexdigest() != facts.sha256:
        raise _changed(facts)
    return data


def _changed(facts: FileFacts) -> LoadError:
    return LoadError(f"{facts.path} changed while it was being loaded; nothing was run.")


def _estimator(thing: Any, facts: FileFacts) -> Loaded:
    """An unpickled object as a model: an estimator of scikit-learn's kind, or a function of one.

    Raises `LoadError` where nothing about the object can be called on a batch.
    """
    if recognised_estimator(thing):
        return Loaded(thing)
    options: dict[str, Any] = {}
    if getattr(thing, "classes_", None) is not None and hasattr(thing, "predict_proba"):
        options["class_names"] = [str(name) for name in thing.classes_]
    if getattr(thing, "feature_names_in_", None) is not None:
        options["feature_names"] = [str(name) for name in thing.feature_names_in_]
    is_network = any(c.__module__.startswith(("keras.", "torch.")) for c in type(thing).__mro__)
    for verb in ("predict_proba", "predict"):
        if hasattr(thing, verb) and not is_network:
            return Loaded(_named(getattr(thing, verb), type(thing).__name__), options)
    if callable(thing):
        return Loaded(thing)
    raise LoadError(
        f"{facts.path} holds a {type(thing).__name__}, which is no model: expected an object with "
        "predict_proba or predict, or one that can be called on a batch."
    )


def _named(function: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    def model(batch: Any) -> Any:
        return function(batch)

    model.__name__ = model.__qualname__ = name
    return model
