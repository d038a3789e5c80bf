"""Paper-form methods of attention on the tiny transformer in NumPy float64: slow and obvious."""

from collections.abc import Callable

import numpy as np

from pellucid.testing.tiny_numpy import FORWARDS, HEADS, Pass, Weights, softmax

BLOCKS = ("block1", "block2")
STEP = 1e-4


class Attending(Pass):
    """A forward pass that keeps its attention weights, moved by `moved[block]` where given."""

    def __init__(self, weights: Weights, moved: dict[str, np.ndarray] | None = None) -> None:
        super().__init__(weights)
        self.moved = moved or {}
        self.shares: list[np.ndarray] = []
        self.values: list[np.ndarray] = []

    def attention(self, x: np.ndarray, block: str) -> np.ndarray:
        """As `Pass.attention`; the weights `(n, heads, queries, keys)` are kept."""
        n, t, c = x.shape
        query, key, value = (
            self.dense(x, f"{block}_{part}").reshape(n, t, HEADS, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        share = softmax(query @ key.transpose(0, 1, 3, 2) / np.sqrt(query.shape[-1]))
        self.shares.append(share)
        self.values.append(value)
        share = share + self.moved.get(block, 0)
        joined = (share @ value).transpose(0, 2, 1, 3).reshape(n, t, c)
        return self.dense(joined, f"{block}_output")


def seen(weights: Weights, x: np.ndarray) -> Attending:
    """The pass of a batch `(n, 8, 6, 3)`."""
    run = Attending(weights)
    FORWARDS["vit"](run, x.astype(np.float64))
    return run


def gradients(weights: Weights, image: np.ndarray, target: int) -> list[np.ndarray]:
    """∂logit/∂A of each block, `(heads, queries, keys)`, by central differences."""
    run = seen(weights, image[None])
    found = []
    for block, share in zip(BLOCKS, run.shares, strict=True):
        size = share[0].size
        steps = np.eye(size).reshape(size, *share.shape[1:]) * STEP
        images = np.repeat(image[None].astype(np.float64), size, axis=0)

        def logit(moved: np.ndarray, block: str = block, images: np.ndarray = images) -> np.ndarray:
            return FORWARDS["vit"](Attending(weights, {block: moved}), images)[:, target]

        found.append(((logit(steps) - logit(-steps)) / (2 * STEP)).reshape(share.shape[1:]))
    return found


def attention(weights: Weights, image: np.ndarray, target: int) -> np.ndarray:
    """What the class token looks at in the last block, the mean over heads, `(tokens,)`."""
    share = seen(weights, image[None]).shares[-1][0]
    return np.stack([share[h][0] for h in range(HEADS)]).mean(axis=0)


def attention_rollout(weights: Weights, image: np.ndarray, target: int) -> np.ndarray:
    """Abnar and Zuidema 2020, eq. 1, read at the class token."""
    reached = None
    for share in seen(weights, image[None]).shares:
        tokens = share.shape[-1]
        mixed = np.zeros((tokens, tokens))
        for i in range(tokens):
            for j in range(tokens):
                mixed[i, j] = 0.5 * share[0, :, i, j].mean() + 0.5 * (i == j)
            mixed[i] /= mixed[i].sum()
        reached = mixed if reached is None else mixed @ reached
    assert reached is not None
    return reached[0]


def attention_gradient(weights: Weights, image: np.ndarray, target: int) -> np.ndarray:
    """Chefer et al. 2021, eq. 5 and 6, read at the class token."""
    shares = seen(weights, image[None]).shares
    relevance = np.eye(shares[0].shape[-1])
    for share, gradient in zip(shares, gradients(weights, image, target), strict=True):
        weighed = np.zeros_like(relevance)
        for h in range(HEADS):
            weighed += np.maximum(gradient[h] * share[0, h], 0) / HEADS
        relevance = relevance + weighed @ relevance
    return relevance[0]


def attention_norm(weights: Weights, image: np.ndarray, target: int) -> np.ndarray:
    """Kobayashi et al. 2020, eq. 5, of the last block, read at the class token."""
    run = seen(weights, image[None])
    share, value = run.shares[-1][0], run.values[-1][0]
    out = weights[f"{BLOCKS[-1]}_output/kernel"].astype(np.float64).reshape(HEADS, -1, 8)
    tokens = share.shape[-1]
    return np.array(
        [
            np.linalg.norm(sum(share[h, 0, j] * (value[h, j] @ out[h]) for h in range(HEADS)))
            for j in range(tokens)
        ]
    )


ORACLES: dict[str, Callable[[Weights, np.ndarray, int], np.ndarray]] = {
    "attention": attention,
    "attention_norm": attention_norm,
    "attention_rollout": attention_rollout,
    "attention_gradient": attention_gradient,
}
