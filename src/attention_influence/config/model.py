"""What the subcommands that load a model share."""

from dataclasses import dataclass, field
from typing import Literal

from attention_influence.options import RARELY

Precision = Literal["bf16", "fp32"]


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded."""

    dtype: Precision = "bf16"
    """precision of the model's weights; fp32 for scores that are right to the last digit"""
    device: str | None = None
    """cpu, cuda, cuda:1 … (default: cuda if available, else cpu)"""
    revision: str | None = None
    """branch, tag or commit of a model on the hub (default: its newest); also as --model ID@REVISION"""
    trust_remote_code: bool = field(default=False, metadata=RARELY)
    """run code that the model brings along"""


@dataclass(frozen=True, kw_only=True)
class ModelOptions(LoadOptions):
    """Which model, and how it is loaded."""

    model: str
    """hub id, directory or .gguf file of a causal language model"""
