"""Types of weights, and what matmuls with them are computed in."""

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Of a GPU, from NVIDIA: the compute capability from which on it has bfloat16 matmuls.
_BFLOAT16_CAPABILITY = (8, 0)
# Of a CPU: what it must have for bfloat16 matmuls to be faster than float32 ones. With AVX-512 alone, those of Intel's
# run at half the rate (docs/lab-notes.md, 2026-11-30).
_BFLOAT16_PRODUCTS = ("amx_bf16", "bf16")
_BFLOAT16_VECTORS, _SLOW_VECTORS = "avx512_bf16", "Intel"


def matmul_dtype(weights: torch.dtype, device: torch.device) -> torch.dtype:
    """The type that is fastest for weights of a type: theirs, but float32 for 16 bits on a device that emulates them.

    Values do not change by it, so results come closer to what the weights mean.
    """
    if weights == torch.float32:
        return weights
    if device.type == "cuda":
        emulated = torch.version.hip is None and torch.cuda.get_device_capability(device) < _BFLOAT16_CAPABILITY
        return torch.float32 if emulated and weights == torch.bfloat16 else weights
    if device.type != "cpu":
        return weights
    return weights if weights == torch.bfloat16 and _has_fast_bfloat16() else torch.float32


def _has_fast_bfloat16() -> bool:
    of_cpu = torch.cpu.get_capabilities()
    vectors = of_cpu.get(_BFLOAT16_VECTORS) and not str(of_cpu.get("cpu_name", "")).startswith(_SLOW_VECTORS)
    return bool(vectors or any(map(of_cpu.get, _BFLOAT16_PRODUCTS)))
