"""What the subcommands that load a model share."""

from dataclasses import dataclass, field
from typing import Literal

from attention_influence.config.options import SPELLINGS

Precision = Literal["bf16", "fp16", "fp32"]
OTHER_NAMES: dict[str, Precision] = {"auto": "bf16", "bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
"""Other names of a precision; in fingerprints it has its own."""


@dataclass(frozen=True, kw_only=True)
class LoadOptions:
    """How a model is loaded."""

    dtype: Precision = field(default="bf16", metadata={SPELLINGS: OTHER_NAMES})
    """precision of the model's weights: auto is bfloat16; float16 for GPUs that lack it; float32 is exact"""
    device: str | None = None
    """cpu, cuda, cuda:1 … (default: cuda if available, else cpu)"""
    revision: str | None = None
    """branch, tag or commit of a model on the hub (default: its newest); also as --model ID@REVISION"""
    trust_remote_code: bool = False
    """run code that the model brings along"""


@dataclass(frozen=True, kw_only=True)
class ModelOptions(LoadOptions):
    """Which model, and how it is loaded."""

    model: str
    """hub id, directory or .gguf file of a causal language model"""
