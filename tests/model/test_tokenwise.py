"""Feed-forward networks that run some tokens at a time give what they give at once."""

import pickle

import pytest
import torch
from torch import nn

from attention_influence.model import tokenwise
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.tokenwise import run_in_blocks
from tiny_models import random_tokens, tiny

FAMILIES = ["llama", "gemma3_text", "gpt2", "gpt_neox", "mixtral", "lfm2", "opt"]


def in_blocks(model: LanguageModel) -> set[str]:
    return {type(part).__name__ for layer in model.layers for part in layer.modules() if "forward" in vars(part)}


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_change_nothing_beyond_rounding(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny(family).model
    windows = [random_tokens(50), random_tokens(31, seed=1)]
    whole = model.forward(windows, {1: [2]}, 1).last_hidden_state
    monkeypatch.setattr(tokenwise, "_BLOCK_TOKENS", 16)
    torch.testing.assert_close(model.forward(windows, {1: [2]}, 1).last_hidden_state, whole, rtol=1e-5, atol=1e-5)


def test_what_mixes_tokens_is_left_whole() -> None:
    assert in_blocks(tiny("llama").model) == {"LlamaMLP"}
    assert in_blocks(tiny("gpt_neox").model) == {"GPTNeoXMLP"}
    assert in_blocks(tiny("lfm2").model) == {"Lfm2MLP"}, "its convolutions mix tokens"
    assert in_blocks(tiny("mixtral").model) == set(), "its experts have few tokens as it is"


class Shifted(nn.Module):
    """Gives each token something of the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, hidden_BTE: torch.Tensor) -> torch.Tensor:
        return self.out(self.into(hidden_BTE) + 0.5 * self.into(hidden_BTE).roll(1, dims=1))


def test_a_layer_is_tried_and_not_known_by_its_name() -> None:
    layer = nn.Module()
    layer.mixing, layer.plain = Shifted(), nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
    run_in_blocks(nn.ModuleList([layer]))
    assert "forward" not in vars(layer.mixing)
    assert "forward" in vars(layer.plain)


def test_blocks_travel_to_another_process_with_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenwise, "_BLOCK_TOKENS", 16)
    model, tokens = tiny("llama").model, random_tokens(50)
    again: LanguageModel = pickle.loads(pickle.dumps(model))
    assert in_blocks(again) == in_blocks(model)
    there = again.forward([tokens]).last_hidden_state
    assert torch.equal(there, model.forward([tokens]).last_hidden_state)
