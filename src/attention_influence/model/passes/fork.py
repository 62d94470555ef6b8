"""One forward pass that gives the hidden states of both models, or of several.

Below the first masked layer the base and the reference model are the same function, so the row of packed windows is
computed once there; at that layer it becomes two rows, base and reference, and from there on the batch is 2:

    embeddings → layers 0 … k-1 → fork → layers k … n-1 on [base; reference] → final norm

Letters: B rows (in scoring 1 or 2), T packed tokens, E hidden size.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from attention_influence.model.attention.pass_state import AttentionPass, Masked, Observer, attention_pass
from attention_influence.model.transfer import to_device


@torch.inference_mode()
def forked_forward(
    body: nn.Module,
    layers: nn.ModuleList,
    windows: Sequence[Sequence[int]],
    rows: Sequence[Masked],
    fork_layer: int | None = None,
    observe: Observer | None = None,
) -> Any:
    """The body's output, `last_hidden_state` [B, T, E] after the final norm, for each of B `rows` its masked heads.

    `windows` are packed in their order into one row, positions restarting at 0 in each. From `fork_layer` on there is a
    row for each of `rows`: scoring gives two, base (nothing masked) and reference. Without it, `rows` is one.
    """
    state = AttentionPass([len(window) for window in windows], rows, observe=observe)
    hook = None
    if fork_layer is not None:
        hook = layers[fork_layer].register_forward_pre_hook(partial(_repeat_rows, len(rows)), with_kwargs=True)
    try:
        return packed_forward(body, windows, state)
    finally:
        if hook is not None:
            hook.remove()


def packed_forward(body: nn.Module, windows: Sequence[Sequence[int]], state: AttentionPass) -> Any:
    """The body's output for windows packed in their order into one row, positions restarting at 0 in each."""
    device = body.get_input_embeddings().weight.device  # type: ignore[operator]
    tokens = [token for window in windows for token in window]
    positions = np.concatenate([np.arange(len(window)) for window in windows])
    tokens_T, positions_T = to_device(np.stack([np.array(tokens, dtype=np.int64), positions]), device)
    _forget_longest_position(body)
    with attention_pass(state):
        return body(input_ids=tokens_T[None], position_ids=positions_T[None], use_cache=False)


def _repeat_rows(
    rows: int, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """Repeats the hidden states; what else the layer is given (positions, rotations) has one row and broadcasts."""
    if args:
        return (_repeat(args[0], rows), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": _repeat(kwargs["hidden_states"], rows)}


def _repeat(hidden_1TE: Tensor, rows: int) -> Tensor:
    return hidden_1TE.repeat(rows, 1, 1)


def _forget_longest_position(body: nn.Module) -> None:
    """Dynamic RoPE keeps the frequencies of the longest call so far: without this, scores would depend on the past."""
    for module in body.modules():
        for name in [n for n in vars(module) if n.endswith("max_seq_len_cached")]:
            setattr(module, name, 0)
