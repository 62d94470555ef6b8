"""The Triton kernel of `token_losses`: a program for each token walks along its logits once, a block at a time.

Where the largest logit so far grows, the sum of exponentials so far shrinks by as much, so no logit is needed twice.
"""

from contextlib import nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# Logits of a block, and the warps that share one: a few dozen values a thread.
_BLOCK, _WARPS = 4096, 8


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _walk(
    logits_at: Any,
    target_at: Any,
    loss_at: Any,
    largest_at: Any,
    at_target_at: Any,
    stride: Any,
    width: tl.constexpr,
    block: tl.constexpr,
) -> None:
    token = tl.program_id(0).to(tl.int64)
    row_at = logits_at + token * stride
    lanes = tl.arange(0, block)
    largest = tl.full((), float("-inf"), tl.float32)
    total = tl.full((), 0.0, tl.float32)  # of exp(logit − largest)
    for start in range(0, width, block):
        entry = start + lanes
        logits = tl.load(row_at + entry, mask=entry < width, other=float("-inf")).to(tl.float32)
        before = largest
        largest = tl.maximum(before, tl.max(logits, 0))
        # Entries that are ruled out altogether, at −inf, have no largest to subtract.
        shift = tl.where(largest == float("-inf"), 0.0, largest)
        total = total * tl.exp(before - shift) + tl.sum(tl.exp(logits - shift), 0)
    shift = tl.where(largest == float("-inf"), 0.0, largest)
    at_target = tl.load(row_at + tl.load(target_at + token)).to(tl.float32)
    tl.store(loss_at + token, tl.log(total) + shift - at_target)
    tl.store(largest_at + token, largest)
    tl.store(at_target_at + token, at_target)


def kernel_token_losses(logits_NV: Tensor, target_N: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """See `token_losses`."""
    tokens, width = logits_NV.shape
    if logits_NV.stride(1) != 1:
        logits_NV = logits_NV.contiguous()
    of_tokens = [torch.empty(tokens, dtype=torch.float32, device=logits_NV.device) for _ in range(3)]
    # A kernel is launched on the current device, which need not be that of its tensors.
    with torch.cuda.device(logits_NV.device) if logits_NV.is_cuda else nullcontext():
        _walk[(tokens,)](
            logits_NV, target_N, *of_tokens, logits_NV.stride(0), width=width, block=_BLOCK, num_warps=_WARPS
        )
    return of_tokens[0], of_tokens[1], of_tokens[2]
