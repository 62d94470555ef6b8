"""Models from a directory and from memory: the same weights, identity, dtype."""

import json
from pathlib import Path

import pytest
import torch

from attention_influence.errors import ModelError
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading import load
from attention_influence.model.loading.load import from_network, load_model
from attention_influence.model.oracle import oracle_hidden
from attention_influence.model.self_test import self_test
from model.test_losses import losses, mean_loss
from tiny_models import CONTEXT, random_tokens, tiny, tokenizer, untouched

FAMILIES = ["llama", "gemma3_text", "gpt2", "mixtral"]
BFLOAT16 = [
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma3_text",
    "gpt2",
    "gpt_neox",
    "phi",
    "olmo2",
    "mixtral",
    "cohere",
    "cohere2",
    "granite",
    "opt",
    "lfm2",
    "nanochat",
]


def save(family: str, folder: Path, seed: int = 0, bos: bool = True) -> str:
    network = untouched(family, seed=seed)
    network.save_pretrained(folder)
    tokenizer(bos).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_from_a_directory_has_the_losses_of_the_one_that_was_saved(family: str, tmp_path: Path) -> None:
    loaded = load_model(save(family, tmp_path), dtype="fp32", device="cpu")
    tokens = random_tokens(60)
    saved = losses(tiny(family).model, [tokens], {1: [2]})[0]
    torch.testing.assert_close(losses(loaded, [tokens], {1: [2]})[0], saved, rtol=1e-6, atol=1e-6)
    assert loaded.tokens.bos == 0
    assert loaded.context == CONTEXT


@pytest.mark.parametrize("native", [True, False])
def test_weights_are_rounded_as_asked_and_held_in_the_type_that_the_processor_computes_in(
    native: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save("llama", tmp_path)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": native})
    exact, rounded = (load_model(folder, dtype=dtype, device="cpu") for dtype in ("fp32", "bf16"))
    assert exact.dtype == torch.float32
    assert rounded.dtype == (torch.bfloat16 if native else torch.float32)
    for weights, full in zip(rounded.network.parameters(), exact.network.parameters(), strict=True):
        assert weights.dtype == rounded.dtype
        assert torch.equal(weights.float(), full.bfloat16().float())


def test_float16_weights_are_rounded_and_computed_in_float32_on_a_cpu(tmp_path: Path) -> None:
    folder = save("llama", tmp_path)
    exact, rounded = (load_model(folder, dtype=dtype, device="cpu") for dtype in ("fp32", "float16"))
    assert rounded.dtype == torch.float32
    for weights, expected in zip(rounded.network.parameters(), exact.network.parameters(), strict=True):
        assert torch.equal(weights, expected.half().float())
    self_test(rounded, {1: [0]}, CONTEXT)


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    network = untouched("llama")
    with torch.no_grad():
        network.model.layers[0].mlp.down_proj.weight[0, 0] = 1e5
    network.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"down_proj.* beyond the range of float16"):
        load_model(str(tmp_path), dtype="float16", device="cpu")


def test_weights_that_may_not_be_read_are_told_from_missing_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(*given: object, **named: object) -> None:
        raise FileNotFoundError("No such file or directory: model.safetensors")  # safetensors' own words

    folder = save("llama", tmp_path)
    monkeypatch.setattr(load, "_load", closed)
    monkeypatch.setattr(load.os, "access", lambda file, mode: False)
    with pytest.raises(ModelError, match=r"no permission to read .*model\.safetensors"):
        load_model(folder, device="cpu")


