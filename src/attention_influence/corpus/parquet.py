"""Parquet: rows are told by their index, and read by row group (see `formats`)."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.corpus.content import head_of, other_than_parquet
from attention_influence.corpus.plain_types import plain_schema, plain_table
from attention_influence.corpus.rows import DEFAULT_DOMAIN, UNKNOWN_DOMAIN, Columns, Row, missing_column, readable_text
from attention_influence.corpus.slices import Block
from attention_influence.corpus.sources import Source, open_source
from attention_influence.corpus.values import Keys, ValueKind, labels_of, values_of
from attention_influence.errors import CorpusError, CorruptFile, NoDocuments
from attention_influence.storage.filesystems import BLOCK_BYTES

# Rows decoded at a time are chosen from the row group's mean row size, so that a batch is about this large.
_BATCH_BYTES = 8 << 20
_MAX_BATCH_ROWS = 1024

KEY = "a row's number"
IS_COMPRESSED = True


def blocks(source: Source) -> list[Block]:
    """The row groups and their uncompressed sizes, from the footer alone."""
    with _open(source) as file:
        return _row_groups(file, file.schema_arrow.names)


def schema_of(source: Source) -> pa.Schema:
    """The Arrow schema, plain, as `tables_at` yields it."""
    with _open(source) as file:
        return plain_schema(file.schema_arrow)


def column_names(source: Source) -> list[str]:
    """The names of the top-level columns."""
    return list(schema_of(source).names)


def rows_in(source: Source, columns: Columns, start: int = 0, end: int | None = None) -> Iterator[Row]:
    """The rows with an index in [start, end), in order; of row groups that overlap, the named columns are read.

    Raises CorpusError for a column that is not there, CorruptFile for what is not (or is no longer) Parquet.
    """
    with _open(source) as file:
        present = file.schema_arrow.names
        named = columns.named()
        missing = {option: name for option, name in named.items() if name not in present}
        if missing:
            raise missing_column(source.url, missing, present)
        _check_single(source, file, named.values())
        read = sorted(set(named.values()))
        for number, group in enumerate(_row_groups(file, read)):
            if group.start + group.keys <= start or (end is not None and group.start >= end):
                continue
            for first, batch in _batches(source, file, number, group, read):
                low = max(start - first, 0)
                high = batch.num_rows if end is None else min(end - first, batch.num_rows)
                if low < high:
                    yield from _rows_of(batch.slice(low, high - low), first + low, columns, source.domain)
                if end is not None and first + batch.num_rows >= end:
                    break


def values_at(source: Source, keys: Keys, column: str, kind: ValueKind) -> Iterator[tuple[list[int], list[object]]]:
    """(row indexes, their values of a column) for ascending row indexes; None where there is no such column."""
    for indexes, table in tables_at(source, keys, [column]):
        is_there = column in table.column_names
        yield indexes, values_of(table[column].combine_chunks(), kind) if is_there else [None] * len(indexes)


def tables_at(source: Source, keys: Keys, columns: Sequence[str] | None = None) -> Iterator[tuple[list[int], pa.Table]]:
    """(row indexes, those rows) for ascending row indexes, all columns or the named; opens only row groups with some.

    Columns are plain (see `plain_types`). Raises CorpusError for an index beyond the file.
    """
    wanted = np.asarray(keys, dtype=np.int64)
    with _open(source) as file:
        if len(wanted) and (wanted[-1] >= file.metadata.num_rows or wanted[0] < 0):
            raise CorpusError(
                f"{source.url}: row {wanted[-1]:,} is asked for, but the file has {file.metadata.num_rows:,} rows. "
                "It is not the file that was scored; score it again."
            )
        read = None if columns is None else list(columns)
        _check_single(source, file, read or [])
        for number, group in enumerate(_row_groups(file, read or file.schema_arrow.names)):
            in_group = _between(wanted, group.start, group.start + group.keys)
            if not len(in_group):
                continue
            for first, batch in _batches(source, file, number, group, read):
                chosen = _between(in_group, first, first + batch.num_rows)
                if len(chosen):
                    plain = plain_table(pa.Table.from_batches([batch]))
                    yield chosen.tolist(), plain.take(pa.array(chosen - first))
                if first + batch.num_rows > in_group[-1]:
                    break


@contextmanager
def _open(source: Source) -> Iterator[pq.ParquetFile]:
    with open_source(source, sequential=False) as raw:
        try:
            # Without pre-buffering: it would hold every needed column of a row group at once, however large.
            file = pq.ParquetFile(raw, buffer_size=BLOCK_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            broken = _broken(source, "its footer (a file cut short has none)", error)
            if isinstance(broken, CorruptFile) and (what := other_than_parquet(head_of(source.url))) is not None:
                raise NoDocuments(f"{source.url}: cannot be read as Parquet: it is {what}.") from error
            raise broken from error
        yield file


def _check_single(source: Source, file: pq.ParquetFile, names: Iterable[str]) -> None:
    if twice := [name for name in names if file.schema_arrow.names.count(name) > 1]:
        raise CorpusError(f"{source.url}: there are two columns {twice[0]!r}. Write the file with one of them.")


def _row_groups(file: pq.ParquetFile, names: Sequence[str]) -> list[Block]:
    metadata = file.metadata
    groups = []
    start = 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = [group.column(i) for i in range(group.num_columns)]
        size = sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if any(chunk.path_in_schema == name or chunk.path_in_schema.startswith(f"{name}.") for name in names)
        )
        groups.append(Block(start, group.num_rows, size))
        start += group.num_rows
    return groups


def _batches(
    source: Source, file: pq.ParquetFile, number: int, group: Block, names: list[str] | None
) -> Iterator[tuple[int, pa.RecordBatch]]:
    """(index of its first row, batch) over one row group, decoded a few megabytes at a time."""
    mean = max(group.size // max(group.keys, 1), 1)
    size = min(max(_BATCH_BYTES // mean, 1), _MAX_BATCH_ROWS)
    first = group.start
    try:
        for batch in file.iter_batches(batch_size=size, row_groups=[number], columns=names, use_threads=False):
            yield first, batch
            first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise _broken(source, f"row group {number}, row {first:,} or soon after", error) from error
    if first != group.start + group.keys:
        raise _corrupt(source, f"row group {number}, row {first:,}", "fewer rows than its footer says")


def _rows_of(batch: pa.RecordBatch, first: int, columns: Columns, source_domain: str | None) -> Iterator[Row]:
    texts = values_of(batch.column(columns.text), "text")
    ids = labels_of(batch.column(columns.id)) if columns.id is not None else [None] * batch.num_rows
    domains: list[str | None] = [source_domain or DEFAULT_DOMAIN] * batch.num_rows
    if columns.domain is not None:
        domains = labels_of(batch.column(columns.domain))
    for at, (value, identity, domain) in enumerate(zip(texts, ids, domains, strict=True)):
        text, reason = readable_text(value)
        yield Row(first + at, text, identity, domain or UNKNOWN_DOMAIN, reason)


def _between(ascending: npt.NDArray[np.int64], low: int, high: int) -> npt.NDArray[np.int64]:
    first, last = np.searchsorted(ascending, [low, high])
    return ascending[first:last]


def _broken(source: Source, where: str, error: Exception) -> Exception:
    # Arrow reports damage as a plain OSError without a number; those of disks and networks say nothing about the file.
    if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
        return error
    return _corrupt(source, where, " ".join(str(error).split()))


def _corrupt(source: Source, where: str, error: str) -> CorruptFile:
    return CorruptFile(
        f"{source.url}: cannot be read as Parquet at {where}: {error.rstrip('.')}. "
        "Fetch or write the file again; the other files are unaffected."
    )
