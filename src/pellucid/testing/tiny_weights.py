"""Weights and samples of the tiny models: drawn once in NumPy, the same for every framework."""

import functools
import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from pellucid.testing.tiny_numpy import FORWARDS, Pass

SAMPLES = 5
SAFE_DISTANCE = 2e-4
"""No shipped sample is nearer than this to a kink of its model (see `Pass`)."""

INPUT_SHAPES: Mapping[str, tuple[tuple[int, ...], ...]] = {
    "dense": ((6,),),
    "sigmoid": ((6,),),
    "cnn": ((12, 10, 3),),
    "cnn_functional": ((8, 10, 3),),
    "residual": ((8, 6, 3),),
    "depthwise": ((8, 6, 4),),
    "shared": ((6,), (6,)),
    "two_inputs": ((8, 6, 3), (5,)),
    "vit": ((8, 6, 3),),
}

BLOCK_SHAPES: Mapping[str, tuple[int, ...]] = {
    "query": (8, 8), "key": (8, 8), "value": (8, 8), "output": (8, 8),
    "mlp1": (8, 16), "mlp2": (16, 8),
}  # fmt: skip
"""Kernels of one block of `vit`; the columns of query, key and value are head by head."""

KERNEL_SHAPES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "dense": {"hidden1": (6, 8), "hidden2": (8, 7), "head": (7, 3)},
    "sigmoid": {"hidden1": (6, 8), "head": (8, 1)},
    "cnn": {"conv1": (3, 3, 3, 6), "conv2": (3, 3, 6, 8), "head": (8, 3)},
    "cnn_functional": {"conv1": (3, 3, 3, 6), "conv2": (3, 3, 6, 6), "head": (6, 3)},
    "residual": {"conv1": (3, 3, 3, 6), "conv2": (3, 3, 6, 6), "head": (6, 3)},
    "depthwise": {"depthwise": (3, 3, 4, 2), "pointwise": (1, 1, 8, 8), "head": (8, 3)},
    "shared": {"encoder1": (6, 8), "encoder2": (8, 5), "hidden": (10, 8), "head": (8, 3)},
    "two_inputs": {"conv": (3, 3, 3, 6), "table": (5, 6), "hidden": (12, 8), "head": (8, 3)},
    "vit": {
        "patch": (2, 2, 3, 8),
        **{f"block1_{part}": shape for part, shape in BLOCK_SHAPES.items()},
        **{f"block2_{part}": shape for part, shape in BLOCK_SHAPES.items()},
        "head": (8, 3),
    },
}
"""Layer name -> kernel shape, in TensorFlow's order: (rows, columns, in, out or multiplier)."""

BATCH_NORMS: Mapping[str, Mapping[str, int]] = {"residual": {"norm1": 6, "norm2": 6}}
"""Layer name -> channels."""

LAYER_NORMS: Mapping[str, Mapping[str, int]] = {
    "vit": dict.fromkeys(
        ("block1_norm1", "block1_norm2", "block2_norm1", "block2_norm2", "norm"), 8
    )
}
"""Layer name -> channels."""

VALUE_SHAPES: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "vit": {"class_token": (1, 8), "position": (13, 8)}
}
"""Learned arrays that multiply nothing: 12 patches of 2 by 2 pixels and the class token."""

ARCHITECTURES: Mapping[str, str] = {**{name: name for name in FORWARDS}, "dense_softmax": "dense"}
"""Model name -> architecture: `dense_softmax` is `dense` with a softmax on top."""


@functools.cache
def weights_and_inputs(
    architecture: str, seed: int
) -> tuple[Mapping[str, np.ndarray], tuple[np.ndarray, ...]]:
    """Float32 weights by `layer/part`, and the inputs `(5, ...)` in NHWC, all read-only."""
    rng = np.random.default_rng([seed, *architecture.encode()])
    weights = _draw_weights(architecture, rng)
    candidates = tuple(_draw_input(shape, 400, rng) for shape in INPUT_SHAPES[architecture])
    _spread_the_scores(weights, architecture, candidates, rng)
    chosen = _choose(weights, architecture, candidates)
    inputs = tuple(np.ascontiguousarray(leaf[chosen]) for leaf in candidates)
    for array in (*weights.values(), *inputs):
        array.flags.writeable = False
    return MappingProxyType(weights), inputs


