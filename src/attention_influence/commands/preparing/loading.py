"""The model that a configuration asks for."""

import logging

from attention_influence.config import LoadOptions
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading.load import load_model
from attention_influence.progress import stage

_log = logging.getLogger(__name__)


def load(model: str, options: LoadOptions) -> LanguageModel:
    """`model` is a hub id, a directory or a .gguf file. Errors: see `load_model`."""
    with stage(f"loading {model}"):
        loaded = load_model(model, options.dtype, options.device, options.trust_remote_code, options.revision)
    _log.info("loaded %s on %s, %s: %s", loaded.identity.name, loaded.device, loaded.dtype, loaded.arithmetic())
    return loaded
