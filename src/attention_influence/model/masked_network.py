"""The network with some heads masked, for ordinary calls: padded batches, generation with a cache.

As in scoring (`attention.function`), a masked head's query is zero: equal logits, so its output is the plain mean of
the values that it sees. What it sees (padding, sliding windows, the keys of a cache) stays with transformers.

Letters: B rows of the batch, H query heads, K key/value heads, Q queries, C keys (cached ones included), D head size.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from attention_influence.errors import ModelError
from attention_influence.model.attention.function import refuse_unknown, without_queries
from attention_influence.model.attention.pass_state import current_pass
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.oracle import oracle_hidden

_NAME = "attention_influence_masked"
_TEXT = "The keeper wrote the height of the tide into a notebook, and the notebook shows that the tide reached a door."
# Of the standard deviation of hidden states, root mean square, by type of the weights: what other kernels round to.
_ROUNDING = {torch.float32: 2e-3, torch.bfloat16: 0.2}

# A module's heads that attend uniformly. Not a context variable: generation may run in a thread of its own.
_masked: WeakKeyDictionary[nn.Module, Sequence[int]] = WeakKeyDictionary()


@contextmanager
def masked_network(model: LanguageModel, heads: Iterable[tuple[int, int]]) -> Iterator[Any]:
    """The transformers network of `model`, in which `heads` attend uniformly for as long as the context lasts.

    `heads` are pairs (layer, head), such as a `HeadSet`; none leave the model unmodified. A masked head gives the plain
    mean of the values that its position sees (paper, appendix C). Any call of transformers is right: batches padded on
    either side, `generate` with or without a cache. Scoring waits until the context ends, or is refused inside it.
    Raises HeadsError for a head that the model does not have.
    """
    layers: dict[int, list[int]] = {layer: [] for layer in model.heads}
    pairs = list(heads)
    model.check_heads(pairs)
    for layer, head in pairs:
        layers[layer].append(head)
    with model.unmodified(_NAME) as network:
        modules = {module: of_layer for layer, of_layer in layers.items() for module in model.layers[layer].modules()}
        _masked.update(modules)
        try:
            yield network
        finally:
            for module in modules:
                _masked.pop(module, None)


def check_masked_network(model: LanguageModel, heads: Iterable[tuple[int, int]]) -> None:
    """Raises ModelError where a padded batch, or a step with a cache, is not what the eager oracle gives.

    `heads` are masked together, and two short texts are run.
    """
    pairs = list(heads)
    model.check_heads(pairs)
    by_layer: dict[int, list[int]] = {}
    for layer, head in pairs:
        by_layer.setdefault(layer, []).append(head)
    tokens = model.tokens.encode([_TEXT])[0]
    short = tokens[: len(tokens) // 2]
    batch = torch.tensor([tokens, short + tokens[:1] * (len(tokens) - len(short))], device=model.device)
    mask = torch.ones_like(batch)
    mask[1, len(short) :] = 0
    with masked_network(model, pairs), torch.inference_mode():
        padded = model.body(input_ids=batch, attention_mask=mask, use_cache=False).last_hidden_state
        before = model.body(input_ids=batch[:1, :-1], use_cache=True)
        step = model.body(input_ids=batch[:1, -1:], past_key_values=before.past_key_values, use_cache=True)
    expected_TE = oracle_hidden(model, tokens, by_layer).float()
    allowed = _ROUNDING.get(model.dtype, 0.2) * (expected_TE.std() + 1e-6)
    for what, found_TE, expected in (
        ("alone in its row", padded[0], expected_TE),
        ("before padding", padded[1, : len(short)], expected_TE[: len(short)]),
        ("after cached keys", step.last_hidden_state[0], expected_TE[-1:]),
    ):
        error = (found_TE.float() - expected).square().mean().sqrt()
        if not error <= allowed:
            raise ModelError(
                f"{model.identity.name} ({model.network.config.model_type}): with its heads masked, a text {what} "
                f"differs by {float(error):.2g} from the same text by the slow way; its attention does more than is "
                "known of it"
            )


def _masked_attention(
    module: nn.Module,
    query_BHQD: Tensor,
    key_BKCD: Tensor,
    value_BKCD: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **unknown: Any,
) -> tuple[Tensor, None]:
    """The layer's attention output [B, Q, H, D], and no weights; the mask includes the sliding window."""
    if current_pass() is not None:
        raise ModelError("scoring inside `masked_network`: leave its context first")
    if module not in _masked:
        raise ModelError("this network was copied inside `masked_network`; enter it with the copy's own model")
    refuse_unknown(module, unknown)
    query_BHQD = without_queries(query_BHQD, [_masked[module]] * len(query_BHQD))
    return sdpa_attention_forward(module, query_BHQD, key_BKCD, value_BKCD, attention_mask, dropout, scaling, is_causal)


AttentionInterface.register(_NAME, _masked_attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)
