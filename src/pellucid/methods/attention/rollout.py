"""Attention rollout and the gradient-weighted rule: weights followed through all layers."""

from dataclasses import dataclass

import numpy as np

from pellucid.adapters.attention import AttentionCall
from pellucid.errors import MethodError
from pellucid.methods.attention.base import AttentionMethod, chain
from pellucid.methods.registry import register_method
from pellucid.running.attention import Attended
from pellucid.task import Task

FUSED = {"mean": np.mean, "max": np.max, "min": np.min}


@register_method("attention_rollout")
@dataclass(frozen=True)
class AttentionRollout(AttentionMethod):
    """How attention mixes tokens from the first layer to the last; the same for every class.

    R_l = Â_l R_{l−1},   R_0 = 1,   Â_l = ½ (mean over heads of A_l) + ½ 1, rows adding up to 1

    Returns R_ij of the last layer for the token i that the score is read from, one number a
    token j, laid out as `attention` does. Not negative; over all tokens they add up to 1.
    `residual` is the share of the skip connection (½), `heads` how heads become one: "mean",
    "max" or "min". `attentions` are the numbers of those to follow, in the order of the run; by
    default all. It says where information can come from, not what of it the class needs.
    Cost: two forwards, one backward above the last attention, and a product of matrices a layer.
    Source: Abnar and Zuidema 2020 (arXiv 2005.00928), eq. 1 and section 3.

    Raises `CapabilityError` for a model that does not attend, or whose attentions are not all of
    the same tokens (windows, two sequences).

    >>> e = explain(wrap(vit), pictures, "attention_rollout")
    >>> e.values.shape, np.allclose(e.extras["tokens"].sum(axis=1), 1)
    ((5, 8, 6), True)
    """

    residual: float = 0.5
    heads: str = "mean"
    attentions: tuple[int, ...] | None = None

    cost = "2 F + 1 B"
    source = "Abnar and Zuidema 2020"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.heads not in FUSED:
            raise MethodError(f"Expected heads to be one of {tuple(FUSED)}, got {self.heads!r}.")
        if not 0 <= self.residual < 1:
            raise MethodError(f"Expected residual to be from 0 to below 1, got {self.residual}.")

    def chosen(self, calls: tuple[AttentionCall, ...]) -> tuple[AttentionCall, ...]:
        return chain(calls, self.attentions)

    def looks(
        self, task: Task, rows: np.ndarray, chosen: tuple[AttentionCall, ...], seen: Attended
    ) -> np.ndarray:
        tokens = seen.weights[0].shape[-1]
        reached = np.tile(np.eye(tokens), (len(rows), 1, 1))
        for weights in seen.weights:
            fused = FUSED[self.heads](weights, axis=1)
            mixed = (1 - self.residual) * fused + self.residual * np.eye(tokens)
            # A padded token may look at nothing: it keeps itself.
            total = mixed.sum(axis=2, keepdims=True)
            mixed = np.where(total > 0, mixed / np.where(total > 0, total, 1), np.eye(tokens))
            reached = mixed @ reached
        return reached


@register_method("attention_gradient")
@dataclass(frozen=True)
class AttentionGradient(AttentionMethod):
    """Which tokens the attentions bring to the target: weights times the score's gradient there.

    R ← R + Ā_l R,   R_0 = 1,   Ā_l = mean over heads of (∂f/∂A_l ⊙ A_l)⁺

    Returns R_ij for the token i that the score is read from, one number a token j, laid out as
    `attention` does. Not negative; the 1 on the diagonal is the token's own. Another class has
    another map. `attentions` are the numbers of those to follow, by default all.
    Cost: two forwards and one backward.
    Source: Chefer et al. 2021 (arXiv 2103.15679), eq. 5 and 6, for a model of self-attention.

    Raises `CapabilityError` for a model that does not attend, or whose attentions are not all of
    the same tokens (windows, two sequences).

    >>> e = explain(wrap(vit), pictures, "attention_gradient", target=2)
    >>> e.values.shape, bool((e.values >= 0).all())
    ((5, 8, 6), True)
    """

    attentions: tuple[int, ...] | None = None

    by_gradient = True
    cost = "2 F + 1 B"
    source = "Chefer et al. 2021"

    def chosen(self, calls: tuple[AttentionCall, ...]) -> tuple[AttentionCall, ...]:
        return chain(calls, self.attentions)

    def looks(
        self, task: Task, rows: np.ndarray, chosen: tuple[AttentionCall, ...], seen: Attended
    ) -> np.ndarray:
        tokens = seen.weights[0].shape[-1]
        relevance = np.tile(np.eye(tokens), (len(rows), 1, 1))
        for weights, gradient in zip(seen.weights, seen.gradients, strict=True):
            if gradient is None:
                raise RuntimeError("The gradient of every attention was asked for.")
            relevance = relevance + np.maximum(gradient * weights, 0).mean(axis=1) @ relevance
        return relevance
