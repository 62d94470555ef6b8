"""The chosen rows as a dataset: their own columns and order, plus their score and rank."""

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.corpus.formats import TableFormat, table_format
from attention_influence.corpus.json_lines import json_lines_at
from attention_influence.corpus.kinds import Compression
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorpusError, UsageError
from attention_influence.selection.output.columns import with_columns, with_keys
from attention_influence.selection.output.json_table import lines_of, table_of
from attention_influence.selection.output.parts import Output, OutputFormat, Part, WrittenPart
from attention_influence.selection.output.schemas import conformed, unique_names
from attention_influence.selection.output.shards import LineShards, ParquetShards
from attention_influence.selection.output.staging import StagedFolder

LINES = "lines"
"""The kind of all shards of lines, however they are compressed: readers look at the names."""
OUTPUT_FORMATS: tuple[str, ...] = get_args(OutputFormat)

Rows = npt.NDArray[np.int64]
Inferred = tuple[list[tuple[str, pa.Schema]], str | None]
"""(URL of a file of JSON lines, a schema that some of its rows have); or the reason why they have none."""

_COMPRESSIONS: dict[str, Compression | None] = {"jsonl": None, "jsonl.gz": "gzip", "jsonl.zst": "zstd"}
_LINES_AT_A_TIME = 1024
_LINE_BYTES_AT_A_TIME = 16 << 20


class _Shards:
    """The open shards of a part: a set for each Parquet schema and for each compression of lines."""

    def __init__(self, folder: StagedFolder, output: Output) -> None:
        self.output = output
        self._folder = folder
        self._parquet: dict[str, ParquetShards] = {}
        self._lines: dict[Compression | None, LineShards] = {}
        self._all: list[tuple[str, ParquetShards | LineShards]] = []
        """(kind, shards)"""

    def write_table(self, table: pa.Table, added: pa.Table) -> None:
        """Rows, into the first of the output's schemas that they fit, else in the columns that they have."""
        for place, schema in enumerate(self.output.schemas):
            if (same := conformed(table, schema)) is not None:
                kind, table = kind_of_schema(place), with_columns(same, added)
                break
        else:
            table = with_columns(table, added)
            kind = f"parquet {base64.b64encode(table.schema.serialize()).decode()}"
        if kind not in self._parquet:
            self._parquet[kind] = ParquetShards(self._folder, *self._next(), table.schema)
            self._all.append((kind, self._parquet[kind]))
        self._parquet[kind].write(table)

    def write_lines(self, lines: Sequence[bytes], compression: Compression | None) -> None:
        if compression not in self._lines:
            self._lines[compression] = LineShards(self._folder, *self._next(), compression)
            self._all.append((LINES, self._lines[compression]))
        self._lines[compression].write(lines)

    def close(self) -> list[tuple[str, str]]:
        """(kind, name) of all files, written to their ends."""
        for _, shards in self._all:
            shards.close()
        return [(kind, file) for kind, shards in self._all for file in shards.files]

    def _next(self) -> tuple[str, int]:
        return str(len(self._all)), self.output.shard_bytes


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
    parts: Iterable[WrittenPart], kinds: Sequence[str], progress: Callable[[float], None]
) -> dict[str, dict[str, str]]:
    """For each kind of shards, its files: name under the folder of the parts → name in the dataset.

    `kinds` come first; `progress` is called with the documents written.
    """
    sets: dict[str, dict[str, str]] = {kind: {} for kind in kinds}
    for part in parts:
        for kind, file in part.files:
            of_kind = sets.setdefault(kind, {})
            folder = folder_of([*sets].index(kind))
            of_kind[f"{part.name}/{file}"] = f"{folder}/{len(of_kind):05d}.{file.partition('.')[2]}"
        progress(part.documents)
    return {kind: files for kind, files in sets.items() if files}


def folder_of(place: int) -> str:
    """The folder of a kind of shards in the dataset."""
    return f"data-{place + 1}" if place else "data"


def inferred_schemas(part: Part) -> Inferred:
    """Of the chosen JSON lines of a part."""
    schemas: dict[tuple[str, bytes], pa.Schema] = {}
    for source, rows in _of_sources(part):
        if table_format(source) is not None:
            continue
        try:
            for lines in _line_batches(source, rows["row"].to_numpy()):
                schema = table_of(lines, source.url).schema
                schemas.setdefault((source.url, schema.serialize().to_pybytes()), schema)
        except CorpusError as error:
            return [], str(error)
    return [(url, schema) for (url, _), schema in schemas.items()], None


def write_part(part: Part) -> WrittenPart:
    """The files of a part, in its folder; those that are there already if it was finished before.

    Rows come by source and then in the source's order. Raises CorpusError when a row cannot be read or written.
    """
    if (written := part.finished()) is not None:
        return written
    shards = _Shards(part.folder(), part.output)
    _write_rows(part, shards)
    return part.finish(shards.close())


def _write_rows(part: Part, shards: _Shards) -> None:
    for source, rows in _of_sources(part):
        value = [rows["value"]] if len(part.output.added) > 2 else []
        added = pa.table([rows["influence"], *value, rows["rank"]], names=list(part.output.added))
        keys = rows["row"].to_numpy()
        if (format_ := table_format(source)) is None:
            _write_lines(source, keys, added, shards)
        else:
            _write_table_rows(format_, source, keys, added, shards)


def _write_table_rows(format_: TableFormat, source: Source, rows: Rows, added: pa.Table, shards: _Shards) -> None:
    """Rows of a table, ascending, with what is added to each."""
    done = 0
    for some, table in format_.tables_at(source, rows):
        table = table.rename_columns(unique_names(table.column_names))
        of_some = added.slice(done, len(some))
        done += len(some)
        if shards.output.format in (None, "parquet"):
            shards.write_table(table, of_some)
        else:
            shards.write_lines(lines_of(with_columns(table, of_some)), _COMPRESSIONS[shards.output.format])


def _write_lines(source: Source, rows: Rows, added: pa.Table, shards: _Shards) -> None:
    done = 0
    target = shards.output.format
    for lines in _line_batches(source, rows):
        of_some = added.slice(done, len(lines))
        done += len(lines)
        if target == "parquet":
            shards.write_table(table_of(lines, source.url), of_some)
        else:
            compression = source.compression if target is None else _COMPRESSIONS[target]
            shards.write_lines(with_keys(source, lines, of_some), compression)


def _line_batches(source: Source, rows: Rows) -> Iterator[list[bytes]]:
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


def _of_sources(part: Part) -> Iterator[tuple[Source, pa.Table]]:
    numbers = part.rows["source"].to_numpy()
    bounds = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
    for (low, high), source in zip(pairwise(bounds), part.sources.values(), strict=True):
        yield source, part.rows.slice(low, high - low)
