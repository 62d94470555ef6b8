"""The slow way to both models: transformers' eager attention with the model's own mask, one document at a time.

Shares nothing with the fast path but the weights; the self-test compares the two.
Letters: H query heads, T tokens, D head size, E hidden size.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from attention_influence.model.attention.pass_state import Observed
from attention_influence.model.language_model import LanguageModel

_NAME = "attention_influence_oracle"

_masked: ContextVar[Mapping[int, Sequence[int]]] = ContextVar("oracle_masked_heads")


@torch.inference_mode()
def oracle_hidden(model: LanguageModel, document: Sequence[int], masked: Mapping[int, Sequence[int]]) -> Tensor:
    """Hidden states [T, E] after the final norm, with weights 1/n_t written into each masked head's rows."""
    tokens = torch.tensor([document], device=model.device)
    with model.unmodified(_NAME if masked else "eager"), _masking(masked):
        return model.body(input_ids=tokens, use_cache=False).last_hidden_state[0]  # type: ignore[no-any-return]


def oracle_head(seen: Observed, row: int, head: int, uniform: bool) -> Tensor:
    """One head's output [T, D] for a single window, in float32 from the queries, keys and values that were seen."""
    kv_head = head * seen.value_BKTD.shape[1] // seen.query_BHTD.shape[1]
    query_TD = seen.query_BHTD[row, head].float()
    key_TD, value_TD = seen.key_BKTD[row, kv_head].float(), seen.value_BKTD[row, kv_head].float()
    position_T = torch.arange(len(query_TD), device=query_TD.device)
    age_TT = position_T[:, None] - position_T
    visible_TT = (age_TT >= 0) & (age_TT < (seen.sliding_window or len(query_TD)))
    scaling = query_TD.shape[-1] ** -0.5 if seen.scaling is None else seen.scaling
    logits_TT = torch.zeros_like(visible_TT, dtype=torch.float32) if uniform else query_TD @ key_TD.T * scaling
    return logits_TT.masked_fill(~visible_TT, -torch.inf).softmax(-1) @ value_TD


@contextmanager
def _masking(masked: Mapping[int, Sequence[int]]) -> Iterator[None]:
    token = _masked.set(masked)
    try:
        yield
    finally:
        _masked.reset(token)


def _eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    mask = attention_mask[:, :, :, : key.shape[2]]
    weights = torch.softmax((query @ key.mT) * scaling + mask, dim=-1, dtype=torch.float32).to(query.dtype)
    visible = (mask == 0).to(weights.dtype)
    uniform = (visible / visible.sum(-1, keepdim=True)).expand(len(query), 1, -1, -1)[:, 0]
    for head in _masked.get().get(module.layer_idx, ()):  # type: ignore[call-overload]
        weights[:, head] = uniform
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(_NAME, _eager_attention)
AttentionMaskInterface.register(_NAME, eager_mask)
