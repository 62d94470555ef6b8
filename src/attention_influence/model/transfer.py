"""Numbers on their way to the device and back, without the host waiting for the device."""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def to_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """The same numbers as a tensor there; computing may go on before they have arrived."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class OnTheWay:
    """A tensor of which a copy is sent to the host as soon as it is computed."""

    def __init__(self, tensor: Tensor) -> None:
        self._host = tensor.to("cpu", non_blocking=True)
        self._arrived: Any = None
        if tensor.is_cuda:
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(tensor.device))

    def wait(self) -> NDArray[Any]:
        """Its numbers, once they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host.numpy()