def _draw_weights(architecture: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    weights: dict[str, np.ndarray] = {}
    for layer, shape in KERNEL_SHAPES[architecture].items():
        is_depthwise = layer == "depthwise"
        inputs = math.prod(shape[:2] if is_depthwise else shape[:-1])
        outputs = math.prod(shape[2:]) if is_depthwise else shape[-1]
        gain = 1 if architecture == "vit" else 2  # a ReLU lets half of the variance through
        weights[f"{layer}/kernel"] = rng.normal(0.0, math.sqrt(gain / inputs), shape)
        weights[f"{layer}/bias"] = rng.normal(0.0, 0.3, outputs)
    for layer, channels in BATCH_NORMS.get(architecture, {}).items():
        weights[f"{layer}/gamma"] = rng.uniform(0.6, 1.6, channels)
        weights[f"{layer}/beta"] = rng.normal(0.0, 0.3, channels)
        weights[f"{layer}/mean"] = rng.normal(0.0, 0.5, channels)
        weights[f"{layer}/variance"] = rng.uniform(0.4, 2.0, channels)
    for layer, channels in LAYER_NORMS.get(architecture, {}).items():
        weights[f"{layer}/gamma"] = rng.uniform(0.6, 1.6, channels)
        weights[f"{layer}/beta"] = rng.normal(0.0, 0.3, channels)
    for layer, shape in VALUE_SHAPES.get(architecture, {}).items():
        weights[f"{layer}/value"] = rng.normal(0.0, 0.5, shape)
    return {name: value.astype(np.float32) for name, value in weights.items()}


def _draw_input(shape: tuple[int, ...], count: int, rng: np.random.Generator) -> np.ndarray:
    x = rng.normal(0.0, 1.0, (count, *shape))
    if len(shape) == 3:  # pixel noise alone averages out: each sample gets a tint of its own
        x = 0.7 * x + rng.normal(0.0, 0.8, (count, 1, 1, shape[2]))
    return x.astype(np.float32)


def _spread_the_scores(
    weights: dict[str, np.ndarray],
    architecture: str,
    candidates: tuple[np.ndarray, ...],
    rng: np.random.Generator,
) -> None:
    """Mix the head's columns so that logits vary by 1.5, unlike each other, around about 0."""
    logits = _forward(weights, architecture, candidates)[0]
    covariance = np.atleast_2d(np.cov(logits, rowvar=False))
    # The ridge keeps nearly parallel columns from being blown up, and rounding with them.
    ridge = 0.1 * covariance.diagonal().mean() * np.eye(len(covariance))
    mixing = 1.5 * np.linalg.inv(np.linalg.cholesky(covariance + ridge)).T
    shift = -(logits.mean(axis=0) - weights["head/bias"]) @ mixing
    weights["head/kernel"] = (weights["head/kernel"] @ mixing).astype(np.float32)
    weights["head/bias"] = (shift + rng.normal(0.0, 0.2, shift.shape)).astype(np.float32)


def _choose(
    weights: dict[str, np.ndarray], architecture: str, candidates: tuple[np.ndarray, ...]
) -> list[int]:
    """Pick samples far from every kink, clear in their class, of as many classes as there are."""
    logits, kink_distance = _forward(weights, architecture, candidates)
    scores = logits if logits.shape[1] > 1 else np.concatenate([logits, -logits], axis=1)
    ranked = np.sort(scores, axis=1)
    clear = (ranked[:, -1] - ranked[:, -2] > 0.1) & (kink_distance > SAFE_DISTANCE)
    winner = scores.argmax(axis=1)
    by_class = [np.flatnonzero(clear & (winner == k)) for k in range(scores.shape[1])]
    in_turn = [int(rows[turn]) for turn in range(SAMPLES) for rows in by_class if turn < len(rows)]
    return in_turn[:SAMPLES]


def _forward(
    weights: Mapping[str, np.ndarray], architecture: str, inputs: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, np.ndarray]:
    run = Pass(weights)
    logits = FORWARDS[architecture](run, *(leaf.astype(np.float64) for leaf in inputs))
    return logits, np.broadcast_to(run.kink_distance, len(logits))
