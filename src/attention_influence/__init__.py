"""Picks pretraining data for language models by attention-head influence (AttentionInfluence, arXiv 2505.07293).

from attention_influence import Scorer, detect_heads, load_heads, load_model, read_scores, select

Library calls print nothing; what should be known is logged under `attention_influence`.
"""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attention_influence.heads.detect import detect_heads
    from attention_influence.heads.detect_for import detect_heads_for
    from attention_influence.heads.head_set import HeadSet, load_heads
    from attention_influence.model.loading.load import from_network, load_model
    from attention_influence.model.masked_network import masked_network
    from attention_influence.scoring.document_score import DocumentScore
    from attention_influence.scoring.explain import Explanation, explain
    from attention_influence.scoring.scorer import Scorer
    from attention_influence.scoring.steps import Step
    from attention_influence.selection.select import select
    from attention_influence.selection.step_weights import write_step_weights
    from attention_influence.store.reader import read_scores
    from attention_influence.tasks.items import Choices, Item

__all__ = [
    "Choices",
    "DocumentScore",
    "Explanation",
    "HeadSet",
    "Item",
    "Scorer",
    "Step",
    "detect_heads",
    "detect_heads_for",
    "explain",
    "from_network",
    "load_heads",
    "load_model",
    "masked_network",
    "read_scores",
    "select",
    "write_step_weights",
]

_HOMES = {
    "Choices": "tasks.items",
    "DocumentScore": "scoring.document_score",
    "Explanation": "scoring.explain",
    "HeadSet": "heads.head_set",
    "Item": "tasks.items",
    "Scorer": "scoring.scorer",
    "Step": "scoring.steps",
    "detect_heads": "heads.detect",
    "detect_heads_for": "heads.detect_for",
    "explain": "scoring.explain",
    "from_network": "model.loading.load",
    "load_heads": "heads.head_set",
    "load_model": "model.loading.load",
    "masked_network": "model.masked_network",
    "read_scores": "store.reader",
    "select": "selection.select",
    "write_step_weights": "selection.step_weights",
}

# Without it, Python prints the warnings of a program that has not set up logging.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used: selecting and reading must not wait for torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
