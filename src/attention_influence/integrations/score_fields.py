"""The fields of a document's score for other tools."""

import math

from attention_influence.scoring.document_score import DocumentScore

_NONE: dict[str, float | int | str] = {
    "influence": math.nan,
    "loss_base": math.nan,
    "loss_ref": math.nan,
    "n_tokens": 0,
    "copy_share": math.nan,
    "repeat_share": math.nan,
    "compression": math.nan,
    "flag": "",
    "reason": "",
}
FIELDS = tuple(_NONE)


def score_fields(score: DocumentScore) -> dict[str, float | int | str]:
    """The FIELDS of a score by name; NaN, 0 tokens or "" where there is none.

    Never None: writers of Parquet take a column's type from its first values, and fail where those were all None.
    """
    values = {name: getattr(score, name) for name in FIELDS}
    return {name: _NONE[name] if value is None else value for name, value in values.items()}
