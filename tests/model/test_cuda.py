"""The same on a card: the variable-length kernel, 16-bit products delivered in float32, models moved to the device."""

import pytest
import torch

from attention_influence.heads.head_set import HeadSet
from attention_influence.model.attention import varlen, windowed
from attention_influence.scoring.scorer import Scorer
from model.test_losses import assert_same
from model.two_passes import token_losses
from tiny_models import random_tokens, tiny

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

LENGTHS = [1, 7, 300, 64, 129]
HEADS = ((1, 3), (2, 0), (2, 1))
FAMILIES = ["llama", "qwen3", "gemma3_text", "mistral", "gpt2", "phi", "cohere"]


@pytest.mark.parametrize("sliding_window", [None, 1, 16, 129])
@pytest.mark.parametrize("kv_heads", [6, 2])
def test_the_variable_length_kernel_attends_as_its_twin_does(kv_heads: int, sliding_window: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, heads, sum(LENGTHS), 64) for heads in (6, kv_heads, kv_heads)]
    packed = [torch.randn(shape, generator=generator).to("cuda", torch.bfloat16) for shape in shapes]
    packed[0][1, -1] = 0  # as in a masked head
    kernel = varlen.varlen_attention(*packed, LENGTHS, None, sliding_window)
    twin = windowed._sdpa_per_window(*(x.float().cpu() for x in packed), LENGTHS, None, sliding_window)
    torch.testing.assert_close(kernel.float().cpu(), twin, rtol=2e-2, atol=2e-2)


def test_a_window_has_equal_bits_alone_and_beside_others() -> None:
    generator = torch.Generator().manual_seed(1)
    packed = [torch.randn(1, 4, 400, 64, generator=generator).to("cuda", torch.bfloat16) for _ in range(3)]
    together = windowed.windowed_attention(*packed, [100, 300], None, None)[:, :100]
    alone = windowed.windowed_attention(*(x[:, :, :100] for x in packed), [100], None, None)
    assert torch.equal(together, alone)


@pytest.mark.parametrize("family", FAMILIES)
def test_fp32_losses_on_a_card_are_those_of_two_whole_passes(family: str) -> None:
    torch.set_float32_matmul_precision("highest")
    made = tiny(family)
    windows = [random_tokens(length, seed=length) for length in (40, 100, 17)]
    for window, ours in zip(windows, Scorer(made.model.on("cuda"), HEADS).window_losses(windows), strict=True):
        base, ref = torch.from_numpy(ours)
        assert_same(base, token_losses(made.untouched, window, {}))
        assert_same(ref, token_losses(made.untouched, window, HeadSet(HEADS).by_layer()))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_nothing_inside_a_pass_waits_for_the_card(family: str, dtype: torch.dtype) -> None:
    scorer = Scorer(tiny(family, dtype=dtype).model.on("cuda"), HEADS)
    windows = [random_tokens(length, seed=length) for length in (40, 100, 17)]
    expected = scorer.window_losses(windows)
    torch.cuda.set_sync_debug_mode("error")
    try:
        launched = scorer.launch(windows)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for ours, theirs in zip(launched(), expected, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_self_test_accepts_bf16_on_a_card_and_packs_do_not_matter(family: str) -> None:
    scorer = Scorer(tiny(family, dtype=torch.bfloat16).model.on("cuda"), HEADS)
    assert scorer.tested.packing
    texts = ["the keeper wrote the height of the tide " * n for n in (2, 5, 9)]
    together = [score.influence for score in scorer.score(texts)]
    alone = [scorer.score([text])[0].influence for text in texts]
    assert together == pytest.approx(alone, abs=max(2 * scorer.tested.noise, 1e-4))
