"""Windows that share a row do not see one another; where they would, the self-test says so."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from attention_influence.model.language_model import LanguageModel
from attention_influence.model.self_test import self_test
from model.test_losses import REFERENCE, assert_same, losses
from model.two_passes import Masked, token_losses
from tiny_models import CONTEXT, Tiny, random_tokens, tiny

MASKED: Masked = {1: [3], 3: [0]}
LENGTHS = (50, 7, 90)  # 50 and 90 are longer than the sliding windows of 16

# Each mixes positions by more than attention, or turns by what the call's longest position is.
UNPACKABLE: dict[str, dict[str, Any]] = {
    "phi3": {
        "sliding_window": None,
        "original_max_position_embeddings": 64,
        "rope_parameters": {
            "rope_type": "longrope",
            "short_factor": [1.0] * 4,
            "long_factor": [4.0] * 4,
            "rope_theta": 1e4,
            "original_max_position_embeddings": 64,
        },
    },
    "llama": {
        "max_position_embeddings": 64,
        "rope_parameters": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4},
    },
    "lfm2": {},
    "minimax": {"layer_types": ["full_attention", "full_attention", "linear_attention", "full_attention"]},
}

# Scored as exactly as REFERENCE, by the self-test's own word.
MORE = [
    "apertus",
    "arcee",
    "bitnet",
    "ernie4_5",
    "exaone4",
    "flex_olmo",
    "gemma",
    "glm",
    "glm4",
    "granitemoe",
    "helium",
    "hunyuan_v1_dense",
    "internlm3",
    "nanochat",
    "nemotron",
    "olmo",
    "olmo3",
    "olmoe",
    "persimmon",
    "phimoe",
    "qwen3_moe",
    "seed_oss",
    "smollm3",
    "starcoder2",
]


def hidden_of(model: LanguageModel, windows: list[list[int]]) -> list[Tensor]:
    """[2, tokens, hidden] of each window."""
    return list(model.forward(windows, MASKED, 1).last_hidden_state.split([len(w) for w in windows], dim=1))


@pytest.fixture(scope="module", params=UNPACKABLE)
def unpackable(request: pytest.FixtureRequest) -> Tiny:
    return tiny(request.param, **UNPACKABLE[request.param])


@pytest.mark.parametrize("family", REFERENCE)
def test_hidden_states_of_a_window_are_the_same_alone_and_in_any_pack_and_order(family: str) -> None:
    model = tiny(family).model
    windows = {length: random_tokens(length, seed=length) for length in LENGTHS}
    alone = {length: hidden_of(model, [window])[0] for length, window in windows.items()}
    scale = max(hidden.abs().max().item() for hidden in alone.values())
    for order in [(50, 7, 90), (90, 50, 7), (7, 90, 50, 7), (90, 7)]:
        for length, packed in zip(order, hidden_of(model, [windows[n] for n in order]), strict=True):
            torch.testing.assert_close(packed, alone[length], rtol=1e-5, atol=1e-5 * max(1.0, scale))


@pytest.mark.parametrize("family", [*REFERENCE, *MORE])
def test_families_that_mix_positions_by_attention_alone_may_be_packed(family: str) -> None:
    found = self_test(tiny(family).model, MASKED, CONTEXT)
    assert found.packing
    assert found.noise < 1e-6
    # A difference of two losses of up to 17 nats: half a float32 step of each.
    assert found.error < 2**-24 * (found.loss_base + found.loss_ref)


def test_models_that_cannot_be_packed_are_found(unpackable: Tiny) -> None:
    assert not self_test(unpackable.model, MASKED, CONTEXT).packing


def test_a_switch_at_positions_beyond_the_tests_own_text_is_found() -> None:
    rope = UNPACKABLE["phi3"]["rope_parameters"] | {"original_max_position_embeddings": 600}
    changes = UNPACKABLE["phi3"] | {"original_max_position_embeddings": 600, "rope_parameters": rope}
    model = tiny("phi3", **changes, max_position_embeddings=1024).model
    assert self_test(model, MASKED, 600).packing
    assert not self_test(model, MASKED, 1024).packing


def test_packing_would_change_the_losses_of_these_models(unpackable: Tiny) -> None:
    short, longer = random_tokens(40), random_tokens(200, seed=1)
    alone = losses(unpackable.model, [short], MASKED)[0]
    packed = losses(unpackable.model, [longer, short], MASKED)[1]
    assert (alone - packed).abs().max() > 1e-2


def test_longrope_may_be_packed_in_windows_below_its_switch() -> None:
    assert self_test(tiny("phi3", **UNPACKABLE["phi3"]).model, MASKED, 60).packing


def test_models_that_cannot_be_packed_are_right_with_one_window_a_row(unpackable: Tiny) -> None:
    for length in (40, 200):
        tokens = random_tokens(length, seed=length)
        ours = losses(unpackable.model, [tokens], MASKED)[0]
        assert_same(ours[0], token_losses(copy.deepcopy(unpackable.untouched), tokens, {}))
        assert_same(ours[1], token_losses(copy.deepcopy(unpackable.untouched), tokens, MASKED))


def test_a_longer_document_before_it_does_not_change_a_document(unpackable: Tiny) -> None:
    short, middle, longer = (random_tokens(n, seed=n) for n in (40, 100, 230))
    for tokens in (longer, middle, short):  # ever shorter: frequencies kept from a longer call would show
        ours = losses(unpackable.model, [tokens], MASKED)[0]
        assert_same(ours[0], token_losses(copy.deepcopy(unpackable.untouched), tokens, {}))
    assert torch.equal(ours, losses(unpackable.model, [short], MASKED)[0])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("family", ["llama", "gemma3_text", "gpt2", "mixtral"])
def test_what_is_not_finite_in_one_window_stays_there(family: str, bad: float) -> None:
    made = tiny(family, tie_word_embeddings=False)
    clean, other = random_tokens(40), random_tokens(60, seed=1)
    spoilt_token = next(t for t in range(4, 300) if t not in clean and t not in other)
    expected = losses(made.model, [other, clean, other], MASKED)
    made.model.network.get_input_embeddings().weight[spoilt_token] = bad
    spoilt = [*other[:30], spoilt_token, *other[31:]]
    before, between, after = losses(made.model, [spoilt, clean, spoilt], MASKED)
    assert torch.equal(between, expected[1])
    for ours in (before, after):
        assert ours[:, 30].isnan().all()
