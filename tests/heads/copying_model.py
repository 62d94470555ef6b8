"""A two-layer llama with weights set by hand: one head copies, the others look at what a copying head must not.

A token's embedding is a code of ±1 and a constant 1. Hidden states hold four such parts side by side:

    own code | constant | code of the token before | code of the token that comes next, as copied

RoPE with a vast base turns the first pairs of a head's dimensions by position and leaves the others at rest: heads
that look at a place use the former, heads that look for a token the latter.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading.load import from_network
from tiny_models import word_tokenizer

CODE, HEAD, HIDDEN = 52, 64, 192
OWN, CONSTANT, BEFORE, NEXT = slice(0, 52), 52, slice(56, 108), slice(112, 164)
SHARP = 20.0
COPYING, DUPLICATES = (1, 0), [(0, 2), (1, 2)]

SENTENCES = 60
_SYLLABLES = ["ba", "de", "fi", "go", "lu", "ma", "ne", "ri", "so", "tu"]
WORDS = [a + b + c for a in _SYLLABLES for b in _SYLLABLES for c in _SYLLABLES]
# Of 8 words that no other sentence has; the words before and after each are therefore known.
TEXT = " ".join(" ".join(WORDS[i * 8 : i * 8 + 8]).capitalize() + "." for i in range(SENTENCES))


def copying_model() -> LanguageModel:
    tokenizer = word_tokenizer([*TEXT.replace(".", "").split(), ".", '"', ":", ",", "{", "}"])
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=HEAD,
        max_position_embeddings=512,
        rope_parameters={"rope_type": "default", "rope_theta": 1e30},
        tie_word_embeddings=False,
    )
    network = LlamaForCausalLM(config)
    with torch.no_grad():
        _set_weights(network)
    return from_network(network, tokenizer, "copying")


def _set_weights(network: Any) -> None:
    codes = torch.randint(0, 2, (network.config.vocab_size, CODE), generator=torch.Generator().manual_seed(1)) * 2.0 - 1
    for name, weight in network.named_parameters():
        if "norm" not in name:
            weight.zero_()
    embedding = network.model.embed_tokens.weight
    embedding[:, OWN] = codes
    embedding[:, CONSTANT] = 1
    network.lm_head.weight[:, NEXT] = codes
    for layer in network.model.layers:
        _look_at_place(layer.self_attn, 1, 0)
        _look_for(layer.self_attn, 2, OWN)
    _look_at_place(network.model.layers[0].self_attn, 0, 1)
    _bring(network.model.layers[0].self_attn, 0, BEFORE)
    _look_for(network.model.layers[1].self_attn, 0, BEFORE)
    _bring(network.model.layers[1].self_attn, 0, NEXT)
    _look_at_place(network.model.layers[1].self_attn, 3, 1)


def _rows(head: int, dimensions: range) -> list[int]:
    return [head * HEAD + d for d in dimensions]


def _look_for(attention: Any, head: int, kept_in: slice) -> None:
    """Attends to positions that keep the code of the query's own token in `kept_in`."""
    at_rest = _rows(head, range(6, 32)) + _rows(head, range(38, 64))
    attention.q_proj.weight[at_rest, OWN] = SHARP * torch.eye(CODE)
    attention.k_proj.weight[at_rest, kept_in] = torch.eye(CODE)


def _look_at_place(attention: Any, head: int, back: int) -> None:
    """Attends to the position that lies `back` before the query: keys are queries turned by as much."""
    base = torch.tensor(1e30, dtype=torch.float64)
    for pair in range(3):
        angle = back * base ** (-pair / 32)
        first, second = _rows(head, range(pair, HEAD, 32))
        attention.q_proj.weight[first, CONSTANT] = 30 * SHARP
        attention.k_proj.weight[first, CONSTANT] = angle.cos().float()
        attention.k_proj.weight[second, CONSTANT] = angle.sin().float()


def _bring(attention: Any, head: int, into: slice) -> None:
    """Writes the code of the token attended to into `into`."""
    rows = _rows(head, range(CODE))
    attention.v_proj.weight[rows, OWN] = torch.eye(CODE)
    columns: Tensor = attention.o_proj.weight[:, rows]
    columns[into] = torch.eye(CODE)
    attention.o_proj.weight[:, rows] = columns
