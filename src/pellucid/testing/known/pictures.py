"""Pictures with networks set by hand: planted objects, and the tetrominoes of XAI-TRIS."""

import numpy as np

from pellucid.testing.known.answers import KnownAnswer
from pellucid.testing.known.network import Convolution, Dense, HandSet
from pellucid.testing.known.noise import Noise, smooth_noise, white_noise

SIDE = 16
T = np.array([[1, 1, 1], [0, 1, 0]], bool)
L = np.array([[1, 0], [1, 0], [1, 1]], bool)


def planted_objects(generator: np.random.Generator, count: int) -> KnownAnswer:
    """Noise with objects of 3 × 3: a red one decides, green counts nothing, blue counts against.

    Channels of `(16, 16, 3)` are cut off below 1, where all of the noise is, then a filter of
    3 × 3 with weights 1/9 for red, 0 for green and −1/9 for blue slides over them, and its
    responses are added up: f is the sum of the red object's values over 1 less the blue one's.
    Truth is 0 everywhere else; `masks` are the red object, a share of 9/256.
    """
    x = generator.uniform(-0.5, 0.5, size=(count, SIDE, SIDE, 3))
    masks = np.zeros((count, SIDE, SIDE), bool)
    for picture, mask in zip(x, masks, strict=True):
        cells = generator.permutation(9)[:3]
        for channel, cell in enumerate(cells):
            row, column = 1 + 4 * np.array(divmod(cell, 3)) + generator.integers(2, size=2)
            inside = np.s_[row : row + 3, column : column + 3]
            picture[(*inside, channel)] = generator.uniform(1.5, 2.5, size=(3, 3))
            mask[inside] |= channel == 0
    kernel = np.zeros((3, 3, 3, 1))
    kernel[..., 0, 0], kernel[..., 2, 0] = 1 / 9, -1 / 9
    network = HandSet(
        [
            Convolution(np.eye(3)[None, None], np.full(3, -1.0), "relu"),
            Convolution(kernel, np.zeros(1)),
            Dense(np.ones((SIDE * SIDE, 1)), np.zeros(1)),
        ]
    )
    x = x.astype(np.float32)
    truth = np.maximum(x.astype(np.float64) - 1, 0) * np.array([1.0, 0.0, -1.0])
    return KnownAnswer("", network, x, truth, masks=masks)


def tetromino_linear(generator: np.random.Generator, count: int) -> KnownAnswer:
    """8 × 8 noise, with a T at the top or an L at the bottom added: f = Σ_T x − Σ_L x.

    Clark et al. 2023 (arXiv 2306.12816), section 3.1, with white background; the weights that
    they train are set here. `masks` are the pixels that the model looks at: both shapes.
    """
    return _linear(generator, count, white_noise)


def tetromino_linear_correlated(generator: np.random.Generator, count: int) -> KnownAnswer:
    """The same over `smooth_noise`: pixels beside the shapes are like those on them."""
    return _linear(generator, count, smooth_noise)


def _linear(generator: np.random.Generator, count: int, noise: Noise) -> KnownAnswer:
    upper, lower = _places()
    has_upper = generator.integers(2, size=count).astype(bool)[:, None, None]
    x = 0.3 * noise(generator, count) + np.where(has_upper, upper, lower)
    weights = upper.astype(float) - lower
    return _picture(HandSet([_weighted(weights)]), x, x * weights, upper | lower)


def tetromino_multiplicative(generator: np.random.Generator, count: int) -> KnownAnswer:
    """8 × 8 noise that is faint where the T or where the L is: f = Σ_L |x| − Σ_T |x|."""
    return _multiplicative(generator, count, white_noise)


def tetromino_multiplicative_correlated(generator: np.random.Generator, count: int) -> KnownAnswer:
    """The same over `smooth_noise`."""
    return _multiplicative(generator, count, smooth_noise)


def _multiplicative(generator: np.random.Generator, count: int, noise: Noise) -> KnownAnswer:
    upper, lower = _places()
    has_upper = generator.integers(2, size=count).astype(bool)[:, None, None]
    x = noise(generator, count) * (1 - 0.9 * np.where(has_upper, upper, lower))
    weights = lower.astype(float) - upper
    eye = np.eye(64)
    last = np.tile(weights.ravel(), 2)[:, None]
    network = HandSet(
        [Dense(np.hstack([eye, -eye]), np.zeros(128), "relu"), Dense(last, np.zeros(1))]
    )
    return _picture(network, x, np.abs(x) * weights, upper | lower)


def tetromino_xor(generator: np.random.Generator, count: int) -> KnownAnswer:
    """T and L added or taken away: f is the product of the sums over them.

    Positive where both have the same sign; each of the two gets half, and its pixels their share
    of it. No pixel tells anything alone, which is what linear methods look for.
    """
    return _xor(generator, count, white_noise)


def tetromino_xor_correlated(generator: np.random.Generator, count: int) -> KnownAnswer:
    """The same over `smooth_noise`."""
    return _xor(generator, count, smooth_noise)


def _xor(generator: np.random.Generator, count: int, noise: Noise) -> KnownAnswer:
    upper, lower = _places()
    signs = generator.choice([-1.0, 1.0], size=(2, count, 1, 1))
    x = 0.3 * noise(generator, count) + signs[0] * upper + signs[1] * lower
    top, bottom = (
        np.where(place, x, 0).sum(axis=(1, 2), keepdims=True) for place in (upper, lower)
    )
    one, two = upper.ravel().astype(float), lower.ravel().astype(float)
    network = HandSet(
        [
            Dense(np.stack([one + two, one - two], axis=1), np.zeros(2), "square"),
            Dense(np.array([[0.25], [-0.25]]), np.zeros(1)),
        ]
    )
    truth = x * (upper * bottom + lower * top) / 2
    return _picture(network, x, truth, upper | lower)


def _places() -> tuple[np.ndarray, np.ndarray]:
    upper, lower = np.zeros((2, 8, 8), bool)
    upper[1:3, 1:4], lower[4:7, 5:7] = T, L
    return upper, lower


def _weighted(weights: np.ndarray) -> Dense:
    return Dense(weights.reshape(-1, 1), np.zeros(1))


def _picture(network: HandSet, x: np.ndarray, truth: np.ndarray, place: np.ndarray) -> KnownAnswer:
    masks = np.broadcast_to(place, x.shape).copy()
    return KnownAnswer("", network, x[..., None].astype(np.float32), truth[..., None], masks=masks)
