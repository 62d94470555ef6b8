"""Tiny random models with a tokenizer of bytes, and the slow way to a document's losses."""

import copy
import functools
import itertools
import random
from collections.abc import Sequence
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import Tensor
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    PreTrainedTokenizerFast,
)
from transformers.masking_utils import eager_mask

from attention_influence import from_network
from tiny_models import Tiny, untouched

CONTEXT = 64
VOCABULARY = 258
HEADS = [(2, 1), (1, 3), (2, 0)]
FAMILIES = ("llama", "gemma3_text", "gpt2")


def text(n: int, seed: int = 0) -> str:
    """So many random characters."""
    return "".join(random.Random(seed).choices("abcdefgh ij,klmn.op\n", k=n))


def byte_tokenizer(bos: bool) -> PreTrainedTokenizerFast:
    """One token a byte, and the special tokens <s> and <|end|>; <s> is put first if `bos`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {"<s>": 0, "<|end|>": 1} | {c: i for i, c in enumerate(alphabet, start=2)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    if bos:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="<|end|>")


def network(family: str, context: int = CONTEXT, **changes: Any) -> Any:
    """A tiny causal language model as transformers makes it."""
    if family == "gpt2":
        changes["n_positions"] = context
    return untouched(family, vocab_size=VOCABULARY, max_position_embeddings=context, **changes)


def prepare(made: Any, bos: bool = True) -> Tiny:
    return Tiny(from_network(copy.deepcopy(made), byte_tokenizer(bos), "tiny"), made)


def tiny(family: str = "llama", bos: bool = True, **changes: Any) -> Tiny:
    return prepare(network(family, **changes), bos)


def slow_losses(
    untouched: Any, tokens: Sequence[int], window: int, bos: bool, heads: Sequence[tuple[int, int]] = HEADS
) -> tuple[float, float]:
    """Base and reference loss of one document: two whole passes over each window, with nothing of the library."""
    count = -(-len(tokens) // (window - bos))
    bounds = [i * len(tokens) // count for i in range(count + 1)]
    sums, scored = [0.0, 0.0], 0
    for low, high in itertools.pairwise(bounds):
        ids = torch.tensor([[0] * bos + list(tokens[low:high])])
        for which, masked in enumerate(([], heads)):
            mean = _mean_loss(untouched, ids, masked)
            sums[which] += mean * (ids.shape[1] - 1)
        scored += ids.shape[1] - 1
    return sums[0] / scored, sums[1] / scored


_masked_now: list[tuple[int, int]] = []


@torch.no_grad()
def _mean_loss(network: Any, ids: Tensor, masked: Sequence[tuple[int, int]]) -> float:
    _masked_now[:] = masked
    network.set_attn_implementation("written_out" if masked else "eager")
    return float(network(input_ids=ids, labels=ids, use_cache=False).loss.double())


def _written_out(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None = None, **others: Any
) -> tuple[Tensor, None]:
    heads, tokens, size = query.shape[1:]
    key, value = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (key, value))
    weights = (query @ key.transpose(2, 3) * (scaling or size**-0.5) + mask).softmax(-1)
    for layer, head in _masked_now:
        if layer == module.layer_idx:
            weights[0, head] = _uniform(tokens, getattr(module, "sliding_window", None) or tokens)
    return (weights @ value).transpose(1, 2).contiguous(), None


@functools.cache
def _uniform(tokens: int, sliding_window: int) -> Tensor:
    weights = torch.zeros(tokens, tokens)
    for t in range(tokens):
        sees = min(t + 1, sliding_window)
        weights[t, t + 1 - sees : t + 1] = 1 / sees
    return weights


AttentionInterface.register("written_out", _written_out)
AttentionMaskInterface.register("written_out", eager_mask)
