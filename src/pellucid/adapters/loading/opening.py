"""From a file or the name of a factory to a model, running no code nobody vouched for."""

import contextlib
import dataclasses
import functools
import importlib
import os
import re
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pellucid.adapters.loading import loaders
from pellucid.adapters.loading.archives import Finding
from pellucid.adapters.loading.file_formats import FileFacts, FileFormat, inspect_file
from pellucid.adapters.loading.loaders import Loaded
from pellucid.adapters.loading.trust import Trust, disguised, malformed, refusal, vouched
from pellucid.errors import InputError, LoadError, PellucidError, quote_nearest

if TYPE_CHECKING:
    from pellucid.model import Model

Loader = Callable[[FileFacts, bool], Loaded]

_SPEC = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<attribute>[A-Za-z_][\w.]*)")

_LOADERS: dict[FileFormat, Loader] = {
    FileFormat.KERAS: loaders.load_keras,
    FileFormat.HDF5: loaders.load_hdf5,
    FileFormat.SAVED_MODEL: loaders.load_saved_model,
    FileFormat.TORCH_EXPORT: loaders.load_torch_export,
    FileFormat.TORCH_CHECKPOINT: loaders.load_torch_object,
    FileFormat.PICKLE: loaders.load_pickle,
    FileFormat.JOBLIB: loaders.load_joblib,
    FileFormat.SKOPS: loaders.load_skops,
    FileFormat.ONNX: loaders.load_onnx,
}

_FACTORY = (
    "Write a function that builds the network, loads the file into it and returns it, and name "
    'that function: "package.module:factory".'
)
# What is recognised and is no model by itself, or is none that can be explained.
_NO_MODEL = {
    FileFormat.TORCH_CHECKPOINT: "is a checkpoint of plain tensors (a state dict): weights "
    "without the network they belong to.\n  "
    f"{_FACTORY}\n  In it: net.load_state_dict(torch.load(path, weights_only=True)).",
    FileFormat.TORCHSCRIPT: "is a TorchScript program. It is deprecated, runs outside Python, and "
    "its layers and operations cannot be seen; it is not supported.\n"
    "  Save the network with torch.export.save, or name the code that builds it: "
    '"package.module:factory".',
    FileFormat.SAFETENSORS: f"holds weights without the network they belong to.\n  {_FACTORY}",
    FileFormat.NPZ: f"holds arrays, not a model.\n  {_FACTORY}",
    FileFormat.NPY: f"holds one array, not a model.\n  {_FACTORY}",
    FileFormat.TFLITE: "is a TensorFlow Lite model: it cannot be differentiated or opened.\n"
    "  Load the model it was converted from, or wrap its interpreter in a "
    '"package.module:factory".',
    FileFormat.HUGGING_FACE: f"is a Hugging Face folder.\n  {_FACTORY}\n"
    "  In it: AutoModel….from_pretrained(path, trust_remote_code=False, use_safetensors=True).",
    FileFormat.MLFLOW: f"is an MLflow folder, which may name code of its own.\n  {_FACTORY}",
    FileFormat.EMPTY: "is empty (0 bytes): it was cut off while being copied or written.",
    FileFormat.FOLDER: "is a folder, but no SavedModel: there is no saved_model.pb in it.\n"
    "  Name the model file inside it, or the folder that holds saved_model.pb.",
    FileFormat.ZIP: "is a zip archive, but holds no model: expected config.json, metadata.json "
    "and model.weights.h5 (.keras), data.pkl (torch) or schema.json (skops).",
    FileFormat.UNKNOWN: "is no model file pellucid knows by its content: expected .keras, a "
    "SavedModel folder, .h5, .pt2, .pt, .onnx, .skops or a pickle.\n  It may be damaged, or of a "
    f"format that is not supported. {_FACTORY}",
}


def load(path_or_spec: str | Path, *, trust: Trust = None, **wrap_options: Any) -> "Model":
    """A model from a file, a SavedModel folder, or `"package.module:factory"`.

    The type is told by content, not by suffix. What could run code is refused unless `trust`
    is True or the file's SHA-256. `wrap_options` are those of `wrap`.

    Raises `UnsafeModelError` for a file nobody vouches for, `LoadError` for one that is missing,
    damaged or no model, `MissingExtraError` where its framework is not installed.

    >>> model = load("model.keras", class_names=["cat", "dog"])
    >>> model = load("my_project.models:build")
    """
    from pellucid.model import Model, wrap

    if is_spec(path_or_spec):
        if isinstance(trust, str):
            raise InputError("trust takes the SHA-256 of a file; a factory is your own code.")
        module_name, _, attribute = str(path_or_spec).partition(":")
        loaded = Loaded(load_factory(module_name, attribute))
    else:
        loaded = load_file(path_or_spec, trust)
    options = {name: value for name, value in wrap_options.items() if value is not None}
    if isinstance(loaded.model, Model):
        model = _overruled(loaded.model, options)
    else:
        model = wrap(loaded.model, **{**loaded.options, **options})
    return dataclasses.replace(model, source=str(path_or_spec))


