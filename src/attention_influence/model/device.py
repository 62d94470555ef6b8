"""The device that a name stands for, or why there is none."""

import os

import torch

from attention_influence.errors import ModelError


def find_device(name: str | None) -> torch.device:
    """A CPU or a CUDA (or ROCm) device that is there; None: CUDA if there is one. Raises ModelError."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ModelError(f"device {name!r} is unknown; choose cpu, cuda, or a number such as cuda:1") from None
    if device.type not in ("cpu", "cuda"):
        raise ModelError(f"models are scored on cpu and cuda; {device.type} has not been tried. Give --device cpu")
    if device.type == "cuda":
        _must_be_there(device)
    return device


def _must_be_there(device: torch.device) -> None:
    if not torch.cuda.is_available():
        has = "was built without CUDA" if torch.version.cuda is None and torch.version.hip is None else "sees no GPU"
        raise ModelError(f"device {str(device)!r}: torch {torch.__version__} {has}{_visible()}. Give --device cpu")
    count = torch.cuda.device_count()
    if device.index is not None and device.index >= count:
        raise ModelError(f"device {str(device)!r}: there are {count} GPUs, cuda:0 to cuda:{count - 1}{_visible()}")


def _visible() -> str:
    """What the environment hides."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible})"
