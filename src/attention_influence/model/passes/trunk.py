"""Many passes over the same windows, each with heads of one layer masked, that share what is below that layer.

The trunk's pass keeps what every layer gave. A branch begins at the layer of its masked heads: layers below it give
what was kept, so the pass is the model's own code from there on, with as many rows as sets of heads.

Memory: the kept outputs, layers × T × E values, beside the activations of B rows of T tokens.
Letters: B rows, T packed tokens, E hidden size.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from attention_influence.errors import ModelError
from attention_influence.model.attention.pass_state import Masked
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.memory import is_out_of_memory
from attention_influence.model.passes.fork import forked_forward

# Of the standard deviation of hidden states, by type of the weights: what other shapes of the same matmuls round to.
_ROUNDING = {torch.float32: 2e-3, torch.bfloat16: 0.3}
_CHECKED_TOKENS = 16


class Trunk:
    """A pass over packed windows, and the branches off it, in all of which `masked` heads attend uniformly.

    Raises as `LanguageModel.forward` does.
    """

    def __init__(self, model: LanguageModel, windows: Sequence[Sequence[int]], masked: Masked | None = None) -> None:
        self._model, self._windows, self._masked = model, windows, masked or {}
        self._kept: list[Any] = []
        hooks = [layer.register_forward_hook(self._keep) for layer in model.layers]
        try:
            self.output: Any = model.forward(windows, masked)
            """The body's, `last_hidden_state` [1, T, E]."""
        finally:
            for hook in hooks:
                hook.remove()
        if len(self._kept) != len(model.layers):
            raise ModelError(
                f"{model.identity.name}: {len(self._kept)} of its {len(model.layers)} layers run once a pass; passes "
                "cannot begin at a layer of such a model"
            )

    def branch(self, layer: int, heads: Sequence[Sequence[int]]) -> Any:
        """The body's output, `last_hidden_state` [B, T, E]: in row b `heads[b]` of `layer` attend uniformly, too."""
        above = {at: of_layer for at, of_layer in self._masked.items() if at >= layer}
        rows: list[Masked] = [above | {layer: [*above.get(layer, ()), *of_row]} for of_row in heads]
        model = self._model
        with model.lock, ExitStack() as stack:
            for below, output in zip(model.layers[:layer], self._kept, strict=False):
                stack.enter_context(_giving(below, output))
            return forked_forward(model.body, model.layers, self._windows, rows, layer)

    def branches(self, layer: int, heads: Sequence[Sequence[int]]) -> Iterator[Any]:
        """The same branch, or as many smaller ones as the memory asks for. Raises ModelError if one row is too many."""
        try:
            body = self.branch(layer, heads)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if len(heads) == 1:
                raise ModelError(
                    f"{self._model.device} has too little memory for a pass of {sum(map(len, self._windows)):,} "
                    "tokens; lower --context"
                ) from error
        else:
            yield body
            return
        half = len(heads) // 2
        yield from self.branches(layer, heads[:half])
        yield from self.branches(layer, heads[half:])

    def _keep(self, layer: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        self._kept.append(output)


@contextmanager
def _giving(layer: nn.Module, output: Any) -> Iterator[None]:
    """The layer gives `output`, whatever it is given, for as long as the context lasts."""
    own = layer.__dict__.get("forward")  # accelerate wraps it there
    layer.forward = lambda *args, **kwargs: output
    try:
        yield
    finally:
        del layer.forward
        if own is not None:
            layer.forward = own


def check_trunk(model: LanguageModel, tokens: Sequence[int]) -> None:
    """Raises ModelError where a branch with nothing masked is not the unmasked pass, at any layer; tried on the first
    few of `tokens`.
    """
    trunk = Trunk(model, [tokens[:_CHECKED_TOKENS]])
    whole_TE = trunk.output.last_hidden_state[0].float()
    allowed = _ROUNDING.get(model.dtype, 0.3) * (whole_TE.std() + 1e-6)
    for layer in model.heads:
        error = (trunk.branch(layer, [()]).last_hidden_state[0].float() - whole_TE).abs().max()
        if not error <= allowed:
            raise ModelError(
                f"{model.identity.name} ({model.network.config.model_type}): a pass that begins at layer {layer} "
                f"differs from a whole one by {float(error):.2g}; its layers share more than hidden states"
            )
