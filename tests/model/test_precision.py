"""What matmuls are computed in, by device."""

from typing import Any

import pytest
import torch

from attention_influence.model.precision import matmul_dtype

HALF, BRAIN, SINGLE = torch.float16, torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("capability", "hip", "weights", "computed"),
    [
        ((7, 0), None, BRAIN, SINGLE),
        ((7, 5), None, BRAIN, SINGLE),
        ((7, 5), None, HALF, HALF),
        ((7, 5), None, SINGLE, SINGLE),
        ((8, 0), None, BRAIN, BRAIN),
        ((9, 0), None, BRAIN, BRAIN),
        ((7, 5), "7.0", BRAIN, BRAIN),
    ],
)
def test_a_gpu_older_than_ampere_computes_bf16_weights_in_float32(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    hip: str | None,
    weights: torch.dtype,
    computed: torch.dtype,
) -> None:
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert matmul_dtype(weights, torch.device("cuda", 0)) == computed


@pytest.mark.parametrize(
    ("has", "weights", "computed"),
    [
        ({"amx_bf16": True}, BRAIN, BRAIN),
        ({"avx512_bf16": True, "cpu_name": "AMD Zen 4"}, BRAIN, BRAIN),
        ({"avx512_bf16": True, "cpu_name": "Intel Xeon"}, BRAIN, SINGLE),
        ({"avx512_bf16": True, "amx_bf16": True, "cpu_name": "Intel Xeon"}, BRAIN, BRAIN),
        ({"avx2": True, "amx_bf16": False}, BRAIN, SINGLE),
        ({"amx_bf16": True}, HALF, SINGLE),
        ({}, SINGLE, SINGLE),
    ],
)
def test_a_cpu_without_fast_16_bit_matmuls_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch, has: dict[str, Any], weights: torch.dtype, computed: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    assert matmul_dtype(weights, torch.device("cpu")) == computed
