"""What benchmarks measure with: the device's limit, peak memory, and peers on the device that they are put on."""

import time

import pytest
import torch

from limit import operations_a_second
from memory import peak_bytes
from model.two_passes import token_losses
from peers import Peer
from tiny_models import tiny, tokenizer


def test_the_limit_of_a_gpu_is_taken_from_products_launched_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gpu:
        """A product is launched at once, and takes a millisecond; waiting for it takes another."""

        def __init__(self) -> None:
            self.now, self.busy_until, self.waits = 0.0, 0.0, 0

        def launch(self, x: torch.Tensor, weight: torch.Tensor) -> None:
            self.now += 1e-5
            self.busy_until = max(self.now, self.busy_until) + 1e-3

        def synchronize(self, device: torch.device) -> None:
            self.waits += 1
            self.now = max(self.now, self.busy_until) + 1e-3

    gpu, model = Gpu(), tiny("llama").model
    monkeypatch.setattr(time, "monotonic", lambda: gpu.now)
    monkeypatch.setattr(torch.nn.functional, "linear", gpu.launch)
    monkeypatch.setattr(torch.cuda, "synchronize", gpu.synchronize)
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device, dtype: x)
    monkeypatch.setattr(model, "device", torch.device("cuda", 0))
    shapes = [part.weight.shape for part in model.layers[0].modules() if isinstance(part, torch.nn.Linear)]
    head = model.network.get_output_embeddings().weight
    products = len(shapes) * len(model.layers)
    operations = 2.0 * 512 * (len(model.layers) * sum(a * b for a, b in shapes) + head.numel())
    limit = operations_a_second(model, 512, seconds=1.0)
    assert limit == pytest.approx(operations / (1e-3 * (products + 1)), rel=0.05)
    assert gpu.waits < 20 * len(shapes)


def test_peak_memory_of_a_gpu_is_that_of_its_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 1234 + device.index)
    assert peak_bytes(torch.device("cuda", 1)) == 1235
    assert peak_bytes(torch.device("cpu")) > 50 * 2**20


def test_a_peer_computes_the_influence_of_two_whole_passes() -> None:
    made, words = tiny("llama"), tokenizer()
    peer = Peer(made.untouched, words, {1: [2], 2: [0]})
    texts = ["the keeper wrote the height of the tide", "it was the ninth of October"]
    influence = peer.one_by_one(texts)
    base, ref = peer.padded(texts, batch_tokens=64)
    for number, text in enumerate(texts):
        ids = words(text).input_ids
        expected = [token_losses(made.untouched, ids, masked).mean().item() for masked in ({}, {1: [2], 2: [0]})]
        assert [base[number], ref[number]] == pytest.approx(expected, abs=1e-5)
        assert influence[number] == pytest.approx((expected[1] - expected[0]) / expected[0], abs=1e-5)
