"""Both models by two whole passes of transformers' own code, with nothing of the library: slow and plain.

The weights 1/n_t are written into the masked heads by the mask that the model itself makes for eager attention.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

Masked = Mapping[int, Sequence[int]]
_masked_now: dict[int, list[int]] = {}


@torch.no_grad()
def token_losses(untouched: Any, tokens: Sequence[int], masked: Masked) -> Tensor:
    """Loss of tokens[1:], each from all before it, in float64."""
    logits = run(untouched, tokens, masked).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(tokens[1:], dtype=torch.long), reduction="none")


@torch.no_grad()
def run(untouched: Any, tokens: Sequence[int], masked: Masked, **asked: Any) -> Any:
    _masked_now.clear()
    _masked_now.update({layer: list(heads) for layer, heads in masked.items()})
    untouched.set_attn_implementation("two_passes" if masked else "eager")
    return untouched(input_ids=torch.tensor([list(tokens)]), use_cache=False, **asked)


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    repeats = query.shape[1] // key.shape[1]
    logits = query @ key.repeat_interleave(repeats, 1).transpose(-1, -2)
    logits = logits * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    weights = torch.where(attention_mask < 0, -torch.inf, logits).softmax(-1)
    for head in _masked_now.get(module.layer_idx, []):
        seen = (attention_mask[0, 0] == 0).float()
        weights[0, head] = seen / seen.sum(-1, keepdim=True)
    return (weights @ value.repeat_interleave(repeats, 1)).transpose(1, 2).contiguous(), None


AttentionInterface.register("two_passes", _attention)
AttentionMaskInterface.register("two_passes", eager_mask)
