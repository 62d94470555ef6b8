"""How too little memory shows."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a GPU or the host has too little memory for what was asked."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
