"""Raw attention: the weights of one attention, as they are or times the values they weigh."""

from dataclasses import dataclass

import numpy as np

from pellucid.adapters.attention import AttentionCall
from pellucid.errors import MethodError
from pellucid.methods.attention.base import AttentionMethod, number, size_of
from pellucid.methods.registry import register_method
from pellucid.running.attention import Attended
from pellucid.running.contributions import contribution_norms
from pellucid.task import Task


@register_method("attention")
@dataclass(frozen=True)
class Attention(AttentionMethod):
    """Where one attention of the model looks; not a statement about any class.

    a_j = mean over heads of A_hij,   A = softmax(Q Kᵀ / √d)

    for the token i that the score is read from. Returns one number a token: for pictures a map
    without a channel axis, `(n, height, width)`, enlarged bilinearly from the grid of patches,
    for words and steps `(n, tokens)`. Not negative; over all tokens, with the class token and
    what else is no part of the input, they add up to 1. `at` is the attention's number in the
    order of the run (the last by default), `head` one head instead of the mean of all; `token`
    is i, by default what a gradient shows the score to read: the class token, the last token, or
    the mean over all. `extras["heads"]` `(n, attentions, heads, tokens)` holds every attention
    and head of the same shape, `extras["tokens"]` all tokens. Fused attentions are written out
    as products and a softmax while they are read, with the model as it is.
    Cost: two forwards, and one backward above the attention; with `token` no backward.
    Source: Vaswani et al. 2017 (arXiv 1706.03762), eq. 1.

    Raises `CapabilityError` for a model that does not attend, `LayerError` for tokens that cannot
    be laid over the input.

    >>> e = explain(wrap(vit), pictures, "attention", at=0, head=1)
    >>> e.values.shape, e.extras["heads"].shape    # 2 blocks of 2 heads, 12 patches and a class
    ((5, 8, 6), (5, 2, 2, 13))
    """

    at: int = -1
    head: int | None = None

    cost = "2 F + 1 B"
    source = "Vaswani et al. 2017"

    def chosen(self, calls: tuple[AttentionCall, ...]) -> tuple[AttentionCall, ...]:
        one = number(calls, self.at)
        alike = [
            c
            for c in calls
            if (size_of(c), c.windows) == (size_of(one), one.windows) and c is not one
        ]
        return (*alike, one)

    def looks(
        self, task: Task, rows: np.ndarray, chosen: tuple[AttentionCall, ...], seen: Attended
    ) -> np.ndarray:
        weights = seen.weights[-1]
        if self.head is None:
            return weights.mean(axis=1)
        heads = weights.shape[1]
        if not -heads <= self.head < heads:
            raise MethodError(f"Expected head to be one of {heads}, got {self.head}.")
        return weights[:, self.head]

    def more(
        self,
        calls: tuple[AttentionCall, ...],
        chosen: tuple[AttentionCall, ...],
        seen: Attended,
        read: np.ndarray,
    ) -> dict[str, np.ndarray]:
        pairs = sorted(zip(chosen, seen.weights, strict=True), key=lambda pair: pair[0].index)
        heads = seen.weights[-1].shape[1]
        alike = [w for _, w in pairs if w.shape[1] == heads]
        return {"heads": np.stack([np.einsum("nq,nhqk->nhk", read, w) for w in alike], axis=1)}


@register_method("attention_norm")
@dataclass(frozen=True)
class AttentionNorm(AttentionMethod):
    """How long what one attention adds for each token is: weights times the values they weigh.

    a_j = ‖ Σ_h A_hij (x_j W_V,h + b_V,h) W_O,h ‖₂

    for the token i that the score is read from: a token that is looked at and has nothing to add
    gets nothing. Returns one number a token, laid out as `attention` does, not negative, in units
    of the attention's output; with the bias of the values and without that of the output. `at` is
    the attention's number in the order of the run. The weighted values of one token at a time go
    through the model's own output projection (its first linear operation).
    Cost: three forwards, and for each token one product with the values and one projection.
    Source: Kobayashi et al. 2020 (arXiv 2004.10102), eq. 4 and 5.

    Raises `CapabilityError` for a model that does not attend, `LayerError` for tokens that cannot
    be laid over the input.

    >>> e = explain(wrap(vit), pictures, "attention_norm")
    >>> e.values.shape, bool((e.values >= 0).all())
    ((5, 8, 6), True)
    """

    at: int = -1

    cost = "3 F + 1 B"
    source = "Kobayashi et al. 2020"

    def chosen(self, calls: tuple[AttentionCall, ...]) -> tuple[AttentionCall, ...]:
        return (number(calls, self.at),)

    def looks(
        self, task: Task, rows: np.ndarray, chosen: tuple[AttentionCall, ...], seen: Attended
    ) -> np.ndarray:
        return contribution_norms(task, rows, chosen[0])
