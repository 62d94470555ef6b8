"""Tiny random models of many families, and tokenizers made on the spot.

Weights are drawn wider than a family's own initialisation would: losses lie far from those of a uniform guess, every
head matters, and biases and norms differ from their neutral values.
"""

import copy
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading.load import from_network

CONTEXT = 256
LAYERS, HEADS = 4, 4

_TRAINING_TEXT = [
    "The lighthouse keeper wrote the height of the tide into the notebook, and the notebook was kept.",
    "It was the ninth of October, and the water reached the door of the tower where the keeper lived.",
]
_SPECIAL = ["<s>", "</s>", "<unk>", "<|im_start|>"]

_SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": None,
    "bos_token_id": 0,
    "eos_token_id": 1,
}
_EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_MIXED_WINDOWS = {
    "head_dim": 8,
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
}
# What a family needs beside or instead of _SIZES.
_FAMILY: dict[str, dict[str, Any]] = {
    "afmoe": {**_EXPERTS, "num_experts": 4, "num_dense_layers": 1, "sliding_window": 16},
    "apertus": {},
    "arcee": {},
    "cohere": {"logit_scale": 0.25},
    "cohere2": {**_MIXED_WINDOWS, "logit_scale": 0.25},
    "ernie4_5": {"head_dim": 8},
    "exaone4": {**_MIXED_WINDOWS, "sliding_window_pattern": None},
    "gemma": {"head_dim": 8},
    "gemma2": {**_MIXED_WINDOWS, "query_pre_attn_scalar": 8},
    "gemma3_text": {**_MIXED_WINDOWS, "query_pre_attn_scalar": 8},
    "glm": {"head_dim": 8},
    "glm4": {"head_dim": 8},
    "falcon_h1": {
        "mamba_d_ssm": 64,
        "mamba_n_heads": 4,
        "mamba_d_head": 16,
        "mamba_d_state": 8,
        "mamba_chunk_size": 16,
    },
    "gpt2": {"n_embd": 32, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT},
    "glm4_moe_lite": {"num_key_value_heads": HEADS},
    "gptj": {"n_embd": 32, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT, "rotary_dim": 4},
    "codegen": {"n_embd": 32, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT, "rotary_dim": 4},
    "hunyuan_v1_dense": {"head_dim": 8},
    "gpt_bigcode": {"n_embd": 32, "n_layer": LAYERS, "n_head": HEADS, "n_positions": CONTEXT},
    "granite": {
        "logits_scaling": 2.0,
        "attention_multiplier": 0.3,
        "residual_multiplier": 0.5,
        "embedding_multiplier": 3.0,
    },
    "helium": {"head_dim": 8},
    "lfm2": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "llama4_text": {"intermediate_size_mlp": 48, "head_dim": 8, "attention_chunk_size": CONTEXT},
    "mistral": {"sliding_window": 16},
    "mixtral": {**_EXPERTS, "sliding_window": 16},
    "nanochat": {"final_logit_softcapping": 5.0},
    "olmo3": {k: v for k, v in _MIXED_WINDOWS.items() if k != "head_dim"},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 24},
    "persimmon": {},
    "phi3": {"sliding_window": 16},
    "qwen2_moe": {**_EXPERTS, "shared_expert_intermediate_size": 16},
    "qwen3": {"head_dim": 8},
    "qwen3_moe": {**_EXPERTS, "head_dim": 8},
    "seed_oss": {"head_dim": 8},
    "starcoder2": {"sliding_window": 16},
}


def untouched(family: str, *, seed: int = 0, dtype: torch.dtype = torch.float32, **changes: Any) -> Any:
    """A tiny causal language model as transformers makes it, with wide random weights."""
    settings = {**_SIZES, "vocab_size": vocabulary(), **_FAMILY.get(family, {}), **changes}
    network = AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **settings))
    draw_weights(network, seed)
    return network.to(dtype).eval()


@torch.no_grad()
def draw_weights(network: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    embedding = network.get_input_embeddings().weight
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter is embedding:
            parameter.copy_(noise)
        elif parameter.dim() >= 2:
            parameter.copy_(noise * 1.5 * parameter.shape[-1] ** -0.5)
        else:
            parameter.add_(noise * 0.2)


class Tiny(NamedTuple):
    model: LanguageModel
    untouched: Any
    """The same network with nothing replaced."""


def tiny(family: str, *, bos: bool = True, **changes: Any) -> Tiny:
    network = untouched(family, **changes)
    return Tiny(from_network(copy.deepcopy(network), tokenizer(bos), f"tiny {family}"), network)


def save_tiny(folder: Path, family: str, **changes: Any) -> Path:
    """The folder that now holds a tiny model and its tokenizer, as `load_model` takes it."""
    untouched(family, **changes).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def tokenizer(bos: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level BPE trained on two sentences; <s> stands before every text if `bos`."""
    backend = Tokenizer.from_str(_trained())
    if bos:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def word_tokenizer(words: Sequence[str], bos: bool = False) -> PreTrainedTokenizerFast:
    """One token a word or punctuation mark of `words`, anything else <unk>."""
    vocab = {word: i for i, word in enumerate(dict.fromkeys([*_SPECIAL, *words]))}
    backend = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if bos:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def vocabulary() -> int:
    return len(tokenizer())


@functools.cache
def _trained() -> str:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=_SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(_TRAINING_TEXT, trainer)
    return backend.to_str()


def random_tokens(count: int, seed: int = 0) -> list[int]:
    """Token ids without special tokens; the second half repeats the first, so that heads may copy."""
    generator = torch.Generator().manual_seed(seed)
    half = torch.randint(len(_SPECIAL), vocabulary(), (-(-count // 2),), generator=generator).tolist()
    return (half + half)[:count]
