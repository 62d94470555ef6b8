"""Tokens of a pack, by device: enough to keep the matmuls busy, few enough that activations fit."""

import torch
from torch import Tensor

from attention_influence.model.language_model import LanguageModel

_CPU_TOKENS = 2048
# Where a GPU's memory allows it; more was not needed to fill one, by arithmetic.
_MOST_GPU_TOKENS, _FEWEST_GPU_TOKENS = 2**15, 2**10
# Rows of the batch above the fork: base and reference.
_ROWS = 2
# Of a token in one row of a layer, in float32: the residual stream, and what the layer adds to it.
_FLOAT32_OF_HIDDEN = 2
# In the type of the matmuls: a matmul's input of hidden size; the feed-forward network's gate, its activation, its
# other half and their product.
_OF_HIDDEN, _OF_INNER = 1, 4
# Of the free memory, what activations and logits may take: the rest is for keys, values and gaps between tensors.
_USED = 0.8
# Bytes of a chunk of logits and their exponentials; or a quarter of what is free, for the LM head may make it smaller.
_LOGITS = 2**32


def default_pack_tokens(model: LanguageModel) -> int:
    """Tokens of one forward pass; on a GPU a power of two, so that equal GPUs make equal packs."""
    if model.device.type != "cuda":
        return _CPU_TOKENS
    free, _ = torch.cuda.mem_get_info(model.device)
    room = _USED * free - min(_LOGITS, free / 4)
    tokens = max(_FEWEST_GPU_TOKENS, int(room / bytes_of_token(model)))
    return min(_MOST_GPU_TOKENS, 1 << tokens.bit_length() - 1)


def bytes_of_token(model: LanguageModel) -> int:
    """What a token of a pack takes at the widest place of a layer; 20 E + 16 I with 16-bit weights."""
    hidden = model.network.get_input_embeddings().weight.shape[1]
    inner = max(_widths(weights) for weights in model.layers.parameters())
    size = model.dtype.itemsize
    return int(_ROWS * ((4 * _FLOAT32_OF_HIDDEN + size * _OF_HIDDEN) * hidden + size * _OF_INNER * inner))


def _widths(weights: Tensor) -> int:
    """The larger side of a matrix, or of each of several that are stored as one."""
    return max(weights.shape[-2:]) if weights.dim() > 1 else 0
