"""What the device can do: the model's own matrix products, timed, and the operations that a scoring pass needs."""

import time
from collections.abc import Sequence

import torch
from torch import nn

from attention_influence.model.language_model import LanguageModel


def linear_shapes(model: LanguageModel) -> list[list[tuple[int, int]]]:
    """(out, in) of the linear layers of each layer, then of the LM head."""
    layers = [
        [tuple(part.weight.shape) for part in layer.modules() if isinstance(part, nn.Linear)] for layer in model.layers
    ]
    return [*layers, [tuple(model.network.get_output_embeddings().weight.shape)]]  # type: ignore[list-item]


def useful_operations(model: LanguageModel, fork_layer: int, lengths: Sequence[int]) -> float:
    """Floating-point operations of both losses of windows of these lengths.

    Trunk once, branches twice, the LM head twice; of attention the causal half (2 · T²/2 · D for each of the two
    products and each head), once up to and including the fork layer, whose rows have the same but for masked heads.
    """
    text_config = model.network.config.get_text_config()
    head_size = getattr(text_config, "head_dim", None) or text_config.hidden_size // text_config.num_attention_heads
    heads = [model.heads.get(layer, 0) for layer in range(len(model.layers))]
    return scoring_operations(linear_shapes(model), heads, head_size, fork_layer, lengths)


def scoring_operations(
    shapes: Sequence[Sequence[tuple[int, int]]],
    heads: Sequence[int],
    head_size: int,
    fork_layer: int,
    lengths: Sequence[int],
) -> float:
    """The same for a model of these `linear_shapes` and so many query heads in each layer."""
    *layers, [output] = shapes
    tokens = sum(lengths)
    total = 2 * 2.0 * tokens * output[0] * output[1]
    for layer, of_layer in enumerate(layers):
        rows = 1 if layer < fork_layer else 2
        total += rows * sum(2.0 * tokens * out * into for out, into in of_layer)
        attention_rows = 1 if layer <= fork_layer else 2
        total += attention_rows * heads[layer] * 2.0 * head_size * sum(n * n for n in lengths)
    return total


def operations_a_second(model: LanguageModel, rows: int, seconds: float = 2.0) -> float:
    """Of the products of one plain pass: `rows` tokens through all linear layers, and through the LM head."""
    *layers, [output] = linear_shapes(model)
    chunk = 512
    times = [_seconds(model, rows, shape, seconds / len(layers[0])) * len(layers) for shape in layers[0]]
    times.append(_seconds(model, chunk, output, seconds) * rows / chunk)
    operations = 2.0 * rows * (len(layers) * sum(out * into for out, into in layers[0]) + output[0] * output[1])
    return operations / sum(times)


@torch.inference_mode()
def _seconds(model: LanguageModel, rows: int, shape: tuple[int, int], at_least: float) -> float:
    """Of one product of `rows` inputs, in the model's type on its device."""
    x, weight = (torch.randn(size).to(model.device, model.dtype) for size in ((rows, shape[1]), shape))

    def taken(products: int) -> float:
        began = time.monotonic()
        for _ in range(products):
            nn.functional.linear(x, weight)
        if model.device.type == "cuda":  # once, after all: a GPU computes one while the next is launched
            torch.cuda.synchronize(model.device)
        return time.monotonic() - began

    taken(1)
    products = 1
    while (seconds := taken(products)) < at_least:
        products = max(products + 1, min(10 * products, round(1.2 * products * at_least / max(seconds, 1e-9))))
    return seconds / products
