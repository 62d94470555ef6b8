"""Packs on a GPU are as large as its free memory allows."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from attention_influence.scoring.pack_size import bytes_of_token, default_pack_tokens
from tiny_models import tiny

GIB = 2**30


def model_of(hidden: int, inner: int, dtype: torch.dtype = torch.bfloat16, device: str = "cuda:1") -> Any:
    """As far as memory is asked: matrices without numbers."""
    embeddings = torch.nn.Embedding(10, hidden, device="meta")
    layers = torch.nn.ModuleList([torch.nn.Linear(hidden, inner, device="meta")])
    network = SimpleNamespace(get_input_embeddings=lambda: embeddings)
    return SimpleNamespace(network=network, layers=layers, dtype=dtype, device=torch.device(device))


@pytest.mark.parametrize(("hidden", "inner", "kilobytes"), [(576, 1536, 36), (2048, 8192, 172), (4096, 14336, 311)])
def test_a_token_takes_20_e_and_16_i_bytes_with_16_bit_weights(hidden: int, inner: int, kilobytes: int) -> None:
    assert bytes_of_token(model_of(hidden, inner)) == 20 * hidden + 16 * inner
    assert bytes_of_token(model_of(hidden, inner)) / 1000 == pytest.approx(kilobytes, abs=0.5)
    assert bytes_of_token(model_of(hidden, inner, torch.float32)) == 24 * hidden + 32 * inner


@pytest.mark.parametrize("family", ["llama", "gpt2", "mixtral"])
def test_the_widths_are_found_in_any_family(family: str) -> None:
    model = tiny(family).model
    size = bytes_of_token(model)
    assert 24 * 32 + 32 * 32 <= size <= 24 * 32 + 32 * 4 * 32


@pytest.mark.parametrize(
    ("free", "hidden", "inner", "tokens"),
    [
        (78 * GIB, 576, 1536, 32768),
        (78 * GIB, 4096, 14336, 32768),
        (14 * GIB, 2048, 8192, 32768),
        (8 * GIB, 4096, 14336, 8192),
        (3 * GIB, 4096, 14336, 4096),
        (GIB // 8, 4096, 14336, 1024),
    ],
)
def test_packs_follow_the_free_memory_of_the_models_own_gpu(
    monkeypatch: pytest.MonkeyPatch, free: int, hidden: int, inner: int, tokens: int
) -> None:
    asked: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (asked.append(device), (free, 80 * GIB))[1])
    assert default_pack_tokens(model_of(hidden, inner)) == tokens
    assert asked == [torch.device("cuda", 1)]


def test_a_cpu_is_not_asked() -> None:
    assert default_pack_tokens(model_of(576, 1536, device="cpu")) == 2048
