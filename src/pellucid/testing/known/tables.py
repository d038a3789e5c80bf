"""Tables and words with networks set by hand, in the manner of XAI-Units (arXiv 2506.01059).

Truth is always the Shapley value from the stated baseline, in closed form. Products of two
features are differences of squares, where XAI-Units has gates of ReLUs with a large constant, so
that every path between two points has the same, exact integral.
"""

import numpy as np

from pellucid.testing.known.answers import KnownAnswer
from pellucid.testing.known.network import Dense, HandSet, Lookup

FEATURES = 8
FACTOR = 10.0
"""How much more a pertinent negative weighs where it is absent."""
KINKS, STEEP = 40, 5.0
"""Of the zigzag of `shattered_gradients`: how many between 0 and ±1, and its slope."""


def weighted_features(generator: np.random.Generator, count: int) -> KnownAnswer:
    """Linear, f = Σ w_i x_i: what any method that is right gives is w ∘ x."""
    weights, x = generator.normal(size=FEATURES), generator.normal(size=(count, FEATURES))
    return _answer(HandSet([_sum_of(weights)]), x, x * weights)


def conflicting(generator: np.random.Generator, count: int) -> KnownAnswer:
    """Features x and what cancels them, c of 0 or 1: f = Σ w_i x_i (1 − c_i); columns x, then c.

    Truth: w x (1 − c / 2) for x and −w x c / 2 for c, the halves of the cancelled product.
    XAI-Units counts both twice, w x and −w x c.
    """
    weights = generator.normal(size=FEATURES)
    x = generator.normal(size=(count, FEATURES))
    c = generator.integers(2, size=(count, FEATURES)).astype(float)
    network = _with_products(weights, -weights)
    shared = -weights * x * c / 2
    return _answer(network, np.hstack([x, c]), np.hstack([weights * x + shared, shared]))


def interacting_features(generator: np.random.Generator, count: int) -> KnownAnswer:
    """Weights of x that depend on c of 0 or 1: f = Σ (w_i + v_i c_i) x_i; columns x, then c.

    Truth: w x + v x c / 2 for x, v x c / 2 for c.
    """
    weights, more = generator.normal(size=(2, FEATURES))
    x = generator.normal(size=(count, FEATURES))
    c = generator.integers(2, size=(count, FEATURES)).astype(float)
    shared = more * x * c / 2
    network = _with_products(weights, more)
    return _answer(network, np.hstack([x, c]), np.hstack([weights * x + shared, shared]))


def pertinent_negatives(generator: np.random.Generator, count: int) -> KnownAnswer:
    """Absence counts: f = Σ w_i (x_i + 10 ReLU(1 − x_i)) of features that are 0 or at least 1.

    From a baseline of 0 a zero gets 0, and what is there loses what its absence was worth.
    """
    return _pertinent_negatives(generator, count, 0.0)


def pertinent_negatives_from_one(generator: np.random.Generator, count: int) -> KnownAnswer:
    """The same from a baseline of 1: a zero gets 9 w, which gradient × input misses."""
    return _pertinent_negatives(generator, count, 1.0)


def _pertinent_negatives(
    generator: np.random.Generator, count: int, baseline: float
) -> KnownAnswer:
    weights = generator.normal(size=FEATURES)
    x = generator.uniform(1, 2, size=(count, FEATURES))
    x *= generator.integers(2, size=x.shape)
    eye = np.eye(FEATURES)
    network = HandSet(
        [
            Dense(np.hstack([eye, -eye]), np.repeat([0.0, 1.0], FEATURES), "relu"),
            _sum_of(np.concatenate([weights, FACTOR * weights])),
        ]
    )

    def part(value: np.ndarray) -> np.ndarray:
        return weights * (value + FACTOR * np.maximum(1 - value, 0))

    truth = part(x.astype(np.float32).astype(np.float64)) - part(np.full(FEATURES, baseline))
    return _answer(network, x, truth, baseline=baseline)


def uncertainty(generator: np.random.Generator, count: int) -> KnownAnswer:
    """Three logits, the last half of the features in all alike: they decide nothing and get 0.

    The target is the first logit minus the second, so truth is (w_1 − w_2) ∘ x.
    """
    own = FEATURES // 2
    weights = generator.normal(size=(FEATURES, 3))
    weights[own:] = weights[own:, :1]
    x = generator.normal(size=(count, FEATURES))
    network = HandSet([Dense(weights, np.zeros(3))])
    return _answer(network, x, x * (weights[:, 0] - weights[:, 1]), target=(0, 1))


