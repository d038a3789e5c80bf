"""Which adapter fits a model, decided by the names of its types; nothing is imported to ask."""

import functools
import sys
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any

from pellucid.adapters.protocol import Adapter
from pellucid.errors import CapabilityError, InputError, MissingExtraError, quote_nearest


def _torch(model: Any) -> Adapter:
    from pellucid.adapters.torch import TorchAdapter

    return TorchAdapter(model)


def _tensorflow(model: Any) -> Adapter:
    from pellucid.adapters.tensorflow import TensorFlowAdapter

    return TensorFlowAdapter(model)


def _keras(model: Any) -> Adapter:
    backend = _keras_backend()
    if backend == "torch":
        from pellucid.adapters.keras.on_torch import keras_on_torch

        return keras_on_torch(model)
    if backend == "jax":
        from pellucid.adapters.keras.on_jax import keras_on_jax

        return keras_on_jax(model)
    return _tensorflow(model)


def _keras_backend() -> str:
    """The backend that Keras runs on in this process; TensorFlow where it is not imported."""
    keras = sys.modules.get("keras")
    return "tensorflow" if keras is None else keras.config.backend()


def _tensorlayer(model: Any) -> Adapter:
    from pellucid.adapters.tensorlayer import tensorlayer_adapter

    return tensorlayer_adapter(model)


def _jax(model: Any) -> Adapter:
    from pellucid.adapters.jax import JaxAdapter

    return JaxAdapter(model)


def _tensorlayerx(model: Any) -> Adapter:
    from pellucid.adapters.tensorlayer import tensorlayerx_adapter

    return tensorlayerx_adapter(model)


def _sklearn(model: Any) -> Adapter:
    from pellucid.adapters.sklearn import SklearnAdapter

    return SklearnAdapter(model)


def _onnx(model: Any) -> Adapter:
    from pellucid.adapters.onnx import OnnxAdapter

    return OnnxAdapter(model)


def _callable(model: Any) -> Adapter:
    from pellucid.adapters.callable import CallableAdapter

    return CallableAdapter(model)


_ADAPTERS: dict[str, Callable[[Any], Adapter]] = {
    "torch": _torch,
    "tensorflow": _tensorflow,
    "keras": _keras,
    "tensorlayer": _tensorlayer,
    "jax": _jax,
    "tensorlayerx": _tensorlayerx,
    "sklearn": _sklearn,
    "onnx": _onnx,
    "callable": _callable,
}

_JAX_TYPES = frozenset({"jax", "jaxlib", "flax", "equinox"})


_EXTRAS = {
    "torch": "torch",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "keras": "tensorflow",
    "tensorlayer": "tensorlayer",
    "cv2": "tensorlayer",
    "sklearn": "sklearn",
    "joblib": "sklearn",
    "onnx": "onnx",
    "onnxruntime": "onnx",
}
"""The extra that brings a package an adapter imports."""

_ESTIMATORS = frozenset({"sklearn", "xgboost", "lightgbm"})
"""Packages whose models have scikit-learn's interface."""


def _roots(value: Any) -> list[str]:
    return [c.__module__.partition(".")[0] for c in type(value).__mro__]


def recognised_estimator(value: Any) -> bool:
    """Whether this is an estimator with scikit-learn's interface."""
    return not isinstance(value, type) and not _ESTIMATORS.isdisjoint(_roots(value))


def framework_of_array(x: Any) -> str | None:
    """The framework whose tensors `x` is made of; None for NumPy and plain Python."""
    while isinstance(x, tuple | list | dict) and x:
        x = next(iter(x.values())) if isinstance(x, dict) else x[0]
    roots = _roots(x)
    if not _JAX_TYPES.isdisjoint(roots):
        return "jax"
    return next((name for name in ("torch", "tensorflow") if name in roots), None)


def _is_jax(model: Any) -> bool:
    """Whether a model is of JAX, or a function that JAX has changed or is given parameters of it.

    A pair `(apply, params)` is nobody else's way to hold a model.
    """
    if isinstance(model, tuple) and len(model) == 2 and callable(model[0]):
        return True
    if isinstance(model, functools.partial):
        held = (*model.args, *model.keywords.values())
        return _is_jax(model.func) or any(framework_of_array(a) == "jax" for a in held)
    wrapped = getattr(model, "__wrapped__", None)
    return not _JAX_TYPES.isdisjoint(_roots(model)) or (wrapped is not None and _is_jax(wrapped))


def recognise(model: Any, x: Any = None) -> str:
    """The framework of a model; that of the tensors `x` for a plain function of tensors.

    Raises `CapabilityError` for an object that no adapter knows and that cannot be called.
    """
    roots = _roots(model)
    if isinstance(model, type):
        raise CapabilityError(
            f"Expected a model, got the class {model.__module__}.{model.__qualname__}.\n"
            f"  Make one of it first: {model.__qualname__}(...)."
        )
    if recognised_estimator(model):
        return "sklearn"
    if "onnx" in roots or "onnxruntime" in roots:
        return "onnx"
    if "keras" in roots:
        backend = _keras_backend()
        if backend not in {"tensorflow", "torch", "jax"}:
            raise CapabilityError(
                f"Keras runs on its {backend} backend here; pellucid reads Keras on TensorFlow,"
                " torch and JAX.\n  Set KERAS_BACKEND=tensorflow before Keras is imported."
            )
        return "keras"
    for name in ("torch", "tensorflow", "tensorlayer", "tensorlayerx"):
        if name in roots:
            return name
    if _is_jax(model):
        return "jax"
    if not callable(model):
        raise CapabilityError(
            f"Expected a Keras, TensorFlow, PyTorch or JAX model, or a function from arrays to"
            f" arrays, got {type(model).__module__}.{type(model).__qualname__}.\n  {_hint(model)}"
        )
    return framework_of_array(x) or "callable"


def _hint(model: Any) -> str:
    if isinstance(model, str | PathLike):
        return f"A model in a file is opened by pellucid.load({str(model)!r})."
    if hasattr(model, "shape"):
        return "The model comes first: explain(model, x)."
    if isinstance(model, Mapping):
        return "These look like weights: load them into the model they belong to and pass that."
    return "Pass a function that calls it, for instance model.predict_proba."


def make_adapter(model: Any, framework: str | None, x: Any = None) -> Adapter:
    """The adapter for a model, of the framework named or of the one it is seen to be.

    Raises `MissingExtraError` where the framework is not installed.
    """
    name = framework or recognise(model, x)
    if name not in _ADAPTERS:
        raise InputError(
            f"Unknown framework {name!r}: expected one of {sorted(_ADAPTERS)}."
            f" {quote_nearest(name, _ADAPTERS)}"
        )
    try:
        return _ADAPTERS[name](model)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            purpose = f"Explaining a model of {name}"
            raise MissingExtraError(package, _EXTRAS[package], purpose) from error
        raise