def _overruled(model: "Model", options: dict[str, Any]) -> "Model":
    """A model that a factory wrapped itself; what it said holds unless overruled here."""
    fixed = options.keys() - {"output", "class_names", "feature_names", "preprocess", "tokenizer"}
    if fixed:
        raise InputError(
            f"the factory returns a wrapped model, which fixes {', '.join(sorted(fixed))}; "
            "say it in the factory's own call of wrap."
        )
    changes = {
        name: tuple(map(str, value)) if name.endswith("_names") else value
        for name, value in options.items()
    }
    return dataclasses.replace(model, **changes)


def is_spec(path_or_spec: str | Path) -> bool:
    """Whether this names a factory, `package.module:factory`, rather than a file."""
    return bool(_SPEC.fullmatch(str(path_or_spec))) and not Path(path_or_spec).exists()


def load_file(path: str | Path, trust: Trust = None) -> Loaded:
    """A model from a file or folder, not yet wrapped; raises as `load` does."""
    if re.match(r"[a-z][a-z0-9+.-]+://", str(path)):
        raise LoadError(
            f"{path} is an address; models are loaded from this machine only.\n"
            "  Download the file, compare its SHA-256 with the publisher's, and name the file."
        )
    facts = inspect_file(path)
    trusted = vouched(trust, facts)
    check_before_loading(facts, trusted)
    return _LOADERS[facts.format](facts, trusted)


def check_before_loading(facts: FileFacts, trusted: bool) -> None:
    """Refuse what is no model, what was made to do harm, and what is dangerous and not trusted.

    Raises `LoadError` or `UnsafeModelError`; returns where the file may be loaded.
    """
    bad = tuple(finding.text for finding in facts.findings if finding.kind == "malformed")
    if bad:
        raise malformed(facts, bad)
    suffix = facts.path.suffix.lower()
    if facts.format in (FileFormat.PICKLE, FileFormat.JOBLIB) and suffix in _NOT_A_PICKLE:
        raise disguised(facts, suffix)
    plain_tensors = facts.format is FileFormat.TORCH_CHECKPOINT and facts.runs_code == "no"
    if facts.format in _NO_MODEL and (
        plain_tensors or facts.format is not FileFormat.TORCH_CHECKPOINT
    ):
        raise LoadError(f"{facts.path} {_NO_MODEL[facts.format]}")
    # Which types a skops file holds is known to its loader, which refuses them itself.
    if trusted or facts.runs_code == "no" or facts.format is FileFormat.SKOPS:
        return
    findings = [finding for finding in facts.findings if not _is_registered(finding)]
    if facts.format is FileFormat.KERAS and not findings:
        return  # only classes the user has registered: code that is running already
    advice = ""
    if facts.format is FileFormat.KERAS and all(f.kind == "foreign" for f in findings):
        advice = (
            "if these classes are yours, import the module that registers them "
            "(keras.saving.register_keras_serializable) before loading; no trust is needed then"
        )
    raise refusal(facts, tuple(finding.text for finding in findings), advice)


_NOT_A_PICKLE = frozenset({".keras", ".h5", ".hdf5", ".onnx", ".safetensors", ".npz", ".tflite"})


def _is_registered(finding: Finding) -> bool:
    """Whether a class that is not Keras's is one the user's program has registered with it."""
    if finding.kind != "foreign" or "keras" not in sys.modules:
        return False
    import keras

    return keras.saving.get_registered_object(finding.name) is not None


def load_factory(module_name: str, attribute: str) -> Any:
    """What `module:attribute` returns when called, or the attribute where it is a model itself.

    The current folder is importable meanwhile, as with `python -m`.
    Raises `LoadError` where it cannot be imported, needs arguments, or raises.
    """
    thing = find_attribute(module_name, attribute)
    if not _is_factory(thing):
        return thing
    with _current_folder_importable():
        try:
            return thing()
        except PellucidError:
            raise
        except Exception as error:
            raise LoadError(
                f"{module_name}:{attribute} raised {type(error).__name__}: {error}.\n"
                "  A factory takes no arguments and returns the model; to explain a plain "
                "function f, return it: def factory(): return f"
            ) from error


def find_attribute(module_name: str, attribute: str) -> Any:
    """What a module holds under a (dotted) name; the current folder is importable meanwhile.

    Raises `LoadError` where the module cannot be imported or has no such name.
    """
    spec = f"{module_name}:{attribute}"
    with _current_folder_importable():
        try:
            thing: Any = importlib.import_module(module_name)
        except PellucidError:
            raise
        except Exception as error:
            raise LoadError(
                f"{spec}: importing {module_name} raised {type(error).__name__}: {error}.\n"
                f"  The module must be installed, or lie in the current folder ({os.getcwd()})."
            ) from error
    for name in attribute.split("."):
        if not hasattr(thing, name):
            raise LoadError(
                f"{spec}: {getattr(thing, '__name__', thing)!r} has no {name!r}. "
                f"{quote_nearest(name, dir(thing))}"
            )
        thing = getattr(thing, name)
    return thing


def _is_factory(thing: Any) -> bool:
    """Functions and classes are called; an object that is a model already is taken as it is."""
    kinds = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, functools.partial)
    return isinstance(thing, (type, *kinds))


@contextlib.contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)
