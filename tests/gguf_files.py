"""Tiny models as GGUF files, written tensor by tensor as llama.cpp's converter lays them out."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from tokenizers import pre_tokenizers

from tiny_models import vocabulary

ARCHITECTURE_OF = {"gemma3_text": "gemma3"}


def write_gguf(
    file: Path,
    network: Any,
    keys: Mapping[str, Any] | None = None,
    tensors: Mapping[str, np.ndarray] | None = None,
    without: str | None = None,
) -> Path:
    """The network as a GGUF file. `keys` and `tensors` are added (a value of None takes a key away).

    Tensors whose name starts with `without` are left out. Keys without a known prefix are the architecture's.
    """
    config = network.config
    architecture = ARCHITECTURE_OF.get(config.model_type, config.model_type)
    writer = gguf.GGUFWriter(file, architecture)
    for key, value in {**_settings(config, architecture), **(keys or {})}.items():
        whole = key if key.startswith(("general.", "tokenizer.", "split.", "other.")) else f"{architecture}.{key}"
        if isinstance(value, bool):
            writer.add_bool(whole, value)
        elif isinstance(value, int):
            writer.add_uint32(whole, value)
        elif isinstance(value, float):
            writer.add_float32(whole, value)
        elif isinstance(value, str):
            writer.add_string(whole, value)
        elif value is not None:
            writer.add_array(whole, value)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = ["<s>", "</s>", *alphabet, "ab", "xyz"]
    writer.add_token_list([*tokens, *(f"<unused{n}>" for n in range(vocabulary() - len(tokens)))])
    writer.add_token_types([3, 3] + [1] * (len(alphabet) + 2) + [5] * (vocabulary() - len(tokens)))
    writer.add_array("tokenizer.ggml.merges", ["a b"])
    for name, values in {**dict(_tensors(network, architecture)), **(tensors or {})}.items():
        if without is None or not name.startswith(without):
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _settings(config: Any, architecture: str) -> dict[str, Any]:
    layer_norm = getattr(config, "layer_norm_epsilon", None) or getattr(config, "norm_epsilon", None)
    settings = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.bos_token_id": 0,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.padding_token_id": 1,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": 4 * config.hidden_size if architecture == "gpt2" else config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads if architecture != "gpt2" else None,
        "attention.layer_norm_rms_epsilon": getattr(config, "rms_norm_eps", None),
        "attention.layer_norm_epsilon": layer_norm,
        "attention.key_length": getattr(config, "head_dim", None),
        "attention.value_length": getattr(config, "head_dim", None),
        "vocab_size": config.vocab_size,
    }
    if architecture in ("gemma3", "phi3"):
        settings["attention.sliding_window"] = config.sliding_window
    rope = getattr(config, "rope_parameters", None)
    if rope is not None:
        rope = rope.get("full_attention", rope)
        head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        settings["rope.freq_base"] = float(rope["rope_theta"])
        settings["rope.dimension_count"] = int(head * rope.get("partial_rotary_factor", 1.0))
    return settings


def _tensors(network: Any, architecture: str) -> Iterator[tuple[str, np.ndarray]]:
    config = network.config
    number = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(number, config.num_hidden_layers)
    tied = config.tie_word_embeddings
    for key, value in network.state_dict().items():
        name = names.get_name(key, try_suffixes=(".weight", ".bias"))
        assert name is not None, key
        values = value.float().numpy()
        if name == "output.weight" and tied:
            continue
        if architecture == "llama" and ("attn_q." in name or "attn_k." in name):
            heads = config.num_attention_heads if "attn_q." in name else config.num_key_value_heads
            values = _interleaved(values, heads)
        if architecture == "gemma3" and name.endswith("norm.weight"):
            values = values + 1
        if architecture == "gpt2" and values.ndim == 2 and name.startswith("blk."):
            values = values.T
        yield name, np.ascontiguousarray(values)


def _interleaved(values: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys in the order in which llama.cpp's RoPE pairs them: (0, 1), not (0, half)."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)
