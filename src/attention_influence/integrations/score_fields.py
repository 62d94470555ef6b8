"""What other tools are told of a document's score."""

from typing import Any

from attention_influence.scoring.document_score import DocumentScore

FIELDS = (
    *("influence", "loss_base", "loss_ref", "n_tokens", "copy_share", "repeat_share", "compression"),
    *("flag", "reason"),
)


def score_fields(score: DocumentScore) -> dict[str, Any]:
    """The FIELDS of a score, by name; None where the document has none."""
    return {name: getattr(score, name) for name in FIELDS}
