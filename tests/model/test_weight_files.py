"""Weights that do not fit are refused by name; the identity is that of the files which were read."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from attention_influence.errors import ModelError
from attention_influence.model.loading.checkpoint import weight_files
from attention_influence.model.loading.load import load_model
from model.test_losses import losses
from tiny_models import random_tokens, save_tiny, tokenizer, untouched

Tensors = dict[str, torch.Tensor]
HEADS = {1: [2]}


def rewrite(folder: Path, change: Callable[[Tensors], Tensors]) -> None:
    tensors = change(load_file(folder / "model.safetensors"))
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "model.safetensors", metadata={"format": "pt"})


def without(*words: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {k: v for k, v in tensors.items() if not any(word in k for word in words)}


def with_prefix(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {prefix + k: v for k, v in tensors.items()}


def cut(word: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {k: v[:-1] if word in k else v for k, v in tensors.items()}


MISFITS: list[tuple[str, Callable[[Tensors], Tensors], str]] = [
    ("llama", with_prefix("_orig_mod."), r"39 missing .*lm_head\.weight.*39 that .* begin with '_orig_mod\.'"),
    ("llama", with_prefix("module."), r"begin with 'module\.'"),
    ("llama", without("down_proj"), r"4 missing \(model\.layers\.0\.mlp\.down_proj\.weight"),
    ("llama", without("layers.3."), r"9 missing \(model\.layers\.3\.input_layernorm\.weight"),
    ("llama", without("lm_head"), r"1 missing \(lm_head\.weight\)"),
    ("llama", without("embed_tokens"), r"1 missing \(model\.embed_tokens\.weight\)"),
    (
        "llama",
        cut("layers.2.mlp.up_proj"),
        r"1 of another shape \(model\.layers\.2\.mlp\.up_proj\.weight \(47, 32\) inst",
    ),
    (
        "llama",
        lambda t: {**t, "v_head.weight": torch.ones(1, 32)},
        r"1 that the model has no place for \(v_head\.weight",
    ),
    ("gpt2", without("ln_f"), r"2 missing \(transformer\.ln_f\.bias, transformer\.ln_f\.weight\)"),
    ("gpt2", without("wte"), "missing .*wte"),
    ("mixtral", without("layers.1.block_sparse_moe.experts"), r"2 missing \(model\.layers\.1\.mlp\.experts"),
]


@pytest.mark.parametrize(("family", "change", "said"), MISFITS, ids=[said for _, _, said in MISFITS])
def test_tensors_that_do_not_fit_are_refused_by_name(
    family: str, change: Callable[[Tensors], Tensors], said: str, tmp_path: Path
) -> None:
    folder = save_tiny(tmp_path / "model", family)
    rewrite(folder, change)
    with pytest.raises(ModelError, match=said) as refused:
        load_model(str(folder), "fp32", "cpu")
    assert str(folder) in str(refused.value)


def test_an_expert_that_is_missing_is_refused(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", "mixtral")
    names = list(load_file(folder / "model.safetensors"))
    gone = next(name for name in names if "layers.1." in name and "experts" in name)
    rewrite(folder, without(gone))
    with pytest.raises(ModelError, match="experts of a layer, are incomplete"):
        load_model(str(folder), "fp32", "cpu")


HARMLESS: dict[str, tuple[str, Callable[[Tensors], Tensors]]] = {
    "frequencies of RoPE, as old checkpoints hold them": (
        "llama",
        lambda t: {**t, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)},
    ),
    "causal masks of GPT-2": ("gpt2", lambda t: {**t, "transformer.h.0.attn.bias": torch.ones(1, 1, 256, 256)}),
    "a body without the name that stands before it": (
        "gpt2",
        lambda t: {k.removeprefix("transformer."): v for k, v in t.items()},
    ),
}


@pytest.mark.parametrize(("family", "change"), HARMLESS.values(), ids=HARMLESS)
def test_what_changes_no_weight_is_loaded(family: str, change: Callable[[Tensors], Tensors], tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", family)
    tokens = random_tokens(40)
    before = losses(load_model(str(folder), "fp32", "cpu"), [tokens], HEADS)[0]
    rewrite(folder, change)
    assert torch.equal(losses(load_model(str(folder), "fp32", "cpu"), [tokens], HEADS)[0], before)


def test_a_tied_head_may_be_missing(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", "llama", tie_word_embeddings=True)
    rewrite(folder, without("lm_head"))
    assert load_model(str(folder), "fp32", "cpu").network.lm_head.weight.shape[1] == 32


# Which files are read


def saved_in(folder: Path, kind: str, seed: int = 0) -> Path:
    network = untouched("llama", seed=seed)
    network.save_pretrained(folder, max_shard_size="20KB" if "shards" in kind else "1GB")
    tokenizer().save_pretrained(folder)
    if kind.startswith("bin"):
        state = network.state_dict()
        for file in folder.glob("*.safetensors*"):
            file.unlink()
        if kind == "bin":
            torch.save(state, folder / "pytorch_model.bin")
        else:
            halves = {"pytorch_model-1.bin": list(state)[::2], "pytorch_model-2.bin": list(state)[1::2]}
            for name, keys in halves.items():
                torch.save({key: state[key] for key in keys}, folder / name)
            places = {key: name for name, keys in halves.items() for key in keys}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places, "metadata": {}}))
    return folder


KINDS = ["safetensors", "safetensors shards", "bin", "bin shards"]


@pytest.mark.parametrize("kind", KINDS)
def test_each_way_to_store_weights_gives_the_same_losses(kind: str, tmp_path: Path) -> None:
    tokens = random_tokens(40)
    expected = losses(load_model(str(saved_in(tmp_path / "a", "safetensors")), "fp32", "cpu"), [tokens], HEADS)[0]
    folder = saved_in(tmp_path / "b", kind)
    assert len(weight_files(folder)) == len(list(folder.glob("*.safetensors")) + list(folder.glob("*.bin")))
    assert torch.equal(losses(load_model(str(folder), "fp32", "cpu"), [tokens], HEADS)[0], expected)


@pytest.mark.parametrize(("first", "second"), [*itertools.combinations(KINDS, 2)])
def test_of_several_sets_the_one_that_transformers_reads_is_identified(first: str, second: str, tmp_path: Path) -> None:
    folder = saved_in(tmp_path / "model", first)
    alone = load_model(str(folder), "fp32", "cpu").identity.weights
    shutil.copytree(saved_in(tmp_path / "other", second, seed=1), folder, dirs_exist_ok=True)
    both = load_model(str(folder), "fp32", "cpu")
    assert both.identity.weights == alone
    for name, weight in untouched("llama", seed=0).state_dict().items():
        assert torch.equal(both.network.state_dict()[name], weight)


def test_files_that_are_not_read_do_not_change_the_identity(tmp_path: Path) -> None:
    folder = saved_in(tmp_path / "model", "safetensors shards")
    before = load_model(str(folder), "fp32", "cpu").identity
    for name in ("consolidated.safetensors", "model-00099-of-00099.safetensors", "training_args.bin", "optimizer.bin"):
        (folder / name).write_bytes(b"not read")
    (folder / "original").mkdir()
    save_file({"x": torch.ones(1)}, folder / "original" / "model.safetensors")
    assert load_model(str(folder), "fp32", "cpu").identity == before


def test_every_shard_is_part_of_the_identity(tmp_path: Path) -> None:
    folder = saved_in(tmp_path / "model", "safetensors shards")
    found = {load_model(str(folder), "fp32", "cpu").identity.weights}
    shards = weight_files(folder)
    assert len(shards) > 2
    for shard in shards:
        tensors = load_file(shard)
        tensors[next(iter(tensors))][0] += 1
        save_file(tensors, shard, metadata={"format": "pt"})
        found.add(load_model(str(folder), "fp32", "cpu").identity.weights)
    assert len(found) == 1 + len(shards)


def test_a_shard_that_is_left_out_is_named(tmp_path: Path) -> None:
    folder = saved_in(tmp_path / "model", "safetensors shards")
    shard = weight_files(folder)[1]
    shard.unlink()
    with pytest.raises(ModelError, match=rf"lacks 1 of the \d+ weight files .*: {shard.name}"):
        load_model(str(folder))


def test_a_file_that_the_configuration_names_is_the_one_that_is_read(tmp_path: Path) -> None:
    folder = saved_in(tmp_path / "model", "safetensors")
    save_file(untouched("llama", seed=1).state_dict(), folder / "other.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "other.safetensors"}))
    assert weight_files(folder) == [folder / "other.safetensors"]
    read = load_model(str(folder), "fp32", "cpu").network.state_dict()
    for name, weight in untouched("llama", seed=1).state_dict().items():
        assert torch.equal(read[name], weight)


@pytest.mark.parametrize("cut_to", [0, 100, 5000])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_weights_that_break_off_are_refused(kind: str, cut_to: int, tmp_path: Path) -> None:
    folder = saved_in(tmp_path / "model", kind)
    [file] = weight_files(folder)
    file.write_bytes(file.read_bytes()[:cut_to])
    with pytest.raises(ModelError, match=str(folder)):
        load_model(str(folder), device="cpu")


# Attention that is not installed


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
@pytest.mark.parametrize("value", ["flash_attention_2", "flash_attention_3", "flex_attention", "sdpa", "nobody/knows"])
def test_the_attention_that_a_configuration_asks_for_is_replaced(key: str, value: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", "llama")
    plain = load_model(str(folder), "fp32", "cpu")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, key: value}))
    asking = load_model(str(folder), "fp32", "cpu")
    assert asking.identity == plain.identity
    tokens = random_tokens(40)
    assert torch.equal(losses(asking, [tokens], HEADS)[0], losses(plain, [tokens], HEADS)[0])


# What a directory seems to be

SEEMS: list[tuple[list[str], str]] = [
    ([], "no config.json; a model's directory holds"),
    (["some-Q4_K_M.gguf", "some-Q8_0.gguf"], "name the file: some-Q4_K_M.gguf, some-Q8_0.gguf"),
    (["checkpoint-500", "checkpoint-1000"], "such as checkpoint-1000"),
    (["consolidated.00.pth", "params.json", "tokenizer.model"], "publisher's own format"),
    (["blobs", "refs", "snapshots"], "the folder inside snapshots/"),
    (["config.json", "flax_model.msgpack"], r"none of model\.safetensors.*another framework's weights"),
    (["config.json"], r"none of model\.safetensors, .*; a model's directory holds"),
    (["config.json", "adapter_config.json", "model.safetensors"], r"a PEFT adapter for some/base, .*merge_and_unload"),
    (["adapter_config.json", "adapter_model.safetensors"], "a PEFT adapter for some/base"),
    (["config.json", "shard-00001-model-00001-of-00002.safetensors"], "distributed checkpoint"),
]


@pytest.mark.parametrize(("names", "said"), SEEMS, ids=[said for _, said in SEEMS])
def test_a_directory_that_is_no_model_is_told_what_it_seems_to_be(names: list[str], said: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).write_text('{"base_model_name_or_path": "some/base"}')
    with pytest.raises(ModelError, match=said) as refused:
        load_model(str(tmp_path))
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize("content", ["", "not JSON", "[1]"])
def test_a_configuration_that_cannot_be_read_is_named(content: str, tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", "llama")
    (folder / "config.json").write_text(content)
    with pytest.raises(ModelError, match=str(folder / "config.json")):
        load_model(str(folder))


def test_a_tokenizer_without_a_vocabulary_is_refused(tmp_path: Path) -> None:
    untouched("qwen2").save_pretrained(tmp_path)
    (tmp_path / "qwen.tiktoken").write_text("IQ== 0\nIg== 1\n")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "QWenTokenizer"}')
    with pytest.raises(ModelError, match=r"no tokenizer that transformers can read.*tokenizer\.json"):
        load_model(str(tmp_path), device="cpu")


# Code that a model brings along

CODE = """
from transformers import LlamaForCausalLM

class OwnForCausalLM(LlamaForCausalLM):
    factor = 1
"""


def test_code_that_a_model_brings_along_is_part_of_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = save_tiny(tmp_path / "model", "llama")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "own.OwnForCausalLM"}
    (folder / "config.json").write_text(json.dumps(config))
    identities = []
    for code in (CODE, CODE, CODE + "\n\nanother = 1\n"):
        (folder / "own.py").write_text(code)
        model = load_model(str(folder), "fp32", "cpu", trust_remote_code=True)
        assert type(model.network).__name__ == "OwnForCausalLM"
        identities.append(model.identity.weights)
    assert identities[0] == identities[1] != identities[2]
