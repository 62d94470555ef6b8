"""GGUF files are scored as the same model in safetensors format is, or refused by name."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

import attention_influence.model.loading.gguf as conversion
from attention_influence.errors import ModelError
from attention_influence.model.loading.load import from_network, load_model
from attention_influence.storage.cache import cache_folder
from gguf_files import write_gguf
from model.test_losses import losses
from tiny_models import random_tokens, tokenizer, untouched

HEADS = {1: [2], 3: [0]}
CHANGES: dict[str, dict[str, Any]] = {
    "gemma3_text": {
        "query_pre_attn_scalar": 8,
        "num_hidden_layers": 6,
        "layer_types": [*["sliding_attention"] * 5, "full_attention"],
    },
    "qwen2": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    "starcoder2": {"sliding_window": None, "rope_parameters": {"rope_type": "default", "rope_theta": 5e5}},
    "phi3": {"rope_parameters": {"rope_type": "default", "rope_theta": 5e4, "partial_rotary_factor": 0.5}},
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def same_losses(file: Path, network: Any) -> None:
    tokens = [random_tokens(length) for length in (200, 40)]
    expected = losses(from_network(network, tokenizer()), tokens, HEADS)
    for found, right in zip(losses(load_model(str(file), "fp32", "cpu"), tokens, HEADS), expected, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma3_text", "phi3", "gpt2", "starcoder2"])
def test_a_file_is_scored_as_the_same_model_in_memory(family: str, tmp_path: Path) -> None:
    network = untouched(family, **CHANGES.get(family, {}))
    same_losses(write_gguf(tmp_path / "model.gguf", network), network)


def llama3(original: int, factor: float, theta: float, head: int) -> tuple[dict[str, Any], np.ndarray]:
    """Llama 3's RoPE scaling as transformers is told it, and as the divisors that GGUF files hold."""
    settings = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": factor,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": original,
    }
    divisors = []
    for frequency in theta ** -(np.arange(0, head, 2) / head):
        length = 2 * np.pi / frequency
        smooth = (original / length - 1) / 3
        divisors.append(1.0 if smooth > 1 else factor if smooth < 0 else 1 / ((1 - smooth) / factor + smooth))
    return settings, np.array(divisors, dtype=np.float32)


@pytest.mark.parametrize(("original", "kind"), [(8192, "llama3"), (64, "longrope")])
@pytest.mark.parametrize("theta", [1e4, 5e5])
def test_frequencies_of_llama_3_are_converted(original: int, kind: str, theta: float, tmp_path: Path) -> None:
    settings, divisors = llama3(original, 8.0, theta, head=32)
    assert len(set(divisors)) > 1
    network = untouched("llama", head_dim=32, rope_parameters=settings, max_position_embeddings=256)
    file = write_gguf(tmp_path / "model.gguf", network, tensors={"rope_freqs.weight": divisors})
    assert load_model(str(file), "fp32", "cpu").network.config.rope_parameters["rope_type"] == kind
    same_losses(file, network)


