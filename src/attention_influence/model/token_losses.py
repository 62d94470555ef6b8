"""Losses out of whole rows of logits, as a GPU takes them: one kernel that reads each logit once, or plain torch.

Letters: N tokens, V vocabulary.
"""

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec

from torch import Tensor

Losses = tuple[Tensor, Tensor, Tensor]
"""−log p of each target in nats, each token's largest logit, its target's logit; all [N], float32."""


def token_losses(logits_NV: Tensor, target_N: Tensor) -> Losses:
    """By the kernel on a CUDA device where Triton is installed (torch for Linux brings it), else by its twin."""
    kernel = _kernel() if logits_NV.is_cuda else None
    return (kernel or plain_token_losses)(logits_NV, target_N)


def plain_token_losses(logits_NV: Tensor, target_N: Tensor) -> Losses:
    """The kernel's twin, in plain torch."""
    at_target_N = logits_NV.gather(1, target_N[:, None])[:, 0].float()
    return logits_NV.float().logsumexp(1) - at_target_N, logits_NV.amax(1).float(), at_target_N


@cache
def _kernel() -> Callable[[Tensor, Tensor], Losses] | None:
    if find_spec("triton") is None:
        return None
    from attention_influence.model.token_losses_kernel import kernel_token_losses

    return kernel_token_losses
