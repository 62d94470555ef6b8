"""What masking each head would cost, estimated for all heads from one backward pass over each item.

First order: minus the derivative of the loss by the head's gate (`model/passes/gates.py`) estimates the rise when the
gate closes. With several steps the derivative is averaged along the path on which all gates close together (integrated
gradients, Sundararajan et al. 2017, arXiv 1703.01365). Neither is faithful enough to choose heads by: see
docs/studies/ablation.md. They make a shortlist.

Letters: I items, H heads of all layers.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from attention_influence.model.language_model import LanguageModel
from attention_influence.model.passes.gates import gate_gradients
from attention_influence.tasks.items import Question
from attention_influence.tasks.outcomes import predictions
from attention_influence.tasks.packs import in_packs

# Tokens of a backward pass, which holds the activations of all layers.
_TOKENS = {"cpu": 1024, "cuda": 8192}


def attribute(
    model: LanguageModel, questions: Sequence[Question], steps: int = 1, packing: bool = True
) -> NDArray[np.float64]:
    """Estimated rise [I, H] of each question's right answer's loss (nats/token) when each head alone attends uniformly.

    Heads are in order of layer and head. `steps` 1 is the derivative at the unmodified model; more are midpoints of the
    path. Without `packing` each question has a pass of its own.
    """
    gates = [1.0] if steps == 1 else [1 - (step + 0.5) / steps for step in range(steps)]
    found = []
    for pack in in_packs(questions, _TOKENS.get(model.device.type, _TOKENS["cpu"]) if packing else 0):
        readings = [reading for question in pack for reading in question.right_answer().readings]
        at_N, target_N = (torch.from_numpy(x_N).to(model.device) for x_N in predictions(readings))
        weights = [np.full(len(reading.at), 1 / len(reading.at), dtype=np.float32) for reading in readings]
        weight_N = torch.from_numpy(np.concatenate(weights)).to(model.device)
        windows = [reading.tokens for reading in readings]
        of_steps = [gate_gradients(model, windows, at_N, target_N, weight_N, gate) for gate in gates]
        means = [torch.stack([of_step[layer] for of_step in of_steps]).mean(0) for layer in model.heads]
        found.append(-torch.cat(means, dim=1).double().cpu().numpy())
    return np.concatenate(found)
