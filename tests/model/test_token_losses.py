"""Losses out of whole rows of logits, by plain torch and by the Triton kernel, against float64.

Without a GPU the kernel runs in Triton's interpreter: `make test-kernel` installs Triton, 1 GB, and runs this.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from attention_influence.model import loss
from attention_influence.model.token_losses import plain_token_losses
from model.test_losses import losses
from tiny_models import random_tokens, tiny

SHAPES = [(1, 1), (5, 4095), (3, 4096), (2, 4097), (4, 9999)]


@pytest.fixture(params=["plain", "kernel"])
def way(request: pytest.FixtureRequest) -> Callable[[Tensor, Tensor], Any]:
    if request.param == "plain":
        return plain_token_losses
    pytest.importorskip("triton", reason="Triton is not installed; pip install triton (Linux)")
    from attention_influence.model.token_losses_kernel import kernel_token_losses

    device = "cuda" if torch.cuda.is_available() else "cpu"
    return lambda logits, target: [x.cpu() for x in kernel_token_losses(logits.to(device), target.to(device))]


def rows(tokens: int, width: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(width)
    logits = (torch.randn(tokens, width, generator=generator) * 6).to(dtype)
    return logits, torch.randint(width, (tokens,), generator=generator)


def check(way: Callable[[Tensor, Tensor], Any], logits: Tensor, target: Tensor) -> None:
    ours, largest, at_target = way(logits, target)
    exact = torch.nn.functional.cross_entropy(logits.double(), target, reduction="none")
    torch.testing.assert_close(ours.double(), exact, rtol=1e-6, atol=5e-6)
    assert ours.dtype == largest.dtype == at_target.dtype == torch.float32
    assert torch.equal(largest, logits.amax(1).float())
    assert torch.equal(at_target, logits.gather(1, target[:, None])[:, 0].float())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("tokens", "width"), SHAPES)
def test_losses_are_those_of_float64(way: Any, tokens: int, width: int, dtype: torch.dtype) -> None:
    check(way, *rows(tokens, width, dtype))


def test_entries_that_are_ruled_out_and_rows_that_lie_apart_change_nothing(way: Any) -> None:
    wide, target = rows(4, 9000)
    wide[0, :8000] = -torch.inf
    target[0] = 8500
    wide[1, 4096:8192] = -torch.inf
    target[1] = 3
    wide[2] *= 30  # sums of exponentials that would overflow
    check(way, wide, target)
    check(way, wide[:, :8600], target.clamp(max=8599))
    check(way, wide.T.contiguous().T, target)


def test_the_lm_head_of_a_gpu_would_give_the_same_losses(way: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("gemma3_text", final_logit_softcapping=4.0).model
    windows = [random_tokens(length, seed=length) for length in (30, 12)]
    expected = losses(model, windows, {1: [0]})
    calls: list[int] = []

    def whole(self: Any, body: Any, hidden: Tensor, target: Tensor, width: int, sharpened: bool) -> Any:
        calls.append(len(hidden))
        given, largest, at_target = way(self.logits(body, hidden), target)
        return given, at_target >= largest

    monkeypatch.setattr(loss.LMHead, "_losses_of_chunk", whole)
    for ours, theirs in zip(losses(model, windows, {1: [0]}), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert calls
