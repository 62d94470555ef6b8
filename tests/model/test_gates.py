"""Gradients by gates against numerical derivatives of eager passes that mix both attentions; gates at their ends."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from attention_influence.model.attention.pass_state import AttentionPass
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.passes.fork import packed_forward
from attention_influence.model.passes.gates import gate_gradients
from model.two_passes import token_losses
from tiny_models import HEADS, random_tokens, tiny

FAMILIES = ["llama", "qwen3", "mistral", "gemma3_text", "gpt2"]
LENGTHS = (24, 40)
STEP = 4e-3


def prediction(windows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    at = torch.cat([torch.arange(LENGTHS[0] - 1), LENGTHS[0] + torch.arange(LENGTHS[1] - 1)])
    target = torch.tensor([token for window in windows for token in window[1:]])
    return at, target, torch.linspace(0.5, 1.5, len(target))


@torch.no_grad()
def loss_at(model: LanguageModel, windows: Sequence[Sequence[int]], gates: dict[int, Tensor]) -> list[float]:
    """The weighted loss of each window with its gates, by a plain pass in float64."""
    state = AttentionPass([len(window) for window in windows], [{}], gates=gates)
    body = packed_forward(model.body, windows, state)
    at, target, weight = prediction(windows)
    losses = cross_entropy(model.network.lm_head(body.last_hidden_state[0, at]), target, reduction="none") * weight
    return [losses[: LENGTHS[0] - 1].sum().item(), losses[LENGTHS[0] - 1 :].sum().item()]


def all_at(model: LanguageModel, value: float) -> dict[int, Tensor]:
    return {layer: torch.full((2, count), value, dtype=torch.float64) for layer, count in model.heads.items()}


@pytest.mark.parametrize("gate", [1.0, 0.4])
@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_the_numerical_derivatives_of_the_loss(family: str, gate: float) -> None:
    model: Any = tiny(family).model
    windows = [random_tokens(length, seed=length) for length in LENGTHS]
    found = gate_gradients(model, windows, *prediction(windows), gate)
    exact = tiny(family, dtype=torch.float64).model
    scale = max(gradient.abs().max().item() for gradient in found.values())
    assert scale > 0.1
    for layer, count in model.heads.items():
        assert found[layer].shape == (2, HEADS)
        for head in range(count):
            for window in range(2):
                at_steps = []
                for step in (STEP, -STEP, 2 * STEP, -2 * STEP):
                    gates = all_at(exact, gate)
                    gates[layer][window, head] += step
                    at_steps.append(loss_at(exact, windows, gates))
                numerical = [(8 * (a - b) - (c - d)) / (12 * STEP) for a, b, c, d in zip(*at_steps, strict=True)]
                assert found[layer][window, head].item() == pytest.approx(numerical[window], abs=2e-3 * scale)
                assert numerical[1 - window] == pytest.approx(0, abs=1e-6), "windows do not see one another's gates"


def test_a_gate_at_0_is_a_masked_head_and_at_1_an_unmasked_one() -> None:
    model, untouched = tiny("mistral")
    windows = [random_tokens(length, seed=length) for length in LENGTHS]
    weight = prediction(windows)[2]
    gates = {layer: torch.ones(2, HEADS) for layer in model.heads}
    for masked in ({}, {2: [1]}):
        for layer, heads in masked.items():
            gates[layer][:, heads] = 0
        expected = torch.cat([token_losses(untouched, window, masked) for window in windows]) * weight
        split = [expected[: LENGTHS[0] - 1].sum().item(), expected[LENGTHS[0] - 1 :].sum().item()]
        assert loss_at(model, windows, gates) == pytest.approx(split, rel=1e-5)


def test_the_model_keeps_no_gradients_and_scores_as_before() -> None:
    model = tiny("llama").model
    windows = [random_tokens(length, seed=length) for length in LENGTHS]
    before = model.forward(windows).last_hidden_state
    gate_gradients(model, windows, *prediction(windows))
    assert all(parameter.grad is None for parameter in model.network.parameters())
    assert torch.equal(model.forward(windows).last_hidden_state, before)
