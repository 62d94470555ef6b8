"""The network of an experiment: made from its configuration, and tried on packed documents before it is trained."""

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from attention_influence.errors import UsageError
from attention_influence.experiment.presets import OTHER_LEARNING_RATE, PRESETS
from attention_influence.experiment.settings import Experiment

_AUTO: Any = AutoModelForCausalLM
# Largest difference of two losses, nats/token, that are the same but for rounding.
_SAME = 1e-3


def learning_rate_of(experiment: Experiment) -> float:
    """The recipe's, or the preset's."""
    if experiment.recipe.learning_rate is not None:
        return experiment.recipe.learning_rate
    preset = PRESETS.get(experiment.model) if isinstance(experiment.model, str) else None
    return preset.learning_rate if preset else OTHER_LEARNING_RATE


def configuration_of(experiment: Experiment, tokenizer: Any) -> Any:
    """transformers' configuration, with the vocabulary and the special tokens of the tokenizer.

    Raises UsageError where it cannot hold them, or the context, or its type is unknown.
    """
    given = PRESETS[experiment.model].configuration() if isinstance(experiment.model, str) else {**experiment.model}
    kind, entries, context = given.pop("model_type"), len(tokenizer), experiment.recipe.context
    for name, needed, what in (
        ("vocab_size", entries, f"the tokenizer has {entries:,} entries"),
        ("max_position_embeddings", context, f"recipe.context is {context:,}"),
    ):
        if given.setdefault(name, needed) < needed:
            raise UsageError(f"model: {name} is {given[name]:,}, and {what}. Raise it, or omit it")
    given |= {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    given.setdefault("pad_token_id", None)
    try:
        return AutoConfig.for_model(kind, **given)
    except Exception as error:  # of many kinds; all mean that there is no such configuration
        raise UsageError(
            f"model: transformers takes no such configuration of {kind}: {str(error).splitlines()[0]}"
        ) from error


def new_network(configuration: Any, seed: int) -> Any:
    """A network in float32 whose weights the seed decides. Raises UsageError where the configuration makes none."""
    torch.manual_seed(seed)
    network = _made(configuration)
    # With a cache, transformers does not look at positions, and documents of a row would see each other.
    network.config.use_cache = False
    return network


def parameters_of(configuration: Any) -> int:
    """Parameters of such a network, which takes no memory. Raises UsageError as `new_network` does."""
    with torch.device("meta"):
        network = _made(configuration)
    return sum(parameter.numel() for parameter in network.parameters())


def _made(configuration: Any) -> Any:
    try:
        return _AUTO.from_config(configuration, dtype=torch.float32, attn_implementation="sdpa")
    except (ValueError, TypeError, KeyError, RuntimeError, AttributeError) as error:
        raise UsageError(f"model: transformers makes no network of it: {str(error).splitlines()[0]}") from error


@torch.no_grad()
def check_packing(network: Any) -> None:
    """Raises UsageError where documents that share a row see each other: packed and alone their logits must agree."""
    was_training = network.training
    network.eval()
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(network.config.vocab_size, (1, 24), generator=generator).to(network.device)
    positions = torch.cat([torch.arange(9), torch.arange(15)])[None].to(network.device)
    kind = network.config.model_type
    try:
        packed = network(input_ids=ids, position_ids=positions).logits[0].float()
    except TypeError:
        raise UsageError(
            f"model: {kind} takes no positions, so documents cannot share a row. Use another, such as llama"
        ) from None
    alone = torch.cat([network(input_ids=part).logits[0].float() for part in (ids[:, :9], ids[:, 9:])])
    network.train(was_training)
    difference = float((packed.log_softmax(-1) - alone.log_softmax(-1)).abs().max())
    if not difference < _SAME:
        raise UsageError(
            f"model: documents of {kind} that share a row see each other (their logits differ by "
            f"{difference:.2g}): this type does not heed positions. Use another, such as llama"
        )
