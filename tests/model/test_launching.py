"""Nothing inside a pass waits for the device: tried on torch's device without numbers, where reading is an error."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention import varlen
from torch.utils._python_dispatch import TorchDispatchMode

from attention_influence import Scorer
from attention_influence.heads.head_set import HeadSet
from attention_influence.model.attention import varlen as varlen_calls
from attention_influence.model.attention import windowed
from attention_influence.model.self_test import SelfTest
from attention_influence.model.transfer import OnTheWay, to_device
from scoring.tiny import HEADS
from tiny_models import random_tokens, tiny

WINDOWS = [random_tokens(length, seed=length) for length in (40, 25, 25, 3)]
FAMILIES = ["llama", "qwen3", "gemma3_text", "mistral", "gpt2"]
META = torch.device("meta")


class Copies(TorchDispatchMode):
    """Counts numbers that go to the device, tensor by tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[torch.Size] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = function(*args, **(kwargs or {}))
        source = args[0] if args else None
        if isinstance(given, torch.Tensor) and isinstance(source, torch.Tensor) and source.device != given.device:
            self.sent.append(source.shape)
        return given


def launched(family: str, monkeypatch: pytest.MonkeyPatch, kernel: bool) -> list[torch.Size]:
    """What one pass sends to the device, with the two losses of all windows."""
    model = tiny(family).model.on("meta")
    scorer = Scorer(model, HEADS, tested=SelfTest(True, 1.0, 1.0, 0.0, 0.0))
    if kernel:
        monkeypatch.setattr(windowed, "why_not", lambda *asked: None)
        monkeypatch.setattr(varlen, "varlen_attn", lambda query, *others, scale, window_size: query)
    varlen_calls._bounds.cache_clear()
    with torch.inference_mode(), Copies() as copies:
        body = model.forward(WINDOWS, scorer.masked, scorer.fork_layer)
        count = sum(len(window) - 1 for window in WINDOWS)
        places = torch.zeros(count, dtype=torch.long, device="meta")
        assert model.output.losses(body, places, places).shape == (2, count)
    return copies.sent


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kernel", [True, False])
def test_a_pass_reads_no_number_from_the_device(family: str, kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    launched(family, monkeypatch, kernel)


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_positions_and_bounds_are_sent_once_a_pass_not_once_a_layer(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = launched(family, monkeypatch, kernel=True)
    total, one_row, two_rows = sum(map(len, WINDOWS)), 1 + len(WINDOWS), 1 + 2 * len(WINDOWS)
    assert sorted(map(tuple, sent)) == sorted([(2, total), (one_row,), (two_rows,)])


def test_numbers_arrive_as_they_were_sent() -> None:
    values = np.arange(12).reshape(3, 4)
    assert np.array_equal(OnTheWay(to_device(values, torch.device("cpu")) * 2).wait(), 2 * values)


def test_masked_heads_cost_no_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama").model.on("meta")
    layers = HeadSet(((1, 0), (1, 3), (2, 1), (3, 2))).by_layer()
    with torch.inference_mode(), Copies() as copies:
        model.forward(WINDOWS, layers, 1)
    assert copies.sent == [torch.Size([2, sum(map(len, WINDOWS))])]
