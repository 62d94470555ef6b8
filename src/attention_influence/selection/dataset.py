"""The chosen rows as a dataset: their own columns and order, plus their score and rank."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.corpus.json_lines import json_lines_at, parse_object
from attention_influence.corpus.parquet import parquet_rows_at
from attention_influence.corpus.sources import Compression, Source
from attention_influence.errors import CorpusError, UsageError
from attention_influence.selection.added_columns import added_names, check_free, with_columns, with_keys
from attention_influence.selection.json_table import fitted, lines_of, table_of
from attention_influence.selection.parts import OutputFormat, Part, ShardSet, schema_kind
from attention_influence.selection.publish import StagedFolder
from attention_influence.selection.shards import LineShards, ParquetShards

OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)

_COMPRESSIONS: dict[str, Compression | None] = {"jsonl": None, "jsonl.gz": "gzip", "jsonl.zst": "zstd"}
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

    def close(self) -> list[ShardSet]:
        """All sets, written to their ends."""
        for shards in self.all:
            shards.close()
        kinds = {id(shards): schema_kind(schema) for schema, shards in self.parquet}
        kinds |= {id(shards): f"lines {compression}" for compression, shards in self.lines.items()}
        return [ShardSet(kinds[id(shards)], shards.files) for shards in self.all]

    def _prefix(self) -> str:
        return f"{len(self.all)}"


def check_format(name: str | None, shard_bytes: int) -> None:
    """Raises UsageError for an output format that is not known, or shards of no size."""
    if name is not None and name not in OUTPUT_FORMATS:
        raise UsageError(f"--format is {name!r}; it is one of {', '.join(OUTPUT_FORMATS)}.")
    if shard_bytes < 1:
        raise UsageError(f"--shard-bytes is {shard_bytes}; it is a number of bytes, at least 1.")


def write_dataset(
    parts: Iterator[Part],
    spread: Callable[[Iterator[Part]], Iterator[list[ShardSet]]],
    progress: Callable[[float], None],
) -> list[dict[str, str]]:
    """For each set of shards that fit together, its files: name under the folder of the parts → name in the dataset.

    `spread` calls `write_part` with each part; `progress` is told of the documents written.
    """
    named: deque[tuple[str, int]] = deque()

    def noted() -> Iterator[Part]:
        for part in parts:
            named.append((part.name, len(part.rows)))
            yield part

    sets: dict[str, dict[str, str]] = {}
    for written in spread(noted()):
        part_name, documents = named.popleft()
        for shards in written:
            of_kind = sets.setdefault(shards.kind, {})
            folder = f"data-{place}" if (place := [*sets].index(shards.kind) + 1) > 1 else "data"
            for file in shards.files:
                ending = file.partition(".")[2]
                of_kind[f"{part_name}/{file}"] = f"{folder}/{len(of_kind):05d}.{ending}"
        progress(documents)
    return [*sets.values()]


def write_part(part: Part) -> list[ShardSet]:
    """The files of a part, in its folder; those that are there already if it was finished before.

    Rows come by source and then in the source's order. Without a format Parquet stays Parquet and JSON lines stay what
    they are, compressed as they were. Raises CorpusError when a row cannot be read or written.
    """
    if (sets := part.finished()) is not None:
        return sets
    shards = _ShardSets(part.folder(), part.output.shard_bytes)
    for run in _runs(part):
        # Parquet names its own; for lines the input's own compression.
        target = part.output.format or ("parquet" if run.source.format == "parquet" else None)
        if run.source.format == "parquet":
            _write_table_rows(run, shards, target)
        else:
            _write_lines(run, shards, target)
    sets = shards.close()
    part.finish(sets)
    return sets


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


def _runs(part: Part) -> Iterator[_Run]:
    """The chosen rows source by source."""
    numbers = part.rows["source"].to_numpy()
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for (low, high), source in zip(pairwise(bounds), part.sources.values(), strict=True):
        rows = part.rows.slice(low, high - low)
        columns = {"influence": rows["influence"], part.output.value_name: rows["value"]}
        added = pa.table([*columns.values(), rows["rank"]], names=added_names(part.output.value_name))
        yield _Run(source, rows["row"].to_numpy(), added)