def test_rounded_weights_go_back_to_16_bits_where_products_are_native(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    model = load_model(save("llama", tmp_path), device="cpu")
    tables = [buffer.dtype for buffer in model.network.buffers()]
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert model.on("cpu").dtype == torch.bfloat16
    assert {weights.dtype for weights in model.network.parameters()} == {torch.bfloat16}
    assert [buffer.dtype for buffer in model.network.buffers()] == tables


def test_the_identity_is_that_of_the_weights_and_the_tokenizer(tmp_path: Path) -> None:
    first, same, other, words = (
        load_model(save("llama", tmp_path / name, seed, bos), device="cpu").identity
        for name, seed, bos in [("a", 0, True), ("b", 0, True), ("c", 1, True), ("d", 0, False)]
    )
    assert (first.weights, first.tokenizer) == (same.weights, same.tokenizer)
    assert first.weights != other.weights
    assert first.tokenizer == other.tokenizer
    assert first.weights == words.weights
    assert first.tokenizer != words.tokenizer
    assert first.name == str(tmp_path / "a")


@pytest.mark.parametrize(("key", "value", "same"), [("rope_parameters", None, False), ("use_cache", False, True)])
def test_the_identity_follows_what_the_configuration_makes_of_the_weights(
    tmp_path: Path, key: str, value: object, same: bool
) -> None:
    folder = save("llama", tmp_path)
    before = load_model(folder, device="cpu").identity
    config = json.loads((tmp_path / "config.json").read_text())
    assert config[key] != value
    config[key] = {**config[key], "rope_theta": 5000.0} if value is None else value
    (tmp_path / "config.json").write_text(json.dumps(config | {"transformers_version": "5.99"}))
    after = load_model(folder, device="cpu").identity
    assert (after.weights == before.weights) == same


def test_the_identity_of_a_network_in_memory_is_that_of_its_tensors() -> None:
    one, same, other = (from_network(untouched("llama", seed=s), tokenizer()).identity for s in (0, 0, 1))
    assert one == same
    assert one.weights != other.weights


@pytest.mark.parametrize("family", BFLOAT16)
def test_weights_in_bfloat16_are_scored_within_their_rounding(family: str) -> None:
    rough, exact = tiny(family, dtype=torch.bfloat16).model, tiny(family).model
    found = self_test(rough, {1: [2], 3: [0]}, CONTEXT)
    assert found.error < 2e-2
    tokens = random_tokens(120)
    ours = losses(rough, [tokens], {1: [2], 3: [0]})[0]
    assert ours.dtype == torch.float32
    assert ours.isfinite().all()
    assert mean_loss(rough, tokens) == pytest.approx(mean_loss(exact, tokens), rel=0.02)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "olmo2", "mixtral"])
def test_the_sum_of_the_layers_is_not_rounded_to_bfloat16(family: str) -> None:
    rough, exact = tiny(family, dtype=torch.bfloat16), tiny(family, dtype=torch.bfloat16)
    exact.model.network.float()
    tokens = [random_tokens(120, seed) for seed in range(4)]
    as_meant = exact.model.forward(tokens).last_hidden_state
    ours = rough.model.forward(tokens).last_hidden_state
    assert ours.dtype == torch.float32
    rounded = torch.cat([oracle_hidden(rough.model, window, {}) for window in tokens])
    assert rounded.dtype == torch.bfloat16
    # The median: rounding that sends a token to another expert is no matter of the sum.
    assert (ours - as_meant).abs().median() < 0.8 * (rounded - as_meant).abs().median()


@pytest.mark.parametrize("family", ["gpt2", "gpt_neox"])
def test_families_that_take_no_mixed_types_are_scored_in_theirs(family: str) -> None:
    model = tiny(family, dtype=torch.bfloat16).model
    assert model.forward([random_tokens(30)]).last_hidden_state.dtype == torch.bfloat16
    assert losses(model, [random_tokens(30)], {1: [2], 3: [0]})[0].isfinite().all()


def test_preparing_a_model_again_does_not_change_it() -> None:
    network, tokens = untouched("llama"), random_tokens(30)
    first = mean_loss(from_network(network, tokenizer()), tokens)
    assert mean_loss(from_network(network, tokenizer()), tokens) == first


@pytest.mark.parametrize("family", ["llama", "llama4_text", "opt"])
def test_the_unmodified_network_is_transformers_own_for_as_long_as_asked(family: str) -> None:
    made = tiny(family)
    model: LanguageModel = made.model
    tokens = random_tokens(20)
    with model.unmodified() as network, torch.no_grad():
        theirs = network(input_ids=torch.tensor([tokens])).logits
    made.untouched.set_attn_implementation("eager")
    with torch.no_grad():
        assert torch.equal(theirs, made.untouched(input_ids=torch.tensor([tokens])).logits)
    assert len(losses(model, [tokens], {0: [1]})[0]) == 2
