"""Decoder layers as compiled graphs: on a GPU what lies between matmuls is then read and written once.

Layers of one kind share their graphs, for packs of any length: what differs between them is no constant of a graph.
Attention is an opaque operator in it (`attention/function.py`).
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import nn

from attention_influence.model.attention.function import number_layers
from attention_influence.model.attention.pass_state import current_pass


def compile_layers(layers: nn.ModuleList, backend: str) -> None:
    """Passes that only score run each layer as a graph compiled by torch's `backend`, from their first call on."""
    number_layers(layers)
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward, backend)


def _forward(layer: nn.Module, plain: Callable[..., Any], backend: str, *args: Any, **kwargs: Any) -> Any:
    state = current_pass()
    if state is None or state.observe is not None or state.gates is not None:
        return plain(*args, **kwargs)
    return _compiled(type(layer).forward, backend)(layer, *args, **kwargs)


@cache
def _compiled(forward: Callable[..., Any], backend: str) -> Callable[..., Any]:
    """Kept here, not in the layers, which travel to other processes."""
    return torch.compile(forward, backend=backend, dynamic=True)
