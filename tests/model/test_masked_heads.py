"""What masking a head does at the layer's own attention output."""

import pytest
import torch
from torch import Tensor

from attention_influence.model.attention.pass_state import Observed
from attention_influence.model.language_model import LanguageModel
from tiny_models import HEADS, random_tokens, tiny

LENGTHS = (30, 50)


def attention_of(model: LanguageModel, masked: dict[int, list[int]], fork: int) -> dict[int, Observed]:
    seen: dict[int, Observed] = {}
    windows = [random_tokens(length, seed=length) for length in LENGTHS]
    model.forward(windows, masked, fork, observe=lambda o: seen.update({o.layer: o}))
    return seen


def mean_of_visible(value_TD: Tensor, sliding_window: int | None) -> Tensor:
    means, start = [], 0
    for length in LENGTHS:
        for t in range(start, start + length):
            first = start if sliding_window is None else max(start, t + 1 - sliding_window)
            means.append(value_TD[first : t + 1].double().mean(0))
        start += length
    return torch.stack(means).float()


@pytest.mark.parametrize("head", range(HEADS))
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3_text", "gpt2"])
def test_a_masked_head_changes_itself_alone_and_gives_the_mean_of_the_visible_values(family: str, head: int) -> None:
    model = tiny(family).model
    layer = attention_of(model, {2: [head]}, fork=2)[2]
    base, reference = layer.out_BTHD
    others = [h for h in range(HEADS) if h != head]
    assert torch.equal(base[:, others], reference[:, others])
    value = layer.value_BKTD[1, head * layer.value_BKTD.shape[1] // HEADS]
    torch.testing.assert_close(reference[:, head], mean_of_visible(value, layer.sliding_window), rtol=1e-5, atol=1e-6)
    assert (base[:, head] - reference[:, head]).abs().max() > 1e-2


def test_heads_above_the_fork_are_averaged_over_the_references_own_values() -> None:
    layer = attention_of(tiny("llama").model, {1: [0], 3: [2]}, fork=1)[3]
    assert not torch.equal(layer.value_BKTD[0], layer.value_BKTD[1])
    expected = mean_of_visible(layer.value_BKTD[1, 1], None)
    torch.testing.assert_close(layer.out_BTHD[1, :, 2], expected, rtol=1e-5, atol=1e-6)


def test_there_is_one_row_below_the_fork_and_two_from_it_on() -> None:
    seen = attention_of(tiny("llama").model, {2: [1]}, fork=2)
    assert [len(seen[layer].query_BHTD) for layer in range(4)] == [1, 1, 2, 2]
    assert [len(seen[layer].out_BTHD) for layer in range(4)] == [1, 1, 2, 2]


def test_without_a_fork_masked_heads_apply_to_the_only_row() -> None:
    model = tiny("llama").model
    tokens = random_tokens(40)
    forked = model.forward([tokens], {1: [3], 2: [0]}, fork_layer=1).last_hidden_state[1]
    single = model.forward([tokens], {1: [3], 2: [0]}).last_hidden_state
    assert len(single) == 1
    torch.testing.assert_close(single[0], forked, rtol=1e-5, atol=1e-5)


def test_only_layers_that_have_attention_count_heads() -> None:
    assert tiny("lfm2").model.heads == {1: HEADS, 3: HEADS}
    assert tiny("llama").model.heads == dict.fromkeys(range(4), HEADS)
