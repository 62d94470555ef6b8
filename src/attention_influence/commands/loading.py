"""The model that a configuration asks for."""

from attention_influence.config import LoadOptions
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading import load_model
from attention_influence.progress import stage


def load(model: str, options: LoadOptions) -> LanguageModel:
    """`model` is a hub id, a directory or a .gguf file. Errors: see `load_model`."""
    with stage(f"loading {model}"):
        return load_model(model, options.dtype, options.device, options.trust_remote_code, options.revision)
