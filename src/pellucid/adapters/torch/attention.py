"""A fused attention as the operations it stands for."""

import math

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
