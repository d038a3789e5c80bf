"""Calls that do several things at once, as the operations that they stand for."""

import math
from typing import Any

import torch


def explicit_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`scaled_dot_product_attention` as a product, a softmax and a product; dropout left out.

    Where a query may look at nothing, the softmax of the fused call is all zero.
    """
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = (a.repeat_interleave(groups, dim=-3) for a in (key, value))
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = torch.matmul(query * factor, key.transpose(-2, -1))
    if is_causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = torch.where(allowed, scores, -math.inf)
    if attn_mask is None:
        return torch.matmul(torch.softmax(scores, dim=-1), value)
    if attn_mask.dtype == torch.bool:
        scores = torch.where(attn_mask, scores, -math.inf)
    else:
        scores = scores + attn_mask
    blind = torch.isneginf(scores).all(dim=-1, keepdim=True)
    weights = torch.softmax(torch.where(blind, 0.0, scores), dim=-1)
    return torch.matmul(torch.where(blind, 0.0, weights), value)


def of_equal_heads(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **settings: Any
) -> torch.Tensor:
    """`scaled_dot_product_attention` in which groups of heads shared a key, each with its own."""
    key, value = (a.repeat_interleave(query.shape[-3] // a.shape[-3], dim=-3) for a in (key, value))
    settings["enable_gqa"] = False
    return torch.nn.functional.scaled_dot_product_attention(query, key, value, **settings)


def explicit_gate(input: torch.Tensor, dim: int = -1) -> torch.Tensor:
    """`glu`: one half of the numbers times the sigmoid of the other."""
    signal, gate = input.chunk(2, dim)
    return signal * torch.sigmoid(gate)
