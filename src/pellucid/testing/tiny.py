"""Tiny models with one set of weights in every framework, and their float64 oracle."""

import importlib
from typing import Any

import numpy as np

from pellucid.errors import InputError, quote_nearest
from pellucid.testing.tiny_numpy import FORWARDS, Pass, sigmoid, softmax
from pellucid.testing.tiny_weights import ARCHITECTURES, weights_and_inputs

NAMES = tuple(ARCHITECTURES)
FRAMEWORKS = ("numpy", "torch", "tensorflow", "keras", "jax", "tensorlayer")
STYLES = ("functional", "sequential", "nested", "subclassed", "reloaded")
"""Ways to build `dense`, `dense_softmax` and `cnn` in Keras."""

Inputs = np.ndarray | tuple[np.ndarray, ...]

_FINAL_ACTIVATIONS = {"dense_softmax": softmax, "sigmoid": sigmoid}


def build(
    name: str, framework: str, seed: int = 0, *, style: str = "functional"
) -> tuple[Any, Inputs]:
    """Build a model and 5 float32 samples in the framework's layout (a tuple for two inputs).

    Two inputs are two arguments in NumPy, torch, TensorFlow and JAX (where the model is a pair of
    a function and its weights), one tuple in Keras and one list in TensorLayer; see `call`.
    `style` is one of Keras's `STYLES`, or for TensorLayer "static", "dynamic" or "nested".
    """
    _check("model", name, NAMES)
    _check("framework", framework, FRAMEWORKS)
    weights, inputs = weights_and_inputs(ARCHITECTURES[name], seed)
    first, *others = inputs
    x = to_layout((first, *others) if others else first, framework)
    if framework == "numpy":
        return _numpy_model(name, seed), x
    room = importlib.import_module(f"pellucid.testing.tiny_{framework}")
    if framework == "tensorlayer":
        return room.build(name, weights, "static" if style == "functional" else style), x
    if framework == "keras":
        return room.build(name, weights, style), x
    return room.build(name, weights), x


def call(model: Any, framework: str, x: Inputs) -> np.ndarray:
    """Run a model from `build` on `x` in the framework's layout: `(n, classes)`."""
    leaves = x if isinstance(x, tuple) else (x,)
    if framework == "torch":
        torch = importlib.import_module("torch")
        with torch.no_grad():
            return model(*(torch.from_numpy(leaf.copy()) for leaf in leaves)).numpy()
    if framework == "keras":
        return importlib.import_module("keras").ops.convert_to_numpy(model(x, training=False))
    if framework == "tensorlayer":
        # A static model wants exactly what it was declared with, and is left in no mode.
        return np.asarray(model(list(x) if isinstance(x, tuple) else x, is_train=False))
    if framework == "jax":
        apply, weights = model
        return np.asarray(apply(weights, *leaves))
    return np.asarray(model(*leaves))


def to_layout(x: Inputs, framework: str) -> Inputs:
    """Copy images `(n, h, w, c)` into the framework's layout: `(n, c, h, w)` in torch."""
    return _move_channels(x, -1, 1) if framework == "torch" else _fresh(x)


def from_layout(x: Inputs, framework: str) -> Inputs:
    """Copy images in the framework's layout back to `(n, h, w, c)`."""
    return _move_channels(x, 1, -1) if framework == "torch" else _fresh(x)


def reference_forward(name: str, x: Inputs, seed: int = 0, *, logits: bool = False) -> np.ndarray:
    """Compute outputs `(n, classes)` in float64, `x` in NHWC; `logits`: no last activation."""
    out = _run(name, x, seed)[0]
    activation = None if logits else _FINAL_ACTIVATIONS.get(name)
    return activation(out) if activation else out


def reference_gradient(name: str, x: Inputs, target: int, seed: int = 0) -> Inputs:
    """Differentiate one logit by central differences, float64, in the shape of `x` (NHWC).

    Good to 1e-9: away from kinks these models are linear and no shipped sample is within 1e-4 of
    one; in `vit`, which is smooth, a step of 1e-6 leaves an error of 1e-12 of the third
    derivative.
    """
    leaves = x if isinstance(x, tuple) else (x,)
    step = 1e-6
    gradients = []
    for index, leaf in enumerate(leaves):
        moved = np.repeat(leaf.astype(np.float64)[:, None], 2 * leaf[0].size, axis=1)
        steps = step * np.concatenate([np.eye(leaf[0].size), -np.eye(leaf[0].size)])
        moved += steps.reshape(1, -1, *leaf.shape[1:])
        batch = [np.repeat(other, 2 * leaf[0].size, axis=0) for other in leaves]
        batch[index] = moved.reshape(-1, *leaf.shape[1:])
        score = _run(name, tuple(batch), seed)[0][:, target].reshape(len(leaf), 2, -1)
        gradients.append(((score[:, 0] - score[:, 1]) / (2 * step)).reshape(leaf.shape))
    return tuple(gradients) if isinstance(x, tuple) else gradients[0]


def kink_distance(name: str, x: Inputs, seed: int = 0) -> np.ndarray:
    """Measure how far `(n,)` each sample is from the nearest switch of a ReLU or max-pool."""
    outputs, run = _run(name, x, seed)
    return np.broadcast_to(run.kink_distance, len(outputs))


def _run(name: str, x: Inputs, seed: int) -> tuple[np.ndarray, Pass]:
    _check("model", name, NAMES)
    architecture = ARCHITECTURES[name]
    run = Pass(weights_and_inputs(architecture, seed)[0])
    leaves = x if isinstance(x, tuple) else (x,)
    return FORWARDS[architecture](run, *(np.asarray(a, dtype=np.float64) for a in leaves)), run


def _numpy_model(name: str, seed: int):
    def model(*inputs: np.ndarray) -> np.ndarray:
        return reference_forward(name, inputs, seed).astype(np.float32)

    model.__name__ = name
    return model


def _move_channels(x: Inputs, source: int, destination: int) -> Inputs:
    if isinstance(x, tuple):
        return tuple(_move_channels(leaf, source, destination) for leaf in x)  # pyright: ignore
    return np.array(np.moveaxis(x, source, destination) if x.ndim == 4 else x, order="C")


def _fresh(x: Inputs) -> Inputs:
    """Copy, for the shared samples are read-only."""
    return tuple(leaf.copy() for leaf in x) if isinstance(x, tuple) else x.copy()


def _check(what: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise InputError(
            f"no tiny {what} named {name!r}; there are {', '.join(known)}. "
            f"{quote_nearest(name, known)}".rstrip()
        )
