"""A model on its way to another process: by the name that it was loaded by, in the same few bytes each time.

Tools that cache by a hash rely on the bytes.
"""

from attention_influence.errors import ModelError
from attention_influence.model.language_model import Identity, LanguageModel
from attention_influence.model.loading.load import load_model

Reference = tuple[str, str, bool, str | None, str, Identity]
"""Arguments of `load_again`."""


def reference_to(model: LanguageModel) -> Reference:
    """How to load the model again. Raises ModelError for a model made in memory."""
    if model.loaded_by is None:
        raise ModelError(
            f"{model.identity.name} was made in memory and cannot be pickled. Save the network and its tokenizer with "
            "save_pretrained, and load them with load_model"
        )
    return *model.loaded_by, str(model.device), model.identity


def load_again(
    name: str, dtype: str, trust_remote_code: bool, commit: str | None, device: str, identity: Identity
) -> LanguageModel:
    """The same model. Raises ModelError when its weights or its tokenizer are no longer what they were."""
    model = load_model(name, dtype, device, trust_remote_code, commit)
    if (model.identity.weights, model.identity.tokenizer) != (identity.weights, identity.tokenizer):
        raise ModelError(
            f"{identity.name} is not the model that it was when this was pickled: its weights or its tokenizer have "
            "changed. Make the scorer again"
        )
    model.identity = identity  # from the hub it was loaded by its commit, not by the name that was given
    return model
