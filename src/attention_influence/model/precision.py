"""Types of weights, and what matmuls with them are computed in."""

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

# Of a GPU, from NVIDIA: the compute capability from which on it has bfloat16 matmuls.
_BFLOAT16_CAPABILITY = (8, 0)
# Of a CPU: what it must have for bfloat16 matmuls to be faster than float32 ones.
_BFLOAT16_PRODUCTS = ("amx_bf16", "avx512_bf16", "bf16")


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
    native = weights == torch.bfloat16 and any(map(torch.cpu.get_capabilities().get, _BFLOAT16_PRODUCTS))
    return weights if native else torch.float32
