"""The row of a score store: one per input row, in source order. No torch here."""

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
