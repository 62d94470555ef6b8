"""The row of a score store: one per input row, in source order. No torch here."""

from collections.abc import Sequence

import pyarrow as pa

SCORE_SCHEMA = pa.schema(
    [
        # The key: the file's name under its root, and the row's index (Parquet) or byte offset (JSON lines).
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("domain", pa.string(), nullable=False),
        pa.field("n_chars", pa.int64()),
        pa.field("n_tokens", pa.int64()),
        pa.field("n_scored", pa.int64()),
        pa.field("n_windows", pa.int32()),
        # Nats/token.
        pa.field("loss_base", pa.float32()),
        pa.field("loss_ref", pa.float32()),
        pa.field("influence", pa.float32()),
        pa.field("copy_share", pa.float32()),
        pa.field("repeat_share", pa.float32()),
        pa.field("compression", pa.float32()),
        # Nats/token, under the token frequencies of a sample of the corpus (see `unigrams`).
        pa.field("unigram_surprisal", pa.float32()),
        # Why to read the row with care, comma-separated; null when there is nothing to say.
        pa.field("flag", pa.string()),
        # Why the row has no score; null when it has one.
        pa.field("reason", pa.string()),
    ]
)

STEP_FIELDS = (
    # One entry for each step; null where the row has no score. Step i is text[step_ends[i - 1] : step_ends[i]], its
    # characters those of a Python string; the first begins at 0.
    pa.field("step_ends", pa.list_(pa.int32())),
    # Tokens that begin in the step and have a loss; they add up to n_scored.
    pa.field("step_n_scored", pa.list_(pa.int32())),
    # Mean of loss_ref − loss_base over them, nats/token; null where there are none. In float64, so that the means
    # weighted by step_n_scored add up to n_scored times the document's rise, of which the losses above hold float32.
    pa.field("step_rise", pa.list_(pa.float64())),
)
"""Only in stores that were begun with steps."""


SCREENING_FIELDS = (
    # What was expected before the model was asked; null in domains that are not screened. Rows of reason screened_out
    # have nothing else: `influence` is always exact.
    pa.field("predicted_influence", pa.float32()),
)
"""Only in stores that are screened."""

STEP_COLUMNS = tuple(field.name for field in STEP_FIELDS)


def score_schema(steps: Sequence[str] = (), *, screened: bool = False) -> pa.Schema:
    """SCORE_SCHEMA, with STEP_FIELDS and SCREENING_FIELDS at its end in a store that has these."""
    return pa.schema([*SCORE_SCHEMA, *(STEP_FIELDS if steps else ()), *(SCREENING_FIELDS if screened else ())])
