"""How rare a document's tokens are: a control for influence that knows nothing of order.

Tokens are counted once, when a run begins, over a bounded random sample of the corpus (`count_unigrams`). So a score
depends on the document and the run's record alone, not on how the run was cut into units.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from attention_influence.corpus.sources import Source

Rows = Mapping[tuple[str, str], NDArray[np.int64]]
"""(Name, version) of a source → start, end, start, end … of ranges of its row keys, ascending."""


@dataclass(frozen=True)
class Unigrams:
    """How often each token comes in a sample, and whose tokens were counted."""

    counts: NDArray[np.int64]
    """[highest token id + 1]."""
    rows: Rows

    def surprisal(self, tokens: Sequence[int], counted: bool) -> float | None:
        """Mean −ln p(token) of a document, in nats/token; None for one without tokens.

        p is a token's relative frequency in the sample, without the document itself where it was counted, so that its
        own repetitions do not make its tokens common. Each token that was counted counts once more, and so do all
        others together, so that p is never zero.
        """
        if not len(tokens):
            return None
        seen, own = np.unique(np.asarray(tokens), return_counts=True)
        known = np.minimum(seen, len(self.counts))  # the last of the padded counts is that of every other token
        others = np.append(self.counts, 0)[known] - (own if counted else 0)
        total = self.counts.sum() - (own.sum() if counted else 0)
        probability = (others + 1) / (total + np.count_nonzero(self.counts) + 1)
        return float(-(own * np.log(probability)).sum() / own.sum())

    def holds(self, source: Source, row: int) -> bool:
        """Whether the row's tokens were counted."""
        ranges = self.rows.get((source.name, source.version))
        return ranges is not None and int(np.searchsorted(ranges, row, side="right")) % 2 == 1

    def to_bytes(self) -> bytes:
        """A Parquet file of token and count, with the rows in its metadata; equal unigrams give equal bytes."""
        (tokens,) = np.nonzero(self.counts)
        rows = {json.dumps(key): ranges.tolist() for key, ranges in sorted(self.rows.items())}
        table = pa.table({"token": tokens, "count": self.counts[tokens]}).replace_schema_metadata(
            {"rows": json.dumps(rows)}
        )
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        return sink.getvalue()


def unigrams_from_bytes(content: bytes) -> Unigrams:
    """What `to_bytes` wrote. Raises ValueError, KeyError or ArrowException for anything else."""
    table = pq.read_table(io.BytesIO(content))
    tokens = table["token"].to_numpy()
    counts = np.zeros(tokens.max(initial=-1) + 1, dtype=np.int64)
    counts[tokens] = table["count"].to_numpy()
    rows = json.loads((table.schema.metadata or {})[b"rows"])
    return Unigrams(counts, {_key(name): np.array(ranges, dtype=np.int64) for name, ranges in rows.items()})


def _key(name: str) -> tuple[str, str]:
    source, version = json.loads(name)
    return source, version


def digest(content: bytes) -> str:
    """By which a run's record knows the file."""
    return hashlib.sha256(content).hexdigest()
