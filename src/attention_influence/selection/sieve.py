"""Rows chosen while they are scored, by the thresholds of an earlier selection, so that the corpus is read once."""

import gzip
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from attention_influence.corpus.filesystems import open_filesystem
from attention_influence.corpus.rows import Row
from attention_influence.corpus.sources import Compression, Source
from attention_influence.scoring.schema import SCORE_SCHEMA
from attention_influence.scoring.score_store import ScoreStore
from attention_influence.selection.added_columns import check_free, with_columns, with_keys
from attention_influence.selection.frozen import FrozenThresholds
from attention_influence.selection.ranking import open_ranking
from attention_influence.selection.ranking_key import tie_hashes

_ENDINGS: dict[Compression | None, str] = {None: ".jsonl", "gzip": ".jsonl.gz", "zstd": ".jsonl.zst"}


class Kept(NamedTuple):
    """Chosen rows of one source with their influence, as they will be written."""

    rows: pa.Table | list[bytes]
    compression: Compression | None


@dataclass(frozen=True)
class Sieve:
    """Chooses scored rows; pickles."""

    frozen: FrozenThresholds
    store: ScoreStore
    """That is being written, of which only the schema is looked at."""

    def sift(self, source: Source, rows: Sequence[Row], scores: pa.Table) -> Kept:
        """Of some rows of a source, read whole, those that `select --apply` would choose for these scores."""
        ranking = open_ranking(self.store, self.frozen.rank_by, self.frozen.seed)
        (batch,) = scores.combine_chunks().to_batches()
        values = ranking.values(batch)
        keys, hashes = ranking.keys(values), tie_hashes(batch.column("source"), batch.column("row").to_numpy())
        chosen = np.zeros(len(rows), dtype=np.bool_)
        domains = np.array(batch.column("domain").to_pylist(), dtype=object)
        for name in set(domains):
            if (cut := self.frozen.cut(name, ranking)) is not None:
                above = (keys > cut[0]) | ((keys == cut[0]) & (hashes <= np.uint64(cut[1])))
                chosen |= above & (domains == name)
        chosen &= ranking.ranked(batch, values)
        columns = {"influence": batch.column("influence"), ranking.column: values}
        added = pa.table(columns).filter(pa.array(chosen))
        whole = [rows[place].content for place in np.flatnonzero(chosen).tolist()]
        if source.format == "jsonl":
            return Kept(with_keys(source, whole, added), source.compression)
        if not whole:
            return Kept([], None)
        check_free(source, whole[0].schema.names, added.column_names)
        # Copied: a row that is only looked at would hold all that was read with it.
        table = pa.Table.from_batches(whole).take(pa.array(range(len(whole))))
        return Kept(with_columns(table, added), None)

    def files(self, kept: Sequence[Kept]) -> tuple[int, dict[str, bytes]]:
        """How many rows, and their files, one for each schema or compression: the end of the name → the content."""
        schemas: list[pa.Schema] = []
        tables: list[list[pa.Table]] = []
        lines: dict[Compression | None, list[bytes]] = {}
        for rows, compression in kept:
            if isinstance(rows, list):
                lines.setdefault(compression, []).extend(rows)
                continue
            place = next((at for at, schema in enumerate(schemas) if schema.equals(rows.schema)), len(schemas))
            if place == len(schemas):
                schemas.append(rows.schema)
                tables.append([])
            tables[place].append(rows.replace_schema_metadata(schemas[place].metadata))
        files = {f"{f'-{at}' if at else ''}.parquet": _parquet(parts) for at, parts in enumerate(tables)}
        files |= {_ENDINGS[how]: _text(some, how) for how, some in lines.items() if some}
        return sum(len(rows) for rows, _ in kept), files


def open_sieve(url: str, run: Mapping[str, Any], frozen: FrozenThresholds) -> Sieve:
    """The sieve of a run, begun or not, that writes to a store.

    Raises StoreError or UsageError when its scores are not comparable with the thresholds.
    """
    filesystem, _ = open_filesystem(url)
    empty = ScoreStore(url, filesystem, run, (), 0, {}, SCORE_SCHEMA)
    frozen.check(empty)
    open_ranking(empty, frozen.rank_by, frozen.seed)
    return Sieve(frozen, empty)


def record_of(frozen: FrozenThresholds) -> dict[str, Any]:
    """The thresholds as run.json keeps them: what another run must be given to go on with the store."""
    cuts = {
        domain: None if cut is None else [cut[0], f"{cut[1]:016x}"] for domain, cut in sorted(frozen.by_domain.items())
    }
    return {"rank_by": frozen.rank_by, "seed": frozen.seed, "thresholds": cuts}


def _parquet(tables: Sequence[pa.Table]) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.concat_tables(tables), sink, compression="zstd")
    return sink.getvalue()


def _text(lines: Sequence[bytes], compression: Compression | None) -> bytes:
    content = b"".join(line + b"\n" for line in lines)
    if compression == "gzip":
        return gzip.compress(content, 6, mtime=0)
    return zstandard.compress(content) if compression == "zstd" else content
