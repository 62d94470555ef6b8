"""What is measured of each trained network, as the configuration asks for it."""

import math
from collections.abc import Sequence
from typing import Any

import torch

from attention_influence.experiment.plan import Plan
from attention_influence.experiment.token_file import read_held_out
from attention_influence.experiment.tokenizer import DocumentEncoder


def measure_of(plan: Plan) -> Any:
    """From a trained network and its tokenizer to metrics of name, value, unit and lower_is_better."""
    held_out = read_held_out(plan.data_folder)

    def measure(network: Any, tokenizer: Any) -> list[dict[str, Any]]:
        return [
            {
                "name": f"bits per byte: {domain}",
                "value": _bits_per_byte(network, DocumentEncoder(tokenizer), texts, plan.experiment.recipe.context),
                "unit": "bits/byte",
                "lower_is_better": True,
            }
            for domain, texts in held_out.items()
        ]

    return measure


@torch.no_grad()
def _bits_per_byte(network: Any, encoder: DocumentEncoder, texts: Sequence[str], context: int) -> float:
    nats, size = 0.0, 0
    for text, ids in zip(texts, encoder.encode(list(texts)), strict=True):
        size += len(text.encode())
        for start in range(0, len(ids), context):
            part = torch.tensor([ids[start : start + context]])
            if part.shape[1] > 1:
                nats += float(network(input_ids=part, labels=part).loss) * (part.shape[1] - 1)
    return nats / math.log(2) / size
