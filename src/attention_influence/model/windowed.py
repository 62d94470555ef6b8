"""Causal attention inside each of many windows that stand one after another in a row.

Two ways with one signature: a variable-length kernel on CUDA (16-bit types), a loop of SDPA calls elsewhere.
Letters: B rows, H query heads, K key/value heads, T packed tokens, D head size, L tokens of one window.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

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
    kernel = value_BKTD.is_cuda and value_BKTD.dtype in (torch.bfloat16, torch.float16)
    attend = _variable_length_kernel if kernel else _sdpa_per_window
    return attend(query_BHTD, key_BKTD, value_BKTD, lengths, scaling, sliding_window)


def window_starts(lengths: Sequence[int], sliding_window: int | None, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each of T positions the first position that it sees, and the position itself; both [T], int64."""
    lengths_N = torch.tensor(lengths, device=device)
    first_T = (lengths_N.cumsum(0) - lengths_N).repeat_interleave(lengths_N, output_size=sum(lengths))
    position_T = torch.arange(len(first_T), device=device)
    if sliding_window is not None:
        first_T = torch.maximum(first_T, position_T + 1 - sliding_window)
    return first_T, position_T


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
    start = 0
    for length in lengths:
        query_BHLD, key_BKLD, value_BKLD = (
            x[:, :, start : start + length].to(inner) for x in (query_BHTD, key_BKTD, value_BKTD)
        )
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


def _variable_length_kernel(
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    lengths: Sequence[int],
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    from torch.nn.attention.varlen import varlen_attn

    rows, heads, tokens, size = query_BHTD.shape
    bounds = list(accumulate([*lengths] * rows, initial=0))
    bounds_N = torch.tensor(bounds, dtype=torch.int32, device=query_BHTD.device)
    query, key, value = (
        x.to(value_BKTD.dtype).transpose(1, 2).flatten(0, 1) for x in (query_BHTD, key_BKTD, value_BKTD)
    )
    out: Any = varlen_attn(
        query,
        key,
        value,
        bounds_N,
        bounds_N,
        max(lengths),
        max(lengths),
        scale=scaling,
        # The kernel counts the positions to the left of the query, transformers' window includes the query itself.
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        enable_gqa=heads != key_BKTD.shape[1],
        num_splits=1,  # a window's result must not depend on its neighbours in the pack
    )
    return out.view(rows, tokens, heads, size)  # type: ignore[no-any-return]
