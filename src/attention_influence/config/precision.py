"""What verbs that load a model share."""

from typing import Literal

Precision = Literal["bf16", "fp32"]
