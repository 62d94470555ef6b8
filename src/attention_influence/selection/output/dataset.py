"""The chosen rows as a dataset: their own columns and order, plus their score and rank."""

import base64
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.corpus.json_lines import json_lines_at
from attention_influence.corpus.kinds import Compression
from attention_influence.corpus.parquet import parquet_rows_at
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorpusError, UsageError
from attention_influence.selection.output.columns import with_columns, with_keys
from attention_influence.selection.output.json_table import lines_of, table_of
from attention_influence.selection.output.parts import Output, OutputFormat, Part, ShardSet
from attention_influence.selection.output.schemas import conformed, unique_names
from attention_influence.selection.output.shards import LineShards, ParquetShards
from attention_influence.selection.output.staging import StagedFolder

LINES = "lines"
"""The kind of all shards of lines, however they are compressed: readers look at the names."""
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)

Inferred = tuple[list[tuple[str, pa.Schema]], str | None]
"""(URL of a file of JSON lines, a schema that some of its rows have); or the reason why they have none."""

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
    output: Output
    parquet: dict[str, ParquetShards] = field(default_factory=dict)
    lines: dict[Compression | None, LineShards] = field(default_factory=dict)
    all: list[tuple[str, ParquetShards | LineShards]] = field(default_factory=list)
    """Kind, shards"""

    def write(self, table: pa.Table, added: pa.Table) -> None:
        """Rows, into the first of the output's schemas that they fit, else in the columns that they have."""
        for place, schema in enumerate(self.output.schemas):
            if (same := conformed(table, schema)) is not None:
                self._of_schema(kind_of_schema(place), with_columns(same, added))
                return
        table = with_columns(table, added)
        self._of_schema(f"parquet {base64.b64encode(table.schema.serialize()).decode()}", table)

    def of_compression(self, compression: Compression | None) -> LineShards:
        if compression not in self.lines:
            self.lines[compression] = LineShards(self.folder, self._prefix(), compression, self.output.shard_bytes)
            self.all.append((LINES, self.lines[compression]))
        return self.lines[compression]

    def close(self) -> list[ShardSet]:
        """All sets, written to their ends."""
        for _, shards in self.all:
            shards.close()
        return [ShardSet(kind, shards.files) for kind, shards in self.all]

    def _of_schema(self, kind: str, table: pa.Table) -> None:
        if kind not in self.parquet:
            shards = ParquetShards(self.folder, self._prefix(), table.schema, self.output.shard_bytes)
            self.parquet[kind] = shards
            self.all.append((kind, shards))
        self.parquet[kind].write(table)

    def _prefix(self) -> str:
        return f"{len(self.all)}"


def kind_of_schema(place: int) -> str:
    """The kind of the shards of one of the output's schemas."""
    return f"parquet {place}"


def check_format(name: str | None, shard_bytes: int) -> None:
    """Raises UsageError for an output format that is not known, or shards of no size."""
    if name is not None and name not in OUTPUT_FORMATS:
        raise UsageError(f"--format is {name!r}; it is one of {', '.join(OUTPUT_FORMATS)}.")
    if shard_bytes < 1:
        raise UsageError(f"--shard-bytes is {shard_bytes}; it is a number of bytes, at least 1.")


def write_dataset(
    parts: Iterator[Part],
    spread: Callable[[Iterator[Part]], Iterator[list[ShardSet]]],
    kinds: Sequence[str],
    progress: Callable[[float], None],
) -> dict[str, dict[str, str]]:
    """For each kind of shards, its files: name under the folder of the parts → name in the dataset.

    `spread` calls `write_part` with each part; `kinds` come first; `progress` is told of the documents written.
    """
    named: deque[tuple[str, int]] = deque()

    def noted() -> Iterator[Part]:
        for part in parts:
            named.append((part.name, len(part.rows)))
            yield part

    sets: dict[str, dict[str, str]] = {kind: {} for kind in kinds}
    for written in spread(noted()):
        part_name, documents = named.popleft()
        for shards in written:
            of_kind = sets.setdefault(shards.kind, {})
            folder = folder_of([*sets].index(shards.kind))
            for file in shards.files:
                ending = file.partition(".")[2]
                of_kind[f"{part_name}/{file}"] = f"{folder}/{len(of_kind):05d}.{ending}"
        progress(documents)
    return {kind: files for kind, files in sets.items() if files}


def folder_of(place: int) -> str:
    """The folder of a kind of shards in the dataset."""
    return f"data-{place + 1}" if place else "data"


def inferred_schemas(part: Part) -> Inferred:
    """Of the chosen JSON lines of a part."""
    found: dict[tuple[str, bytes], pa.Schema] = {}
    for source, rows in _of_sources(part):
        if source.format == "parquet":
            continue
        try:
            for lines in _line_batches(source, rows["row"].to_numpy()):
                schema = table_of(lines, source.url).schema
                found.setdefault((source.url, schema.serialize().to_pybytes()), schema)
        except CorpusError as error:
            return [], str(error)
    return [(url, schema) for (url, _), schema in found.items()], None


def write_part(part: Part) -> list[ShardSet]:
    """The files of a part, in its folder; those that are there already if it was finished before.

    Rows come by source and then in the source's order. Raises CorpusError when a row cannot be read or written.
    """
    if (sets := part.finished()) is not None:
        return sets
    shards = _ShardSets(part.folder(), part.output)
    for run in _runs(part):
        if run.source.format == "parquet":
            _write_table_rows(run, shards)
        else:
            _write_lines(run, shards)
    sets = shards.close()
    part.finish(sets)
    return sets


def _write_table_rows(run: _Run, sets: _ShardSets) -> None:
    done = 0
    for rows, table in parquet_rows_at(run.source, run.rows):
        table = table.rename_columns(unique_names(table.column_names))
        added = run.added.slice(done, len(rows))
        done += len(rows)
        if sets.output.format in (None, "parquet"):
            sets.write(table, added)
        else:
            lines = lines_of(with_columns(table, added))
            sets.of_compression(_COMPRESSIONS[sets.output.format]).write(lines)


def _write_lines(run: _Run, sets: _ShardSets) -> None:
    done = 0
    target = sets.output.format
    for lines in _line_batches(run.source, run.rows):
        added = run.added.slice(done, len(lines))
        done += len(lines)
        if target == "parquet":
            sets.write(table_of(lines, run.source.url), added)
        else:
            compression = run.source.compression if target is None else _COMPRESSIONS[target]
            sets.of_compression(compression).write(with_keys(run.source, lines, added))


def _line_batches(source: Source, rows: npt.NDArray[np.int64]) -> Iterator[list[bytes]]:
    lines: list[bytes] = []
    size = 0
    for _, line in json_lines_at(source, rows.tolist()):
        lines.append(line)
        size += len(line)
        if len(lines) >= _LINES_AT_A_TIME or size >= _LINE_BYTES_AT_A_TIME:
            yield lines
            lines, size = [], 0
    if lines:
        yield lines


def _runs(part: Part) -> Iterator[_Run]:
    """The chosen rows source by source."""
    for source, rows in _of_sources(part):
        value = [rows["value"]] if len(part.output.added) > 2 else []
        added = pa.table([rows["influence"], *value, rows["rank"]], names=list(part.output.added))
        yield _Run(source, rows["row"].to_numpy(), added)


def _of_sources(part: Part) -> Iterator[tuple[Source, pa.Table]]:
    numbers = part.rows["source"].to_numpy()
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for (low, high), source in zip(pairwise(bounds), part.sources.values(), strict=True):
        yield source, part.rows.slice(low, high - low)
