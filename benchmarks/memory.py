"""The most memory that this process has held."""

import re
import resource
from pathlib import Path

import torch


def peak_bytes(device: torch.device) -> int:
    """Of a GPU, what tensors took of it; else resident.

    Resident memory comes on Linux out of /proc, because ru_maxrss begins with the peak of the process that started
    this one.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists() and (peak := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(peak[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
