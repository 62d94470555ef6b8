"""How long a run takes: one batch of it, timed here, where the network is small enough for that."""

import time
from dataclasses import dataclass

import torch

from attention_influence.experiment.data.tokenizer import open_tokenizer
from attention_influence.experiment.plan import Plan
from attention_influence.experiment.training.network import (
    configuration_of,
    learning_rate_of,
    new_network,
    parameters_of,
)
from attention_influence.experiment.training.train import device_batch, device_of

# Parameters above which a batch is not tried on a CPU, and on a GPU.
_MOST = {"cpu": 60_000_000, "cuda": 2_000_000_000}


@dataclass(frozen=True)
class Estimate:
    """What one run takes."""

    parameters: int
    flops: float
    seconds: float | None
    """None where nothing was timed."""
    device: str
    learning_rate: float


def estimate(plan: Plan) -> Estimate:
    """Times forward and backward passes of the network on random tokens, without the optimizer's part."""
    experiment = plan.experiment
    device = device_of(experiment)
    configuration = configuration_of(experiment, open_tokenizer(plan.tokenizer))
    parameters, rate = parameters_of(configuration), learning_rate_of(experiment)
    flops = 6.0 * parameters * experiment.trained_tokens
    if parameters > _MOST[device]:
        return Estimate(parameters, flops, None, device, rate)
    network = new_network(configuration, 0).to(device)
    rows, _ = device_batch(experiment, 1, device)
    ids = torch.randint(network.config.vocab_size, (rows, experiment.recipe.context), device=device)
    seconds = 0.0
    for _ in range(2):  # the first one allocates
        began = time.monotonic()
        with torch.autocast(
            device, torch.bfloat16, enabled=device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        ):
            loss = network(input_ids=ids, labels=ids).loss
        loss.backward()
        float(loss.detach())  # waits for the device
        seconds = time.monotonic() - began
    return Estimate(parameters, flops, seconds / ids.numel() * experiment.trained_tokens, device, rate)
