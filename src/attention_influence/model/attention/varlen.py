"""Causal attention inside packed windows by one call of torch's variable-length kernel (flash attention), on CUDA.

`why_not` says what the kernel does not take; `windowed` computes that with SDPA.
Letters: B rows, H query heads, K key/value heads, T packed tokens, D head size, N windows of all rows.
"""

import inspect
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attention_influence.model.transfer import to_device

_LARGEST_HEAD, _HEAD_STEP = 256, 8
_OLDEST_CAPABILITY = (8, 0)


def why_not(device: torch.device, dtype: torch.dtype, head_size: int) -> str | None:
    """Why the kernel does not compute such attention; None where it does."""
    if device.type != "cuda":
        return f"no kernel for {device.type}"
    if dtype not in (torch.bfloat16, torch.float16):
        return f"no kernel for {str(dtype).removeprefix('torch.')}"
    if head_size > _LARGEST_HEAD or head_size % _HEAD_STEP:
        return f"no kernel for heads of size {head_size}"
    if torch.version.hip is not None:
        return "not tried on ROCm"
    kernel = _varlen_attn()
    if kernel is None or not {"scale", "window_size"} <= _parameters(kernel):
        return f"torch {torch.__version__} has no variable-length attention with a scale and a window"
    if not torch.backends.cuda.is_flash_attention_available():
        return f"torch {torch.__version__} was built without flash attention"
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST_CAPABILITY:
        return "compute capability {}.{}, of 8.0 at least".format(*capability)
    return None


def varlen_attention(
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    lengths: Sequence[int],
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    """As `windowed.windowed_attention`, for what `why_not` has nothing against."""
    kernel: Any = _varlen_attn()
    rows, heads, tokens, size = query_BHTD.shape
    bounds_N = _bounds(tuple(lengths), rows, query_BHTD.device)
    query, key, value = (
        x.to(value_BKTD.dtype).transpose(1, 2).flatten(0, 1) for x in (query_BHTD, key_BKTD, value_BKTD)
    )
    options = {
        "scale": scaling,
        # The kernel counts the positions to the left of the query, transformers' window includes the query itself.
        "window_size": (-1 if sliding_window is None else sliding_window - 1, 0),
        # torch 2.11 lacks these two: it takes fewer key heads without being told, and does not split.
        "enable_gqa": heads != key_BKTD.shape[1],
        "num_splits": 1,  # a window's result must not depend on its neighbours in the pack
    }
    options = {name: option for name, option in options.items() if name in _parameters(kernel)}
    out = kernel(query, key, value, bounds_N, bounds_N, max(lengths), max(lengths), **options)
    return out.view(rows, tokens, heads, size)  # type: ignore[no-any-return]


@lru_cache(maxsize=4)
def _bounds(lengths: tuple[int, ...], rows: int, device: torch.device) -> Tensor:
    """Where the windows of all rows begin, and where the last ends [N + 1]; once for all layers of a pass."""
    return to_device(np.cumsum([0, *lengths * rows], dtype=np.int32), device)


def _varlen_attn() -> Callable[..., Any] | None:
    try:
        from torch.nn.attention import varlen
    except ImportError:
        return None
    return varlen.varlen_attn


@cache
def _parameters(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
