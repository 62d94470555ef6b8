"""The attention that every layer calls: causal inside each window, uniform in masked heads.

Registered with transformers under a name for which it makes no masks: what a query may see (its own window, nothing
later, nothing beyond the sliding window) is decided here alone, so no mask tensor exists and nothing is padded.

Letters: B rows of the batch (in scoring base and reference), H query heads, K key/value heads, T packed tokens, D head
size.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from attention_influence.errors import ModelError
from attention_influence.model.attention.pass_state import AttentionPass, Observed, current_pass
from attention_influence.model.attention.windowed import windowed_attention

NAME = "attention_influence"
WITH_MASKS = f"{NAME}_with_masks"
"""The same attention, for which transformers makes masks: to look at them (`AttentionPass.observe_mask`)."""

# Passed along by some families, without effect on causal attention in evaluation mode.
_HARMLESS = frozenset({"position_ids", "cache_position", "use_cache", "output_attentions", "output_hidden_states"})


def forked_attention(
    module: nn.Module,
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **unknown: Any,
) -> tuple[Tensor, None]:
    """The layer's attention output [B, T, H, D], and no weights; signature of transformers' AttentionInterface."""
    if torch.compiler.is_compiling():  # what is refused below, the self-test has met by then
        return _opaque(query_BHTD, key_BKTD, value_BKTD, module.layer_number, scaling, sliding_window), None
    state = _pass_under_way()
    refuse_unknown(module, unknown)
    masked_by_model = attention_mask is not None and state.observe_mask is None
    if masked_by_model or is_causal is False or not getattr(module, "is_causal", True):
        raise ModelError(f"{type(module).__name__} is not causal attention over the document; nothing to score")
    if query_BHTD.shape[-1] != value_BKTD.shape[-1]:
        raise ModelError(
            f"{type(module).__name__} has values of another size than its queries (latent attention), which is not "
            "handled"
        )

    layer: int = module.layer_idx  # type: ignore[assignment]
    packed = (key_BKTD, value_BKTD, state.lengths, scaling, sliding_window)
    out_BTHD = windowed_attention(_without_masked(query_BHTD, layer, state), *packed)
    if state.gates is not None:
        mean_BTHD = windowed_attention(torch.zeros_like(query_BHTD), *packed)
        lengths_W = torch.tensor(state.lengths, device=value_BKTD.device)
        gate_TH = state.gates[layer].repeat_interleave(lengths_W, 0, output_size=out_BTHD.shape[1]).to(out_BTHD.dtype)
        out_BTHD = mean_BTHD + gate_TH[..., None] * (out_BTHD - mean_BTHD)
    if state.observe is not None:
        seen = (query_BHTD, key_BKTD, value_BKTD, out_BTHD, scaling, sliding_window, attention_mask)
        state.observe(Observed(layer, module, *seen))
    return out_BTHD, None


@torch.library.custom_op("attention_influence::attention", mutates_args=())
def _opaque(
    query_BHTD: Tensor,
    key_BKTD: Tensor,
    value_BKTD: Tensor,
    layer: Tensor,
    scaling: float | None,
    sliding_window: int | None,
) -> Tensor:
    """The attention inside a compiled layer; its layer's number is a tensor, so that layers share a graph."""
    state = _pass_under_way()
    query_BHTD = _without_masked(query_BHTD, int(layer), state)
    return windowed_attention(query_BHTD, key_BKTD, value_BKTD, state.lengths, scaling, sliding_window)


@_opaque.register_fake
def _(query_BHTD: Tensor, key_BKTD: Tensor, value_BKTD: Tensor, *rest: Any) -> Tensor:
    rows, heads, tokens, _ = query_BHTD.shape
    return value_BKTD.new_empty(rows, tokens, heads, value_BKTD.shape[-1])


def number_layers(layers: nn.ModuleList) -> None:
    """Gives each attention its layer's number as a tensor in the CPU's memory, which no graph is bound to."""
    for module in layers.modules():
        if hasattr(module, "layer_idx"):
            module.layer_number = torch.tensor(module.layer_idx)


def refuse_unknown(module: nn.Module, unknown: Mapping[str, Any]) -> None:
    """Raises ModelError for keywords of an attention that ask for something, such as capped logits or sinks."""
    refused = sorted(k for k, v in unknown.items() if v is not None and v is not False and k not in _HARMLESS)
    if refused:
        raise ModelError(f"{type(module).__name__} asks its attention for {', '.join(refused)}, which is not handled")


def _pass_under_way() -> AttentionPass:
    if (state := current_pass()) is None:
        raise ModelError("this model was prepared for scoring; call it through Scorer, or reload it for other use")
    return state


def _without_masked(query_BHTD: Tensor, layer: int, state: AttentionPass) -> Tensor:
    return without_queries(query_BHTD, [masked.get(layer, ()) for masked in state.rows])


def without_queries(query_BHTD: Tensor, masked: Sequence[Sequence[int]]) -> Tensor:
    """The queries, zero in the masked heads of each row [B, H, queries, D].

    All logits of a zero query are equal, so its softmax is 1/n_t over the n_t positions that it sees, and its output
    their values' plain mean (paper, appendix C). One call computes masked and other heads, and rounds them alike.
    """
    if not any(masked):
        return query_BHTD
    query_BHTD = query_BHTD.clone()
    for row, heads in enumerate(masked):
        for head in heads:
            query_BHTD[row, head] = 0
    return query_BHTD


def _observe_mask(*args: Any, mask_function: Callable[..., Tensor], **kwargs: Any) -> Tensor | None:
    state = current_pass()
    return None if state is None or state.observe_mask is None else state.observe_mask(mask_function)


AttentionInterface.register(NAME, forked_attention)
AttentionInterface.register(WITH_MASKS, forked_attention)
AttentionMaskInterface.register(WITH_MASKS, _observe_mask)
