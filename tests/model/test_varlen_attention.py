"""When the variable-length kernel is called, and with what; the kernel itself needs a CUDA device (`test_cuda`)."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import varlen

from attention_influence.model.attention import windowed
from attention_influence.model.attention.varlen import varlen_attention, why_not

CUDA = torch.device("cuda", 0)
LENGTHS = [5, 1, 30, 12]


def attend(query: Tensor, key: Tensor, value: Tensor, bounds: Tensor, scale: float | None, window: Any) -> Tensor:
    """What the kernel computes: rows of tokens [T, H, D], keys with as many heads or fewer."""
    assert window[1] == 0
    outs = []
    for low, high in pairwise(bounds.tolist()):
        age = torch.arange(high - low)[:, None] - torch.arange(high - low)
        seen = (age >= 0) & (age <= (window[0] if window[0] >= 0 else high))
        q, k, v = (x[low:high].transpose(0, 1) for x in (query, key, value))
        k, v = (x.repeat_interleave(len(q) // len(x), 0) for x in (k, v))
        scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
        outs.append((scores.masked_fill(~seen, -torch.inf).softmax(-1) @ v).transpose(0, 1))
    return torch.cat(outs)


def of_torch_2_10(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None):
    raise AssertionError("lacks what is needed, so it must not be called")


def of_torch_2_11(
    query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, return_aux=None, scale=None, window_size=(-1, -1)
):
    assert cu_seq_q.dtype == torch.int32
    assert cu_seq_q is cu_seq_k
    assert max_q == max_k == max(LENGTHS)
    return attend(query, key, value, cu_seq_q, scale, window_size)


def of_torch_2_12(
    query,
    key,
    value,
    cu_seq_q,
    cu_seq_k,
    max_q,
    max_k,
    *,
    return_aux=None,
    scale=None,
    window_size=(-1, -1),
    enable_gqa=False,
    seqused_k=None,
    block_table=None,
    num_splits=None,
):
    assert enable_gqa == (query.shape[1] != key.shape[1]), "refused by the kernel"
    assert num_splits == 1, "a window's result would depend on its neighbours"
    return of_torch_2_11(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window_size)


@pytest.fixture
def ampere(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine with a GPU that the kernel runs on, as far as torch is asked."""
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 0))
    return monkeypatch


@pytest.mark.parametrize("kernel", [varlen.varlen_attn, of_torch_2_11, of_torch_2_12])
def test_the_kernel_of_every_torch_is_given_what_it_takes(ampere: pytest.MonkeyPatch, kernel: Any) -> None:
    ampere.setattr(varlen, "varlen_attn", kernel)
    assert why_not(CUDA, torch.bfloat16, 64) is None


@pytest.mark.parametrize("sliding_window", [None, 1, 7])
@pytest.mark.parametrize("scaling", [None, 0.3])
@pytest.mark.parametrize("kv_heads", [4, 2])
@pytest.mark.parametrize("kernel", [of_torch_2_11, of_torch_2_12])
def test_the_kernel_is_asked_for_what_its_twin_computes(
    monkeypatch: pytest.MonkeyPatch, kernel: Any, kv_heads: int, scaling: float | None, sliding_window: int | None
) -> None:
    monkeypatch.setattr(varlen, "varlen_attn", kernel)
    generator = torch.Generator().manual_seed(0)
    packed = [torch.randn(2, heads, sum(LENGTHS), 8, generator=generator) for heads in (4, kv_heads, kv_heads)]
    ours = varlen_attention(*packed, LENGTHS, scaling, sliding_window)
    twin = windowed._sdpa_per_window(*packed, LENGTHS, scaling, sliding_window)
    torch.testing.assert_close(ours, twin, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("device", "dtype", "head_size", "changed", "said"),
    [
        (CUDA, torch.bfloat16, 64, {}, None),
        (CUDA, torch.float16, 256, {}, None),
        (CUDA, torch.bfloat16, 8, {}, None),
        (CUDA, torch.bfloat16, 64, {"get_device_capability": (9, 0)}, None),
        (torch.device("cpu"), torch.bfloat16, 64, {}, "no kernel for cpu"),
        (CUDA, torch.float32, 64, {}, "no kernel for float32"),
        (CUDA, torch.bfloat16, 36, {}, "heads of size 36"),
        (CUDA, torch.bfloat16, 264, {}, "heads of size 264"),
        (CUDA, torch.float16, 64, {"get_device_capability": (7, 5)}, "compute capability 7.5"),
        (CUDA, torch.bfloat16, 64, {"is_flash_attention_available": False}, "without flash attention"),
        (CUDA, torch.bfloat16, 64, {"varlen_attn": of_torch_2_10}, "no variable-length attention"),
        (CUDA, torch.bfloat16, 64, {"hip": "7.0"}, "ROCm"),
    ],
)
def test_what_the_kernel_does_not_take_is_known_before_it_is_called(
    ampere: pytest.MonkeyPatch,
    device: torch.device,
    dtype: torch.dtype,
    head_size: int,
    changed: dict[str, Any],
    said: str | None,
) -> None:
    for name, value in changed.items():
        if name == "hip":
            ampere.setattr(torch.version, "hip", value)
        elif name == "varlen_attn":
            ampere.setattr(varlen, "varlen_attn", value)
        else:
            home = torch.cuda if name == "get_device_capability" else torch.backends.cuda
            ampere.setattr(home, name, lambda *_, value=value: value)
    refused = why_not(device, dtype, head_size)
    assert refused is None if said is None else said in str(refused)


@pytest.mark.parametrize("sliding_window", [None, 7])
def test_beyond_a_cpu_shared_key_heads_are_repeated_before_sdpa(
    monkeypatch: pytest.MonkeyPatch, sliding_window: int | None
) -> None:
    seen: list[tuple[int, int]] = []

    def sdpa(query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
        assert key.shape == value.shape
        seen.append((query.shape[1], key.shape[1]))
        return torch.empty_like(query)

    monkeypatch.setattr(windowed, "scaled_dot_product_attention", sdpa)
    for device, expected in (("meta", (6, 6)), ("cpu", (6, 2))):
        seen.clear()
        packed = [torch.zeros(1, heads, sum(LENGTHS), 8, device=device) for heads in (6, 2, 2)]
        windowed.windowed_attention(*packed, LENGTHS, None, sliding_window)
        assert set(seen) == {expected}
