"""What the scripts for a GPU share: their options, times on a device, one line of JSON for each figure.

No script here may be called as a package that transformers looks for (`kernels`): it would be found first.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # for `limit`


def options(description: str | None, *positional: str) -> argparse.Namespace:
    """--device and --tiny (sizes that a CPU does in seconds, for a test of the script itself), and positional ones."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    for name in positional:
        parser.add_argument(name)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        parser.exit(1, "no CUDA device here; --device cpu --tiny tries the script itself\n")
    return given


def say(what: str, **figures: object) -> None:
    """Prints one result; floats to four digits."""
    rounded = {key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"what": what, **rounded}), flush=True)


def finish(device: str) -> None:
    """Waits for what was started on the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def seconds(call: Callable[[], object], device: str, rounds: int) -> float:
    """Median time of a call, after one that is not counted."""
    call()
    times = []
    for _ in range(rounds):
        finish(device)
        began = time.perf_counter()
        call()
        finish(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def peak_gib(device: str) -> float | None:
    """Peak of the device's memory since the last call, GiB; None on a CPU."""
    if not device.startswith("cuda"):
        return None
    peak = torch.cuda.max_memory_allocated() / 2**30
    torch.cuda.reset_peak_memory_stats()
    return peak
