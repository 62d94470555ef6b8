"""The chosen rows with their ranks, sorted by key: DuckDB sorts on disk, so their number is bounded by disk alone."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.errors import StoreError
from attention_influence.scoring.score_store import ScoreStore
from attention_influence.selection.cuts import Cuts

_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class Threshold:
    """One domain's share in a selection.

    A ranked document is chosen when its value comes before `value` (is above it; for a ranking with the lowest first,
    below), or equals it and its tie hash is at most `tie_hash`.
    """

    domain: str
    value: float | int | None
    """The ranking's value of the last chosen document; None when none is."""
    tie_hash: int | None
    documents: int
    ranked: int
    """Documents whose scores are finite; the others are never chosen."""
    unranked: dict[str, int]
    """Reason → documents."""
    chosen: int
    tokens: int
    """Tokens of the ranked documents."""
    tokens_chosen: int

    def to_json(self) -> dict[str, Any]:
        record = {"threshold" if name == "value" else name: value for name, value in vars(self).items()}
        # As text: many readers of JSON round integers beyond 53 bits.
        record["tie_hash"] = None if self.tie_hash is None else f"{self.tie_hash:016x}"
        return record


@dataclass(frozen=True)
class ChosenRows:
    """The chosen rows on local disk, while `rank_chosen` is open."""

    path: Path
    thresholds: tuple[Threshold, ...]
    sources: tuple[str, ...]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """source, row, domain, n_tokens, influence, value and rank (1 = first in its domain), by source and row.

        Raises StoreError when a (source, row) comes twice.
        """
        last: tuple[str, int] | None = None
        with pq.ParquetFile(self.path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                sources, rows = batch.column("source"), batch.column("row").to_numpy()
                codes = sources.dictionary_encode().indices.to_numpy()
                doubled = np.flatnonzero((codes[1:] == codes[:-1]) & (rows[1:] == rows[:-1]))
                if last == (sources[0].as_py(), rows[0]) or len(doubled):
                    at = int(doubled[0]) if len(doubled) else 0
                    raise StoreError(
                        f"{sources[at].as_py()}, row {rows[at]:,}: scored in two units of the store, "
                        "so the counts cannot be trusted. Score into a new folder."
                    )
                last = (sources[-1].as_py(), rows[-1])
                yield batch


@contextmanager
def rank_chosen(store: ScoreStore, cuts: Cuts, memory_limit: str = "1GB") -> Iterator[ChosenRows]:
    """The chosen rows of a store, ranked; they lie in the system's temporary folder (TMPDIR) until the block ends."""
    with tempfile.TemporaryDirectory(prefix="attention-influence-") as folder:
        path = Path(folder) / "ranked.parquet"
        with duckdb.connect(str(Path(folder) / "chosen.duckdb")) as database:
            database.execute(f"SET memory_limit = '{memory_limit}'")
            database.execute(f"SET temp_directory = '{_quoted(Path(folder) / 'spill')}'")
            database.execute("SET preserve_insertion_order = false")
            _load(database, cuts.chosen(store))
            database.execute(
                "CREATE TABLE ranked AS SELECT *, "
                'row_number() OVER (PARTITION BY domain ORDER BY "key" DESC, tie_hash, source, "row") AS "rank" '
                "FROM chosen"
            )
            thresholds = _thresholds(database, cuts)
            names = database.execute("SELECT DISTINCT source FROM ranked ORDER BY source").fetchall()
            database.execute(
                'COPY (SELECT source, "row", domain, n_tokens, influence, "value", "rank" FROM ranked '
                f"ORDER BY source, \"row\") TO '{_quoted(path)}' (FORMAT parquet)"
            )
        yield ChosenRows(path, thresholds, tuple(name for (name,) in names))


def _load(database: duckdb.DuckDBPyConnection, batches: Iterator[pa.RecordBatch]) -> None:
    made = False
    for batch in batches:
        database.register("batch", pa.Table.from_batches([batch]))
        # The first batch, even an empty one, gives the table its types.
        database.execute("INSERT INTO chosen SELECT * FROM batch" if made else "CREATE TABLE chosen AS FROM batch")
        database.unregister("batch")
        made = True


def _thresholds(database: duckdb.DuckDBPyConnection, cuts: Cuts) -> tuple[Threshold, ...]:
    found = database.execute(
        'SELECT domain, count(*), sum(n_tokens)::BIGINT, arg_max("value", "rank"), arg_max(tie_hash, "rank") '
        "FROM ranked GROUP BY domain"
    ).fetchall()
    chosen = {row[0]: row[1:] for row in found}
    thresholds = []
    for name, domain in sorted(cuts.domains.items()):
        count, tokens, value, tie_hash = chosen.get(name, (0, 0, None, None))
        thresholds.append(
            Threshold(
                domain=name,
                value=value,
                tie_hash=tie_hash,
                documents=domain.documents,
                ranked=domain.ranked,
                unranked=dict(sorted(domain.unranked.items())),
                chosen=count,
                tokens=domain.tokens,
                tokens_chosen=tokens,
            )
        )
    return tuple(thresholds)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