LINEAR = {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 1e4}
SCALINGS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "linear": ("llama", LINEAR, {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
    "linear, as older files say it": ("llama", LINEAR, {"rope.scale_linear": 4.0}),
    "linear, qwen2": ("qwen2", LINEAR, {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}),
    "none": (
        "llama",
        {"rope_type": "default", "rope_theta": 1e4},
        {"rope.scaling.type": "none", "rope.scaling.finetuned": True},
    ),
    "yarn": (
        "llama",
        YARN,
        {"rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 64},
    ),
    "yarn, qwen3": (
        "qwen3",
        {**YARN, "beta_fast": 16.0, "beta_slow": 2.0},
        {
            "rope.scaling.type": "yarn",
            "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 64,
            "rope.scaling.yarn_beta_fast": 16.0,
            "rope.scaling.yarn_beta_slow": 2.0,
        },
    ),
}


@pytest.mark.parametrize(("family", "rope", "keys"), SCALINGS.values(), ids=SCALINGS)
def test_scaling_of_rope_is_converted(family: str, rope: dict[str, Any], keys: dict[str, Any], tmp_path: Path) -> None:
    network = untouched(family, rope_parameters=rope)
    same_losses(write_gguf(tmp_path / "model.gguf", network, keys), network)


def test_scaling_of_gemma_3_is_that_of_its_global_layers(tmp_path: Path) -> None:
    rope = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    network = untouched("gemma3_text", rope_parameters=rope, **CHANGES["gemma3_text"])
    keys = {"rope.scaling.type": "linear", "rope.scaling.factor": 8.0}
    same_losses(write_gguf(tmp_path / "model.gguf", network, keys), network)


def test_factors_for_short_and_long_texts_of_phi_3_are_converted(tmp_path: Path) -> None:
    short, long = [1.0, 1.1, 1.2, 1.3], [1.5, 4.0, 9.0, 20.0]
    rope = {
        "rope_type": "longrope",
        "short_factor": short,
        "long_factor": long,
        "rope_theta": 1e4,
        "original_max_position_embeddings": 64,
        "attention_factor": 1.25,
    }
    network = untouched("phi3", rope_parameters=rope, original_max_position_embeddings=64)
    keys = {"rope.scaling.original_context_length": 64, "rope.scaling.attn_factor": 1.25}
    tensors = {
        "rope_factors_short.weight": np.array(short, np.float32),
        "rope_factors_long.weight": np.array(long, np.float32),
    }
    same_losses(write_gguf(tmp_path / "model.gguf", network, keys, tensors), network)


ONE = np.ones(4, dtype=np.float32)
REFUSED: dict[str, tuple[dict[str, Any], dict[str, np.ndarray], str]] = {
    "a key nobody knows": ({"attention.made_up": 3}, {}, r"llama\.attention\.made_up=3"),
    "a logit scale": ({"logit_scale": 2.0}, {}, r"llama\.logit_scale=2\.0"),
    "experts": ({"expert_count": 8}, {}, r"llama\.expert_count=8"),
    "soft-capping": ({"final_logit_softcapping": 30.0}, {}, r"final_logit_softcapping=30\.0"),
    "not causal": ({"attention.causal": False}, {}, r"llama\.attention\.causal=False"),
    "a sliding window": ({"attention.sliding_window": 16}, {}, r"llama\.attention\.sliding_window=16"),
    "heads that differ by layer": ({"attention.head_count_kv": [2, 2, 1, 2]}, {}, "num_key_value_heads"),
    "dynamic RoPE": ({"rope.scaling.type": "dynamic"}, {}, r"rope\.scaling\.type=dynamic"),
    "RoPE of a part of the head": ({"rope.dimension_count": 4}, {}, "RoPE turns 4 of 8"),
    "values of another width": ({"attention.value_length": 16}, {}, "keys of 8 and values of 16"),
    "yarn without its context": ({"rope.scaling.type": "yarn"}, {}, "original_context_length"),
    "an adapter": ({"general.type": "adapter"}, {}, "holds a adapter|adapter, not a whole model"),
    "a part": ({"split.count": 3, "split.no": 0}, {}, "part 1 of 3"),
    "a tensor nobody knows": ({}, {"blk.1.made_up.weight": ONE}, r"no place for \(blk\.1\.made_up\.weight"),
    "a bias": ({}, {"blk.0.attn_q.bias": np.ones(32, np.float32)}, r"no place for \(blk\.0\.attn_q\.bias"),
    "factors for long texts alone": ({}, {"rope_factors_long.weight": ONE}, "missing; it has rope_factors_long"),
    "divisors and a scaling": (
        {"rope.scaling.type": "linear", "rope.scaling.factor": 2.0},
        {"rope_freqs.weight": ONE},
        "rope_freqs.weight together",
    ),
    "divisors of another number": ({}, {"rope_freqs.weight": ONE[:3] * 2}, "3 RoPE factors for 4 frequencies"),
}


@pytest.mark.parametrize(("keys", "tensors", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_converted_is_refused_by_name(
    keys: dict[str, Any], tensors: dict[str, np.ndarray], said: str, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "model.gguf", untouched("llama"), keys, tensors)
    with pytest.raises(ModelError, match=said) as refused:
        load_model(str(file), device="cpu")
    assert str(file) in str(refused.value)
    assert not list((cache_folder() / "models").iterdir())


@pytest.mark.parametrize("without", ["blk.2.ffn_down", "output.weight", "token_embd", "output_norm", "blk.3."])
def test_a_tensor_that_is_missing_is_refused_by_name(without: str, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model.gguf", untouched("llama", tie_word_embeddings=False), without=without)
    if without == "output.weight":  # GGUF says by this that it is tied
        assert load_model(str(file), device="cpu").network.config.tie_word_embeddings
        return
    with pytest.raises(ModelError, match="missing") as refused:
        load_model(str(file), device="cpu")
    assert str(file) in str(refused.value)


def test_an_architecture_that_is_not_tested_is_refused(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model.gguf", untouched("stablelm"))
    with pytest.raises(ModelError, match=r"'stablelm' is not among .*llama"):
        load_model(str(file), device="cpu")


def test_keys_of_others_are_no_matter(tmp_path: Path) -> None:
    network = untouched("llama")
    keys = {"other.quantize_version": 2, "general.name": "mistral-like", "general.license": "none"}
    same_losses(write_gguf(tmp_path / "model.gguf", network, keys), network)


@pytest.mark.parametrize(
    ("keys", "bos"),
    [
        ({"tokenizer.ggml.add_bos_token": True}, 0),
        ({"tokenizer.ggml.add_bos_token": False}, None),
        ({}, None),
        ({"tokenizer.ggml.pre": "llama-bpe"}, 0),
        ({"tokenizer.ggml.pre": "llama-bpe", "tokenizer.ggml.add_bos_token": False}, None),
    ],
)
def test_texts_begin_with_bos_where_the_file_says_so(keys: dict[str, Any], bos: int | None, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model.gguf", untouched("llama"), keys)
    model = load_model(str(file), device="cpu")
    assert model.tokens.bos == bos
    assert 0 not in model.tokens.encode(["a text"])[0]


@pytest.mark.parametrize(("split", "count"), [("llama-bpe", 1), ("gpt-2", 3)])
def test_the_vocabulary_is_looked_up_before_merges_where_the_split_says_so(
    split: str, count: int, tmp_path: Path
) -> None:
    file = write_gguf(tmp_path / "model.gguf", untouched("llama"), {"tokenizer.ggml.pre": split})
    assert len(load_model(str(file), device="cpu").tokens.encode(["xyz"])[0]) == count


# What transformers is asked for, and the cache folder


def test_weights_are_asked_for_dense(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    load = AutoModelForCausalLM.from_pretrained
    monkeypatch.setattr(
        AutoModelForCausalLM, "from_pretrained", lambda **options: asked.append(options) or load(**options)
    )
    conversion.dense_copy(write_gguf(tmp_path / "model.gguf", untouched("llama")))
    assert asked[0]["quantization_config"].dequantize


def test_a_cache_folder_that_cannot_be_made_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a file"))
    file = write_gguf(tmp_path / "model.gguf", untouched("llama"))
    with pytest.raises(ModelError, match=r"cache folder .*a file/attention-influence.*XDG_CACHE_HOME"):
        load_model(str(file), device="cpu")


@pytest.mark.parametrize("part", ["network", "tokenizer", "record"])
def test_a_disk_that_fills_up_leaves_nothing_that_is_taken_for_whole(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = untouched("llama")
    file = write_gguf(tmp_path / "model.gguf", network)
    full = OSError(28, "No space left on device")

    def fails(*arguments: Any, **options: Any) -> Any:
        raise full

    place = {
        "network": "transformers.LlamaForCausalLM.save_pretrained",
        "tokenizer": "transformers.PreTrainedTokenizerFast.save_pretrained",
        "record": "pathlib.Path.write_text",
    }[part]
    with monkeypatch.context() as patched:
        patched.setattr(place, fails)
        with pytest.raises(ModelError, match=r"No space left on device.*XDG_CACHE_HOME"):
            load_model(str(file), device="cpu")
    assert not list((cache_folder() / "models").iterdir())
    same_losses(file, network)


def test_too_little_room_is_said_before_the_conversion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_gguf(tmp_path / "model.gguf", untouched("llama"))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ModelError, match="XDG_CACHE_HOME"):
        load_model(str(file), device="cpu")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "conversion.json"])
def test_a_damaged_copy_is_named(name: str, tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model.gguf", untouched("llama"))
    load_model(str(file), device="cpu")
    [folder] = (cache_folder() / "models").iterdir()
    assert "files" in json.loads((folder / "conversion.json").read_text())
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:-20])
    with pytest.raises(ModelError, match=f"{folder} is damaged"):
        load_model(str(file), device="cpu")
