"""What a GGUF file says about its model, into transformers' configuration.

transformers' reader drops settings that it does not know, RoPE scaling among them, and leaves the defaults of another
model in their place. Here every key under the architecture's prefix either has its place or is refused by name.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from attention_influence.errors import ModelError

Metadata = Mapping[str, Any]

ARCHITECTURES = ("gemma3", "gpt2", "llama", "phi3", "qwen2", "qwen3", "starcoder2")
"""Those whose conversion is tested against the same model as safetensors."""

# Key → names of the configuration's attribute that must have its value.
_STATED: dict[str, tuple[str, ...]] = {
    "block_count": ("num_hidden_layers",),
    "context_length": ("max_position_embeddings",),
    "embedding_length": ("hidden_size",),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "vocab_size": ("vocab_size",),
    "attention.head_count": ("num_attention_heads",),
    "attention.head_count_kv": ("num_key_value_heads", "num_attention_heads"),
    "attention.layer_norm_rms_epsilon": ("rms_norm_eps",),
    "attention.layer_norm_epsilon": ("layer_norm_epsilon", "norm_epsilon"),
    "attention.sliding_window": ("sliding_window",),
}
_OF_ROPE = {
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.dimension_count",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.original_context_length",
    "rope.scaling.attn_factor",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
}
_OF_HEADS = {"attention.key_length", "attention.value_length"}
# Values that say what is done anyway; other values of these keys are refused.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "attention.causal": (True,),
    "attention.scale": (0.0,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "rope.scaling.yarn_ext_factor": (1.0, -1.0),
    "rope.scaling.yarn_attn_factor": (1.0, -1.0),
    "tensor_data_layout": ("Meta AI original pth",),
    "attn_logit_softcapping": (0.0,),
    "final_logit_softcapping": (0.0,),
}
_NO_MATTER = {"rope.scaling.finetuned"}
_WITH_SLIDING_WINDOW = ("gemma3", "phi3")
_GEMMA3_27B_LAYERS = 62  # its attention alone is scaled by the width of the model, not of a head

ROPE_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Divisors of RoPE's frequencies: part of the configuration in transformers."""


def settle(config: Any, metadata: Metadata, rope_tensors: Mapping[str, Sequence[float]]) -> None:
    """Gives `config`, as transformers read it, the settings that the file names.

    `metadata` holds the file's key-value pairs, `rope_tensors` those of ROPE_TENSORS that it has. Raises ModelError
    that names the keys or tensors which cannot be represented.
    """
    architecture = metadata["general.architecture"]
    if metadata.get("general.type", "model") != "model":
        raise ModelError(f"it holds a {metadata['general.type']}, not a whole model (general.type)")
    if metadata.get("split.count", 1) > 1:
        raise ModelError(
            f"it is part {metadata.get('split.no', 0) + 1} of {metadata['split.count']}; merge the parts into one file "
            "(llama-gguf-split --merge)"
        )
    if architecture not in ARCHITECTURES:
        raise ModelError(
            f"its architecture {architecture!r} is not among those that are converted exactly "
            f"({', '.join(ARCHITECTURES)}); use the model in safetensors format"
        )
    stated = {
        key.removeprefix(f"{architecture}."): value
        for key, value in metadata.items()
        if key.startswith(f"{architecture}.")
    }
    _settle_heads(config, stated)
    if architecture == "gpt2":
        config.n_positions = stated.get("context_length", config.n_positions)
        config.n_inner = stated.get("feed_forward_length")
    if architecture == "gemma3":
        wide = config.num_hidden_layers == _GEMMA3_27B_LAYERS
        config.query_pre_attn_scalar = config.hidden_size // config.num_attention_heads if wide else config.head_dim
    if hasattr(config, "sliding_window") and architecture in _WITH_SLIDING_WINDOW:
        config.sliding_window = stated.get("attention.sliding_window") or None
    if getattr(config, "sliding_window", None) is None and "attention.sliding_window" in stated:
        stated = {**stated, "attention.sliding_window": stated["attention.sliding_window"] or None}
    if hasattr(config, "rope_parameters"):
        _settle_rope(config, stated, rope_tensors)
    elif rope_tensors:
        raise ModelError(f"tensors without a place in the model: {', '.join(rope_tensors)}")
    lost = [
        f"{architecture}.{key}={value}" for key, value in sorted(stated.items()) if not _has_place(config, key, value)
    ]
    if lost:
        raise ModelError(
            f"settings that cannot be converted: {', '.join(lost)}; scores would be those of another model. "
            "Use the model in safetensors format"
        )


def _has_place(config: Any, key: str, value: Any) -> bool:
    if key in _NO_MATTER:
        return True
    if isinstance(value, list):  # one for each layer, where the model classes have one for all
        return False
    if key in _NEUTRAL:
        return value in _NEUTRAL[key]
    if key in _OF_HEADS or (key in _OF_ROPE and hasattr(config, "rope_parameters")):
        return True
    attributes = [getattr(config, name) for name in _STATED.get(key, ()) if hasattr(config, name)]
    return bool(attributes) and _same(attributes[0], value)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-6)  # files hold float32
    return bool(one == other)


