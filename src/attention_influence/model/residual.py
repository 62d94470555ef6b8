"""The residual stream in float32 beside matmuls of 16-bit weights.

Rounding the sum to 16 bits after every layer costs a document's loss more digits than rounding the inputs of matmuls
does. Mixed-precision training keeps it in float32, too. With float32 weights nothing changes.

Letters: B rows, T tokens, E hidden size.
"""

from typing import Any

import torch
from torch import Tensor, nn

from attention_influence.model.attention.pass_state import current_pass


class Float32Residual:
    """Hooks on a network, for passes of ours: embeddings give float32, and inputs of matrices are cast to their type.

    Sums, norms and rotations in between follow by promotion of types. `active` switches it.
    """

    def __init__(self, network: Any, body: nn.Module) -> None:
        self.active = True
        # The last input that was cast, and what became of it: queries, keys and values have the same one.
        self._last: tuple[Tensor, Tensor] | None = None
        embeddings = network.get_input_embeddings()
        embeddings.register_forward_hook(self._in_float32)
        for module in body.modules():
            if module is not embeddings and any(map(_is_matrix, module.parameters(recurse=False))):
                module.register_forward_pre_hook(self._in_type_of_weights)
        body.register_forward_hook(self._forget)

    def _is_on(self) -> bool:
        return self.active and current_pass() is not None

    def _in_float32(self, module: nn.Module, args: tuple[Any, ...], out_BTE: Tensor) -> Tensor:
        return out_BTE.float() if self._is_on() else out_BTE

    def _in_type_of_weights(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if not args or not isinstance(args[0], Tensor) or args[0].dtype != torch.float32:
            return None
        own = next(filter(_is_matrix, module.parameters(recurse=False))).dtype
        if own == torch.float32:
            return None
        if torch.compiler.is_compiling():  # the graph shares casts by itself
            return (args[0].to(own), *args[1:])
        last = self._last
        if last is None or last[0] is not args[0] or last[1].dtype != own:
            last = self._last = (args[0], args[0].to(own))
        return (last[1], *args[1:])

    def _forget(self, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        self._last = None


def _is_matrix(weights: Tensor) -> bool:
    return weights.dim() > 1 and weights.is_floating_point()
