"""A model on its way to another process: small where it can be loaded there, else with its weights.

Equal models give equal bytes, whatever they were used for in between: tools that cache by a hash rely on it.
"""

import json
from collections.abc import Callable
from typing import Any

from safetensors.torch import load, save
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from attention_influence.errors import ModelError
from attention_influence.model.language_model import Identity, LanguageModel
from attention_influence.model.loading import from_network, load_model

Parts = tuple[Callable[..., LanguageModel], tuple[Any, ...]]
"""A function that can be named, and arguments that pickle: together they give the model again."""


def in_parts(model: LanguageModel) -> Parts:
    """How to have the model again: by the name that it was loaded by, or out of its weights."""
    if model.loaded_by is not None:
        return _loaded_again, (*model.loaded_by, str(model.device), model.identity)
    network = model.network
    # Tied weights go once; the model's own code ties them again.
    weights = {weight.data_ptr(): (name, weight.cpu()) for name, weight in sorted(network.state_dict().items())}
    config = network.config.to_json_string(use_diff=False)
    return _made_again, (
        type(network),
        type(network.config),
        config,
        save(dict(weights.values())),
        *model.tokens.definition(),
        model.identity,
    )


def _loaded_again(
    name: str, dtype: str, trust_remote_code: bool, commit: str | None, device: str, identity: Identity
) -> LanguageModel:
    return _same(load_model(name, dtype, device, trust_remote_code, commit), identity)


def _made_again(
    kind: type[Any],
    config_kind: type[Any],
    config: str,
    content: bytes,
    tokenizer: str,
    bos: str | None,
    identity: Identity,
) -> LanguageModel:
    network = kind(config_kind.from_dict(json.loads(config)))
    weights = load(content)
    network.to(next(iter(weights.values())).dtype).load_state_dict(weights, strict=False)
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=Tokenizer.from_str(tokenizer), bos_token=bos
    )
    return _same(from_network(network, fast, identity.name), identity)


def _same(model: LanguageModel, identity: Identity) -> LanguageModel:
    if (model.identity.weights, model.identity.tokenizer) != (identity.weights, identity.tokenizer):
        raise ModelError(
            f"{identity.name} is not the model that it was when this was pickled: its weights or its tokenizer have "
            "changed. Make the scorer again"
        )
    model.identity = identity  # from the hub it was loaded by its commit, not by the name that was given
    return model
