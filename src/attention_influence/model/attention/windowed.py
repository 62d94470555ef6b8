"""Causal attention inside each of many windows that stand one after another in a row.

Two ways with one signature: a variable-length kernel on CUDA where it takes types and shapes (`varlen_attention`), a
loop of SDPA calls elsewhere.
Letters: B rows, H query heads, K key/value heads, T packed tokens, D head size, L tokens of one window.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attention_influence.model.attention.varlen import varlen_attention, why_not

# Queries a call when a sliding window is shorter than the text: bounds the mask, and skips keys out of sight.
_SLIDING_BLOCK = 512


def windowed_attention(
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    lengths: Sequence[int],
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    """Attention output [B, T, H, D] in the values' type; a sliding window of W sees W positions, itself included."""
    refused = why_not(value_BKTD.device, value_BKTD.dtype, value_BKTD.shape[-1])
    # The kernel is there for inference.
    attend = varlen_attention if refused is None and not torch.is_grad_enabled() else _sdpa_per_window
    return attend(query_BHTD, key_BKTD, value_BKTD, lengths, scaling, sliding_window)


def _sdpa_per_window(
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    lengths: Sequence[int],
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    rows, heads, tokens, size = query_BHTD.shape
    out_BTHD = value_BKTD.new_empty(rows, tokens, heads, size)
    out_BHTD = out_BTHD.transpose(1, 2)
    inner = _inner_type(value_BKTD)
    # Elsewhere than on a CPU shared key heads lead SDPA to a way that holds all T × T scores.
    repeats = 1 if value_BKTD.device.type == "cpu" else heads // value_BKTD.shape[1]
    start = 0
    for length in lengths:
        query_BHLD, key_BKLD, value_BKLD = (
            x[:, :, start : start + length].to(inner) for x in (query_BHTD, key_BKTD, value_BKTD)
        )
        if repeats > 1:
            key_BKLD, value_BKLD = (x.repeat_interleave(repeats, 1) for x in (key_BKLD, value_BKLD))
        into_BHLD = out_BHTD[:, :, start : start + length]
        start += length
        if sliding_window is None or length <= sliding_window:
            into_BHLD[:] = scaled_dot_product_attention(
                query_BHLD, key_BKLD, value_BKLD, is_causal=True, scale=scaling, enable_gqa=True
            )
            continue
        for low in range(0, length, _SLIDING_BLOCK):
            high = min(low + _SLIDING_BLOCK, length)
            first = max(0, low + 1 - sliding_window)
            query_pos = torch.arange(low, high, device=query_BHTD.device)[:, None]
            key_pos = torch.arange(first, high, device=query_BHTD.device)
            visible = (key_pos <= query_pos) & (key_pos > query_pos - sliding_window)
            into_BHLD[:, :, low:high] = scaled_dot_product_attention(
                query_BHLD[:, :, low:high],
                key_BKLD[:, :, first:high],
                value_BKLD[:, :, first:high],
                attn_mask=visible,
                scale=scaling,
                enable_gqa=True,
            )
    return out_BTHD


def _inner_type(value_BKTD: Tensor) -> torch.dtype:
    """What SDPA computes in: on a CPU without tile registers 16-bit products are float32 ones that take longer."""
    if value_BKTD.device.type == "cpu" and not torch.cpu.get_capabilities().get("amx_bf16"):
        return torch.float32
    return value_BKTD.dtype
