"""Parts of a layer that treat each token alone (feed-forward networks), run some tokens at a time on a CPU.

What they hold in between is several times as wide as the hidden states: so it stays in the cache, and memory does not
grow with it.

Letters: B rows, T tokens, E hidden size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from attention_influence.errors import ModelError
from attention_influence.model.attention_pass import current_pass
from attention_influence.model.memory import is_out_of_memory

# Tokens at a time: enough for products to run at full speed, few enough for the cache.
_BLOCK_TOKENS = 512
# Of a feed-forward network: gate, up, down, and one to spare.
_MOST_MATRICES = 4
_TRIED_TOKENS = 4


def run_in_blocks(layers: nn.ModuleList) -> None:
    """Makes the children of layers that treat each token alone do so in blocks, in passes of ours.

    Which ones do is tried, on random hidden states, once for all that are built alike. Mixtures of experts are left
    whole: each expert has few tokens as it is.
    """
    tried: dict[str, bool] = {}
    for layer in layers:
        for part in layer.children():
            dims = [weights.dim() for weights in part.parameters() if weights.dim() > 1]
            if not 1 < len(dims) <= _MOST_MATRICES or max(dims) > 2:
                continue
            built = repr(part)
            if built not in tried:
                tried[built] = _is_tokenwise(part)
            if tried[built]:
                part.forward = _InBlocks(part)


class _InBlocks:
    """Stands for a module's `forward`."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def __call__(self, hidden_BTE: Tensor, *args: Any, **kwargs: Any) -> Any:
        own = type(self._module).forward
        few = hidden_BTE.device.type != "cpu" or hidden_BTE.shape[1] <= _BLOCK_TOKENS
        if few or args or kwargs or current_pass() is None:
            return own(self._module, hidden_BTE, *args, **kwargs)
        out_BTE = None
        for low in range(0, hidden_BTE.shape[1], _BLOCK_TOKENS):
            part = own(self._module, hidden_BTE[:, low : low + _BLOCK_TOKENS].contiguous())
            if out_BTE is None:
                out_BTE = part.new_empty(*hidden_BTE.shape[:2], part.shape[-1])
            out_BTE[:, low : low + _BLOCK_TOKENS] = part
        return out_BTE


@torch.inference_mode()
def _is_tokenwise(part: nn.Module) -> bool:
    weights = next(weights for weights in part.parameters() if weights.dim() > 1)
    generator = torch.Generator().manual_seed(0)
    hidden_BTE = torch.randn(1, _TRIED_TOKENS, weights.shape[-1], generator=generator).to(weights.device, weights.dtype)
    try:
        whole_BTE = part(hidden_BTE)
        halves_BTE = torch.cat([part(half) for half in torch.split(hidden_BTE, _TRIED_TOKENS // 2, dim=1)], dim=1)
    except (ModelError, TypeError, AttributeError, ValueError, RuntimeError, LookupError) as error:
        if is_out_of_memory(error):
            raise
        return False  # it is attention, takes more than hidden states, or gives more
    allowed = 0.03 * whole_BTE.abs().max()  # far more than rounding, far less than what a token does to another
    return whole_BTE.shape == hidden_BTE.shape and bool(((halves_BTE - whole_BTE).abs() <= allowed).all())
