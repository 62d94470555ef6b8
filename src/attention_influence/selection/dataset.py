"""The chosen rows as a dataset: their own columns and order, plus their score and rank."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.corpus.json_lines import json_lines_at, parse_object
from attention_influence.corpus.parquet import parquet_rows_at
from attention_influence.corpus.sources import Compression, Source
from attention_influence.errors import CorpusError, UsageError
from attention_influence.selection.added_columns import added_names, check_free, with_columns, with_keys
from attention_influence.selection.json_table import fitted, lines_of, table_of
from attention_influence.selection.publish import StagedFolder
from attention_influence.selection.ranks import ChosenRows
from attention_influence.selection.shards import LineShards, ParquetShards

OutputFormat = Literal["parquet", "jsonl", "jsonl.gz", "jsonl.zst"]
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)

_COMPRESSIONS: dict[str, Compression | None] = {"jsonl": None, "jsonl.gz": "gzip", "jsonl.zst": "zstd"}
# Chosen rows of one file that are looked up in one reading of it.
_LOOKUP_ROWS = 4 << 20
_LINES_AT_A_TIME = 1024
_LINE_BYTES_AT_A_TIME = 16 << 20


class _Run(NamedTuple):
    """Chosen rows of one source, ascending, and what is added to each."""

    source: Source
    rows: npt.NDArray[np.int64]
    added: pa.Table


@dataclass
class _ShardSets:
    """The open sets of shards: one for each Parquet schema, one for each compression of lines."""

    folder: StagedFolder
    shard_bytes: int
    parquet: list[tuple[pa.Schema, ParquetShards]] = field(default_factory=list)
    lines: dict[Compression | None, LineShards] = field(default_factory=dict)
    all: list[ParquetShards | LineShards] = field(default_factory=list)

    def of_schema(self, schema: pa.Schema) -> ParquetShards:
        for known, shards in self.parquet:
            if known.equals(schema):
                return shards
        opened = ParquetShards(self.folder, self._prefix(), schema, self.shard_bytes)
        self.parquet.append((schema, opened))
        self.all.append(opened)
        return opened

    def of_compression(self, compression: Compression | None) -> LineShards:
        if compression not in self.lines:
            self.lines[compression] = LineShards(self.folder, self._prefix(), compression, self.shard_bytes)
            self.all.append(self.lines[compression])
        return self.lines[compression]

    def _prefix(self) -> str:
        return f"data-{len(self.all) + 1}" if self.all else "data"


def check_format(name: str | None, shard_bytes: int) -> None:
    """Raises UsageError for an output format that is not known, or shards of no size."""
    if name is not None and name not in OUTPUT_FORMATS:
        raise UsageError(f"--format is {name!r}; it is one of {', '.join(OUTPUT_FORMATS)}.")
    if shard_bytes < 1:
        raise UsageError(f"--shard-bytes is {shard_bytes}; it is a number of bytes, at least 1.")


def write_dataset(
    chosen: ChosenRows,
    sources: Mapping[str, Source],
    folder: StagedFolder,
    value_name: str,
    output_format: OutputFormat | None,
    shard_bytes: int,
) -> list[list[str]]:
    """The names of the files written: one list for each set of shards that share a schema.

    Rows come by source and then in the source's order. Without `output_format` Parquet stays Parquet and JSON lines
    stay what they are, compressed as they were. Raises CorpusError when a row cannot be read or written.
    """
    sets = _ShardSets(folder, shard_bytes)
    for run in _runs(chosen, sources, value_name):
        # Parquet names its own; for lines the input's own compression.
        target = output_format or ("parquet" if run.source.format == "parquet" else None)
        if run.source.format == "parquet":
            _write_table_rows(run, sets, target)
        else:
            _write_lines(run, sets, target)
    for shards in sets.all:
        shards.close()
    return [shards.files for shards in sets.all]


def _write_table_rows(run: _Run, sets: _ShardSets, target: str | None) -> None:
    done = 0
    for rows, table in parquet_rows_at(run.source, run.rows):
        check_free(run.source, table.column_names, run.added.column_names)
        table = with_columns(table, run.added.slice(done, len(rows)))
        done += len(rows)
        if target == "parquet":
            sets.of_schema(table.schema).write(table)
        else:
            assert target is not None
            sets.of_compression(_COMPRESSIONS[target]).write(lines_of(table, run.source.url))


def _write_lines(run: _Run, sets: _ShardSets, target: str | None) -> None:
    done = 0
    for lines in _line_batches(run):
        added = run.added.slice(done, len(lines))
        done += len(lines)
        if target != "parquet":
            compression = run.source.compression if target is None else _COMPRESSIONS[target]
            sets.of_compression(compression).write(with_keys(run.source, lines, added))
            continue
        objects = []
        for line in lines:
            record, reason = parse_object(line)
            if record is None:
                raise CorpusError(f"{run.source.url}: a chosen line is {reason}. Score the file again.")
            objects.append(record)
        table = table_of(objects, run.source.url)
        check_free(run.source, table.column_names, added.column_names)
        _write_inferred(sets, with_columns(table, added))


def _write_inferred(sets: _ShardSets, table: pa.Table) -> None:
    """Into the newest set whose schema holds the table; types are inferred from a batch, so they vary between some."""
    for schema, shards in reversed(sets.parquet):
        if (same := fitted(table, schema)) is not None:
            shards.write(same)
            return
    sets.of_schema(table.schema).write(table)


def _line_batches(run: _Run) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    size = 0
    for _, line in json_lines_at(run.source, run.rows.tolist()):
        lines.append(line)
        size += len(line)
        if len(lines) >= _LINES_AT_A_TIME or size >= _LINE_BYTES_AT_A_TIME:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _runs(chosen: ChosenRows, sources: Mapping[str, Source], value_name: str) -> Iterator[_Run]:
    """The chosen rows source by source, a large source in several runs."""
    held: list[pa.RecordBatch] = []
    count = 0
    for part in _by_source(chosen):
        if held and (part.column("source")[0] != held[0].column("source")[0] or count >= _LOOKUP_ROWS):
            yield _run(held, sources, value_name)
            held, count = [], 0
        held.append(part)
        count += part.num_rows
    if held:
        yield _run(held, sources, value_name)


def _by_source(chosen: ChosenRows) -> Iterator[pa.RecordBatch]:
    for batch in chosen.batches():
        codes = batch.column("source").dictionary_encode().indices.to_numpy()
        bounds = [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist(), batch.num_rows]
        for low, high in pairwise(bounds):
            yield batch.slice(low, high - low)


def _run(parts: Sequence[pa.RecordBatch], sources: Mapping[str, Source], value_name: str) -> _Run:
    table = pa.Table.from_batches(parts)
    columns = {"influence": table["influence"], value_name: table["value"]}
    columns = {name: columns[name] for name in dict.fromkeys(columns)}
    added = pa.table([*columns.values(), table["rank"].cast(pa.int64())], names=added_names(value_name))
    return _Run(sources[table["source"][0].as_py()], table["row"].to_numpy(), added)
