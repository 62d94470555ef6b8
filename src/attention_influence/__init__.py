"""Picks pretraining data for language models by attention-head influence (AttentionInfluence, arXiv 2505.07293).

from attention_influence import Scorer, detect_heads, load_heads, load_model, select
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attention_influence.heads.detect import detect_heads
    from attention_influence.heads.head_set import HeadSet, load_heads
    from attention_influence.model.loading import from_network, load_model
    from attention_influence.scoring.document_score import DocumentScore
    from attention_influence.scoring.scorer import Scorer
    from attention_influence.selection.select import select

__all__ = [
    "DocumentScore",
    "HeadSet",
    "Scorer",
    "detect_heads",
    "from_network",
    "load_heads",
    "load_model",
    "select",
]

_HOMES = {
    "DocumentScore": "scoring.document_score",
    "HeadSet": "heads.head_set",
    "Scorer": "scoring.scorer",
    "detect_heads": "heads.detect",
    "from_network": "model.loading",
    "load_heads": "heads.head_set",
    "load_model": "model.loading",
    "select": "selection.select",
}


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: selecting and reading must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