def shattered_gradients(generator: np.random.Generator, count: int) -> KnownAnswer:
    """Linear plus a zigzag of slope ±5 in steps of 1/40: the gradient says the zigzag.

    Truth: w x plus what the zigzag adds from 0, 0.125 at most (Balduzzi et al. 2017 named the
    shattering).
    """
    weights, x = generator.normal(size=FEATURES), generator.uniform(-1, 1, (count, FEATURES))
    places = np.arange(KINKS) / KINKS
    turns = 2 * STEEP * (-1.0) ** np.arange(KINKS)
    turns[0] = STEEP
    eye = np.eye(FEATURES)
    both = np.hstack([np.repeat(eye, KINKS, axis=1), -np.repeat(eye, KINKS, axis=1)])
    zigzag = np.tile(turns, 2 * FEATURES)
    straight = np.hstack([eye, -eye])
    network = HandSet(
        [
            Dense(
                np.hstack([both, straight]),
                np.concatenate([-np.tile(places, 2 * FEATURES), np.zeros(2 * FEATURES)]),
                "relu",
            ),
            _sum_of(np.concatenate([zigzag, weights, -weights])),
        ]
    )
    away = np.abs(x.astype(np.float32).astype(np.float64))
    added = (np.maximum(away[..., None] - places, 0) * turns).sum(axis=-1)
    return _answer(network, x, x.astype(np.float32) * weights + added)


def boolean_and(generator: np.random.Generator, count: int) -> KnownAnswer:
    """One where all of 8 bits are 1: an eighth each then, nothing for anything else."""
    x = _bits(generator, count)
    network = HandSet([Dense(np.ones((FEATURES, 1)), np.array([1.0 - FEATURES]), "relu")])
    return _answer(network, x, np.where(x.all(axis=1, keepdims=True), 1 / FEATURES, 0) * x)


def boolean_or(generator: np.random.Generator, count: int) -> KnownAnswer:
    """One where any of 8 bits is 1: those that are share it equally."""
    x = _bits(generator, count)
    network = HandSet(
        [
            Dense(-np.ones((FEATURES, 1)), np.ones(1), "relu"),
            Dense(-np.ones((1, 1)), np.ones(1)),
        ]
    )
    return _answer(network, x, x / np.maximum(x.sum(axis=1, keepdims=True), 1))


def suppressor(generator: np.random.Generator, count: int) -> KnownAnswer:
    """x_1 = z + d, x_2 = d, and f = x_1 − x_2 = z: the noise d is needed to find z.

    x_2 is independent of z, and a map that is true to the model gives it −x_2 all the same (Haufe
    et al. 2014; Wilming et al. 2023): true to the model is not true to the data.
    """
    signal, noise = generator.normal(size=(2, count))
    x = np.stack([signal + noise, noise], axis=1)
    weights = np.array([1.0, -1.0])
    return _answer(HandSet([_sum_of(weights)]), x, x * weights)


def text_trigger(generator: np.random.Generator, count: int) -> KnownAnswer:
    """12 words of 50, of which number 7 adds 2 and number 13 takes 1 away; 0 stands for no word.

    Words are whole numbers, so gradients say nothing at the input: methods that leave words out
    find the triggers, and methods with a `layer` at the embedding ("0" in torch).
    """
    x = generator.integers(14, 50, size=(count, 12))
    rows = np.arange(count)
    for word in (7, 13):
        x[rows, generator.integers(12, size=count)] = word
    table = np.zeros((50, 1))
    table[[7, 13], 0] = 2.0, -1.0
    network = HandSet([Lookup(table), _sum_of(np.ones(12))])
    return KnownAnswer("", network, x, table[x, 0], masks=x == 7)


def _answer(
    network: HandSet, x: np.ndarray, truth: np.ndarray, baseline: float = 0.0,
    target: tuple[int, int] | None = None,
) -> KnownAnswer:  # fmt: skip
    return KnownAnswer(
        "", network, x.astype(np.float32), np.asarray(truth, np.float64), baseline, target
    )


def _sum_of(weights: np.ndarray) -> Dense:
    return Dense(weights[:, None], np.zeros(1))


def _with_products(weights: np.ndarray, more: np.ndarray) -> HandSet:
    """Σ w x + v x c of columns x, then c, with x c = ((x + c)² − (x − c)²) / 4, x = x · 1."""
    eye, none = np.eye(len(weights)), np.zeros((len(weights),) * 2)
    rows = [np.hstack([eye, eye, eye, eye]), np.hstack([eye, -eye, none, none])]
    shift = np.repeat([0.0, 0.0, 1.0, -1.0], len(weights))
    return HandSet(
        [
            Dense(np.vstack(rows), shift, "square"),
            _sum_of(np.concatenate([more, -more, weights, -weights]) / 4),
        ]
    )


def _bits(generator: np.random.Generator, count: int) -> np.ndarray:
    """Rows of which every second has a random share of ones, the others are all ones."""
    x = generator.integers(2, size=(count, FEATURES)).astype(float)
    x[::2] = 1
    return x