def _settle_heads(config: Any, stated: Metadata) -> None:
    width = config.hidden_size // config.num_attention_heads
    key, value = stated.get("attention.key_length", width), stated.get("attention.value_length", width)
    if key != value:
        raise ModelError(f"keys of {key} and values of {value} dimensions a head, which its model class does not have")
    if hasattr(config, "head_dim"):
        config.head_dim = key
    elif key != width:
        raise ModelError(f"heads of {key} dimensions, where its model class has {width}")


def _settle_rope(config: Any, stated: Metadata, tensors: Mapping[str, Sequence[float]]) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rotated = stated.get("rope.dimension_count", head)
    theta = float(stated.get("rope.freq_base", 10000.0))
    rope: dict[str, Any] = {"rope_theta": theta, **_scaling(config, stated, tensors, theta)}
    if rotated != head or "partial_rotary_factor" in config.rope_parameters:
        rope["partial_rotary_factor"] = rotated / head
        if "partial_rotary_factor" not in config.rope_parameters:
            raise ModelError(f"RoPE turns {rotated} of {head} dimensions a head, which its model class does not")
    for factors in (rope.get("short_factor", ()), rope.get("long_factor", ())):
        if factors and len(factors) != rotated // 2:
            raise ModelError(f"{len(factors)} RoPE factors for {rotated // 2} frequencies")
    if "sliding_attention" in config.rope_parameters:  # gemma3: layers with a sliding window have their own, unscaled
        local = {"rope_type": "default", "rope_theta": float(stated.get("rope.freq_base_swa", 10000.0))}
        config.rope_parameters = {"sliding_attention": local, "full_attention": rope}
    elif "rope.freq_base_swa" in stated:
        raise ModelError("a RoPE base of its own for sliding windows, which its model class does not have")
    else:
        config.rope_parameters = rope


def _scaling(config: Any, stated: Metadata, tensors: Mapping[str, Sequence[float]], theta: float) -> dict[str, Any]:
    kind = stated.get("rope.scaling.type", "linear" if "rope.scale_linear" in stated else "none")
    factor = float(stated.get("rope.scaling.factor", stated.get("rope.scale_linear", 1.0)) or 1.0)
    original = stated.get("rope.scaling.original_context_length")
    attention = float(stated.get("rope.scaling.attn_factor", 1.0))
    if "rope_factors_long.weight" in tensors and "rope_factors_short.weight" in tensors:
        if kind not in ("none", "longrope") or original is None:
            raise ModelError(f"RoPE factors with rope.scaling.type={kind} and original_context_length={original}")
        config.original_max_position_embeddings = original
        short, long = (list(tensors[f"rope_factors_{which}.weight"]) for which in ("short", "long"))
        return _explicit(short, long, original, attention)
    unplaced = [name for name in tensors if name != "rope_freqs.weight"]
    if unplaced or kind == "longrope":
        raise ModelError(f"RoPE factors for short or for long texts are missing; it has {', '.join(tensors) or 'none'}")
    if "rope_freqs.weight" in tensors:
        if (kind == "linear" and factor != 1.0) or kind == "yarn" or attention != 1.0:
            raise ModelError(f"rope_freqs.weight together with rope.scaling.type={kind}")
        return _divided(list(tensors["rope_freqs.weight"]), theta, config.max_position_embeddings)
    if kind == "yarn":
        if original is None:
            raise ModelError("rope.scaling.type=yarn without rope.scaling.original_context_length")
        yarn = {"rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original}
        for key in ("beta_fast", "beta_slow"):
            if f"rope.scaling.yarn_{key}" in stated:
                yarn[key] = float(stated[f"rope.scaling.yarn_{key}"])
        return {**yarn, "attention_factor": attention * (1 + 0.1 * math.log(factor))}
    if attention != 1.0:
        raise ModelError(f"rope.scaling.attn_factor={attention} with rope.scaling.type={kind}")
    if kind == "linear" and factor != 1.0:
        return {"rope_type": "linear", "factor": factor}
    if kind not in ("none", "linear"):
        raise ModelError(f"rope.scaling.type={kind}")
    return {"rope_type": "default"}


def _divided(divisors: list[float], theta: float, context: int) -> dict[str, Any]:
    """Frequencies divided one by one: Llama 3's rule where it gives these divisors, else the divisors themselves."""
    rule = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
    factor = max(divisors)
    # Waves in the original context, of each frequency: the rule leaves many, divides few, and blends between.
    waves = [8192 * theta ** (-i / len(divisors)) / (2 * math.pi) for i in range(len(divisors))]
    blends = [min(max((wave - 1) / 3, 0.0), 1.0) for wave in waves]
    expected = [1 / ((1 - blend) / factor + blend) for blend in blends]
    if all(math.isclose(one, other, rel_tol=1e-5) for one, other in zip(divisors, expected, strict=True)):
        return {"rope_type": "llama3", "factor": factor, **rule}
    return _explicit(divisors, divisors, context, 1.0)


def _explicit(short: list[float], long: list[float], original: int, attention: float) -> dict[str, Any]:
    return {
        "rope_type": "longrope",
        "short_factor": short,
        "long_factor": long,
        "original_max_position_embeddings": original,
        "attention_factor": attention,
    }
