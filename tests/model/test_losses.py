"""Losses of the base and of the reference model against transformers' own, and against two whole passes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from attention_influence.model import loss
from attention_influence.model.language_model import LanguageModel
from model.two_passes import Masked, token_losses
from tiny_models import HEADS, LAYERS, Tiny, random_tokens, tiny, vocabulary

# Families whose logits are scaled, capped or biased stand beside plain ones.
LOGITS: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama tied": {"tie_word_embeddings": True},
    "cohere": {},
    "cohere2": {},
    "granite": {},
    "gemma3_text": {"final_logit_softcapping": 4.0},
    "gemma2": {"attn_logit_softcapping": None, "final_logit_softcapping": 4.0},
    "phi": {},
    "nanochat": {},
    "opt": {},
    "apertus": {},
    "falcon_h1": {"lm_head_multiplier": 0.5},
    "hyperclovax": {"logits_scaling": 0.5},
    "llama4_text": {},
}
# Grouped queries, biases, norms of queries and keys, sliding windows, experts, learned positions, parallel layers.
REFERENCE = [
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
    "granite",
    "cohere2",
    "opt",
    "qwen2_moe",
    "afmoe",
    "jetmoe",
    "biogpt",
    "phi3",
    "stablelm",
]
MASKED: dict[str, Masked] = {
    "first and later": {0: [1], 2: [3, 0]},
    "middle": {1: [2], 2: [1]},
    "last": {3: [0, 2]},
    "every head of a layer": {2: range(HEADS)},
}


def split(name: str) -> str:
    return name.split()[0]


def losses(model: LanguageModel, windows: Sequence[Sequence[int]], masked: Masked) -> list[Tensor]:
    """[2, scored tokens] of each window, from one forked pass over all of them."""
    body = model.forward(windows, masked, min(masked, default=0))
    bounds = pairwise(torch.tensor([0, *map(len, windows)]).cumsum(0).tolist())
    return [
        model.output.losses(body, torch.arange(low, high - 1), torch.tensor(window[1:], dtype=torch.long))
        for (low, high), window in zip(bounds, windows, strict=True)
    ]


def mean_loss(model: LanguageModel, tokens: Sequence[int]) -> float:
    body = model.forward([tokens])
    return model.output.losses(body, torch.arange(len(tokens) - 1), torch.tensor(tokens[1:])).double().mean().item()


def assert_same(ours: Tensor, theirs: Tensor) -> None:
    assert len(ours) == len(theirs)
    if len(theirs) == 0:
        return
    assert ours.double().mean().item() == pytest.approx(theirs.mean().item(), rel=1e-6, abs=1e-5)
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=3e-5)


@pytest.fixture(scope="module", params=REFERENCE)
def made(request: pytest.FixtureRequest) -> Tiny:
    return tiny(request.param)


@pytest.mark.parametrize("name", LOGITS)
def test_the_loss_of_a_document_is_transformers_own(name: str) -> None:
    made = tiny(split(name), **LOGITS[name])
    tokens = random_tokens(150)
    with torch.no_grad():
        theirs = made.untouched(input_ids=torch.tensor([tokens]), labels=torch.tensor([tokens])).loss.item()
    assert mean_loss(made.model, tokens) == pytest.approx(theirs, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize(
    ("family", "neutral"),
    [
        ("cohere", {"logit_scale": 1.0}),
        ("granite", {"logits_scaling": 1.0}),
        ("gemma3_text", {"final_logit_softcapping": None}),
        ("nanochat", {"final_logit_softcapping": 1e4}),
    ],
)
def test_scaling_and_capping_of_logits_matter_in_these_models(family: str, neutral: dict[str, Any]) -> None:
    tokens = random_tokens(60)
    with_it = tiny(family, **LOGITS[family]).model
    assert abs(mean_loss(with_it, tokens) - mean_loss(tiny(family, **neutral).model, tokens)) > 0.01


@pytest.mark.parametrize("name", LOGITS)
def test_the_vocabulary_in_blocks_gives_the_same_losses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = tiny(split(name), **LOGITS[name]).model, random_tokens(100)
    whole = losses(model, [tokens], {1: [0]})[0]
    monkeypatch.setattr(loss, "_BLOCK_ROWS", 7)
    monkeypatch.setattr(loss, "_BLOCK_ENTRIES", 77)
    with patch.object(model.output, "logits", wraps=model.output.logits) as logits:
        torch.testing.assert_close(losses(model, [tokens], {1: [0]})[0], whole, rtol=1e-6, atol=1e-6)
    assert {call.args[2].stop - call.args[2].start for call in logits.call_args_list[-2:]} == {77, vocabulary() % 77}


def test_a_vocabulary_whose_words_are_not_independent_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokens = tiny("llama").model, random_tokens(100)
    plain = type(model.network).forward

    def centred(self: Any, **kwargs: Any) -> Any:
        out = plain(self, **kwargs)
        out.logits = out.logits * out.logits.std(-1, keepdim=True)
        return out

    monkeypatch.setattr(type(model.network), "forward", centred)
    whole = losses(model, [tokens], {1: [0]})[0]
    monkeypatch.setattr(loss, "_BLOCK_ENTRIES", 77)
    monkeypatch.setattr(loss, "_CHUNK_LOGITS", {"cpu": 7 * vocabulary()})
    torch.testing.assert_close(losses(model, [tokens], {1: [0]})[0], whole, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("masked", MASKED.values(), ids=MASKED)
def test_base_and_reference_losses_are_those_of_two_whole_passes(made: Tiny, masked: Masked) -> None:
    tokens = random_tokens(100)
    ours = losses(made.model, [tokens], masked)[0]
    assert_same(ours[0], token_losses(made.untouched, tokens, {}))
    assert_same(ours[1], token_losses(made.untouched, tokens, masked))
    assert (ours[0] - ours[1]).abs().max() > 1e-2, "masking these heads changes nothing: the test shows nothing"


def test_packed_windows_have_the_losses_of_two_whole_passes_each(made: Tiny) -> None:
    windows = [random_tokens(length, seed=length) for length in (40, 1, 100, 2, 17)]
    masked = {1: [3], 3: [0, 1]}
    for window, ours in zip(windows, losses(made.model, windows, masked), strict=True):
        assert_same(ours[0], token_losses(made.untouched, window, {}))
        assert_same(ours[1], token_losses(made.untouched, window, masked))


def test_a_layer_whose_heads_are_not_masked_may_be_the_fork(made: Tiny) -> None:
    tokens, masked = random_tokens(60), {3: [1]}
    body = made.model.forward([tokens], masked, fork_layer=1)
    ours = made.model.output.losses(body, torch.arange(59), torch.tensor(tokens[1:]))
    assert_same(ours[1], token_losses(made.untouched, tokens, masked))


@pytest.mark.parametrize("fork", range(LAYERS))
def test_with_no_head_masked_the_influence_is_zero_at_every_fork(made: Tiny, fork: int) -> None:
    tokens = random_tokens(100)
    body = made.model.forward([tokens], {}, fork)
    assert body.last_hidden_state.shape[0] == 2
    base, reference = made.model.output.losses(body, torch.arange(99), torch.tensor(tokens[1:])).double().mean(1)
    assert abs((reference - base) / base) <= 1e-6


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3_text", "gpt2", "mixtral"])
def test_a_pass_leaves_nothing_behind(family: str) -> None:
    model, tokens = tiny(family).model, random_tokens(50)
    before = losses(model, [tokens], {1: [2]})[0]
    losses(model, [random_tokens(200, seed=1), tokens], {0: [0], 3: [1]})
    model.forward([tokens])
    assert torch.equal(losses(model, [tokens], {1: [2]})[0], before)


@given(st.integers(1, 9), st.integers(2, 40), st.sampled_from([torch.float32, torch.bfloat16]), st.integers(0, 99))
def test_cross_entropy_is_torchs_however_the_logits_are_taken(
    rows: int, vocabulary: int, dtype: torch.dtype, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = (30 * torch.randn(rows, vocabulary, generator=generator)).to(dtype)
    logits[:, :1] = -torch.inf
    targets = torch.randint(1, vocabulary, (rows,), generator=generator)
    expected = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    for at_once in (1, 2 * vocabulary, 2**19):
        for width in (1, 3, vocabulary):
            with patch.object(loss, "_CACHED_LOGITS", at_once):
                sums = loss.LogSumExp(targets)
                for low in range(0, vocabulary, width):
                    sums.add(logits[:, low : low + width], low)
            torch.testing.assert_close(sums.losses(), expected, rtol=1e-6, atol=1e-5)
            assert torch.equal(sums.firsts(), logits.gather(1, targets[:, None])[:, 0] == logits.amax(1))


@given(st.integers(1, 9), st.integers(2, 400), st.integers(1, 400), st.integers(0, 99))
def test_sharpened_log_sum_exp_has_the_exact_target_and_the_exact_largest_logit(
    rows: int, vocabulary: int, width: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    exact = 30 * torch.randn(rows, vocabulary, generator=generator)
    rounded, targets = exact.bfloat16(), torch.randint(vocabulary, (rows,), generator=generator)
    sums = loss.LogSumExp(targets, sharpened=True)
    for low in range(0, vocabulary, width):
        sums.add(rounded[:, low : low + width], low)
    sums.sharpen(lambda words: exact.gather(1, words))
    # What is left is the rounding of all logits but the largest: about 2^-8 of each at most, by its probability.
    expected = torch.nn.functional.cross_entropy(exact, targets, reduction="none")
    largest = torch.zeros_like(exact).scatter(1, rounded.argmax(1, keepdim=True), 1) > 0
    left = (exact.softmax(1) * exact.abs() * 2**-8).masked_fill(largest, 0).sum(1)
    assert bool(((sums.losses() - expected).abs() <= 1.5 * left + 1e-4).all())


@pytest.mark.parametrize("name", LOGITS)
def test_losses_in_bfloat16_are_not_those_of_rounded_logits(name: str) -> None:
    made = tiny(split(name), **LOGITS[name], dtype=torch.bfloat16)
    model, tokens = made.model, random_tokens(150)
    targets = torch.tensor(tokens[1:])
    body = model.forward([tokens])
    hidden = body.last_hidden_state[0, :-1]
    rounded = model.output.logits(body, hidden)
    every_word = torch.arange(rounded.shape[1]).expand(len(hidden), -1)
    exact = torch.nn.functional.cross_entropy(model.output.logits(body, hidden, every_word), targets, reduction="none")
    naive = torch.nn.functional.cross_entropy(rounded.float(), targets, reduction="none")
    ours = model.output.losses(body, torch.arange(len(targets)), targets)[0]
    assert (ours - exact).abs().mean() < 0.5 * (naive - exact).abs().mean()


@pytest.mark.parametrize("width", [3, 10])
def test_logits_that_are_not_finite_give_no_finite_loss(width: int) -> None:
    for wrong in (torch.nan, torch.inf):
        logits = torch.zeros(2, 10)
        logits[1, 7] = wrong
        sums = loss.LogSumExp(torch.tensor([2, 2]))
        for low in range(0, 10, width):
            sums.add(logits[:, low : low + width], low)
        assert sums.losses().isfinite().tolist() == [True, False]
