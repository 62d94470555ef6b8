"""Networks by size: llama configurations, each with a learning rate that suits its size.

A name is about the number of parameters with a vocabulary of the usual size for it. From 1b on the two embeddings are
separate. Learning rates fall with width, as in published runs of these sizes; give your own in `recipe`.
"""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A llama network."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    learning_rate: float
    tied: bool = True

    def configuration(self) -> dict[str, Any]:
        """For transformers' `AutoConfig.for_model`."""
        return {
            "model_type": "llama",
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.heads,
            "intermediate_size": self.feed_forward,
            "tie_word_embeddings": self.tied,
        }


PRESETS = {
    "1m": Preset(128, 4, 4, 384, 4e-3),
    "3m": Preset(192, 6, 6, 512, 3e-3),
    "10m": Preset(320, 8, 5, 864, 2e-3),
    "20m": Preset(384, 10, 6, 1024, 1.5e-3),
    "50m": Preset(512, 14, 8, 1408, 1e-3),
    "100m": Preset(768, 12, 12, 2048, 8e-4),
    "400m": Preset(1024, 24, 16, 2816, 6e-4),
    "1b": Preset(2048, 20, 16, 5504, 4e-4, tied=False),
    "3b": Preset(2560, 32, 20, 6912, 4e-4, tied=False),
    "7b": Preset(4096, 32, 32, 11008, 4e-4, tied=False),
}
"""By name, the smallest first."""

OTHER_LEARNING_RATE = 4e-4
"""Of a model that is no preset."""
