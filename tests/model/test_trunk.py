"""Branches off one unmasked pass, against whole passes of transformers' own code with the same head masked."""

from typing import Any

import pytest
import torch

from attention_influence.errors import ModelError
from attention_influence.model.passes.trunk import Trunk, check_trunk
from model.two_passes import token_losses
from tiny_models import HEADS, random_tokens, tiny

# Full attention; shared key/value heads; sliding windows, alone and mixed; learned positions; layers without attention.
FAMILIES = ["llama", "qwen3", "mistral", "gemma3_text", "gpt2", "lfm2"]
LENGTHS = (30, 50)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_masked_alone_gives_the_losses_of_a_whole_pass(family: str) -> None:
    model, untouched = tiny(family)
    # Convolutions mix positions of windows that share a row, so there is one.
    lengths = LENGTHS[: 1 if family == "lfm2" else 2]
    windows = [random_tokens(length, seed=length) for length in lengths]
    trunk = Trunk(model, windows)
    at = torch.cat([start + torch.arange(n - 1) for start, n in zip((0, LENGTHS[0]), lengths, strict=False)])
    target = torch.tensor([token for window in windows for token in window[1:]])
    for layer, count in model.heads.items():
        assert count == HEADS
        losses = model.output.losses(trunk.branch(layer, [[head] for head in range(count)]), at, target)
        for head in range(count):
            expected = torch.cat([token_losses(untouched, window, {layer: [head]}) for window in windows])
            torch.testing.assert_close(losses[head].double(), expected, rtol=1e-6, atol=1e-5)
    unmasked = torch.cat([token_losses(untouched, window, {}) for window in windows])
    torch.testing.assert_close(
        model.output.losses(trunk.output, at, target)[0].double(), unmasked, rtol=1e-6, atol=1e-5
    )


def test_rows_of_a_branch_may_mask_several_heads_or_none() -> None:
    model, untouched = tiny("llama")
    tokens = random_tokens(40)
    body = Trunk(model, [tokens]).branch(2, [[0, 3], [], [1]])
    losses = model.output.losses(body, torch.arange(39), torch.tensor(tokens[1:]))
    for row, masked in enumerate([{2: [0, 3]}, {}, {2: [1]}]):
        torch.testing.assert_close(losses[row].double(), token_losses(untouched, tokens, masked), rtol=1e-6, atol=1e-5)


def test_layers_below_a_branch_do_not_run_and_run_again_afterwards() -> None:
    model = tiny("llama").model
    ran: list[int] = []
    for number, layer in enumerate(model.layers):
        layer.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
    tokens = random_tokens(20)
    trunk = Trunk(model, [tokens])
    ran.clear()
    trunk.branch(2, [[0], [1]])
    assert ran == [2, 3]
    again = model.forward([tokens])
    assert ran == [2, 3, 0, 1, 2, 3]
    assert torch.equal(again.last_hidden_state, trunk.output.last_hidden_state)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_check_passes_on_families_whose_layers_share_hidden_states_only(family: str) -> None:
    check_trunk(tiny(family).model, random_tokens(16))


def test_layers_that_share_more_than_hidden_states_are_refused() -> None:
    model = tiny("llama").model
    calls: list[Any] = []
    model.layers[0].mlp.register_forward_hook(lambda *_: calls.append(1))
    # A later layer that depends on whether an earlier one has run in this pass.
    model.layers[3].mlp.register_forward_hook(lambda module, args, out: out + calls.pop() if calls else out)
    with pytest.raises(ModelError, match=r"begins at layer 1 differs .* share more than hidden states"):
        check_trunk(model, random_tokens(16))
