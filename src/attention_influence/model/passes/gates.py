"""How the loss moves when a head moves towards uniform attention, for all heads from one backward pass.

Each head of each window has a gate: at 1 it gives its attention output, at 0 the plain mean of the values that it sees,
in between a mixture. The gradient by the gates is the first-order effect of every head on every window at once.

Memory: the activations of all layers for T tokens, which the backward pass needs.
Letters: N predicted tokens, W windows, H heads of a layer, T packed tokens, E hidden size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from attention_influence.model.attention.pass_state import AttentionPass
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.passes.fork import packed_forward

# Logits that the backward pass holds at a time, in elements.
_CHUNK_LOGITS = 2**25


def gate_gradients(
    model: LanguageModel,
    windows: Sequence[Sequence[int]],
    at_N: Tensor,
    target_N: Tensor,
    weight_N: Tensor,
    gate: float = 1.0,
) -> dict[int, Tensor]:
    """Layer → the derivative [W, H] of the weighted sum of losses by each window's gates, all of which are at `gate`.

    `at_N` are the positions that predict, in the row that the windows fill, `target_N` what follows, `weight_N` what a
    target's loss (nats) counts. Float32.
    """
    with model.lock, torch.inference_mode(False), torch.enable_grad():
        gates = {
            layer: torch.full((len(windows), count), gate, device=model.device, requires_grad=True)
            for layer, count in model.heads.items()
        }
        state = AttentionPass([len(window) for window in windows], [{}], gates=gates)
        body = packed_forward(model.body, windows, state)
        hidden_NE = body.last_hidden_state[0, at_N]
        given_NE = hidden_NE.detach().requires_grad_()
        body.last_hidden_state = body.last_hidden_state.detach()
        chunk = max(1, _CHUNK_LOGITS // model.output.vocabulary)
        for low in range(0, len(target_N), chunk):
            part = slice(low, low + chunk)
            logits_NV = model.output.logits(body, given_NE[part]).float()
            losses_N = cross_entropy(logits_NV, target_N[part], reduction="none")
            torch.autograd.backward((losses_N * weight_N[part]).sum())
        torch.autograd.backward(hidden_NE, given_NE.grad)
        return {layer: _gradient(gate_WH) for layer, gate_WH in gates.items()}


def _gradient(gate_WH: Tensor) -> Tensor:
    return torch.zeros_like(gate_WH) if gate_WH.grad is None else gate_WH.grad
