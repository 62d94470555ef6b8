"""Rows of a source, whatever its format."""

from collections.abc import Iterator

from attention_influence.corpus.json_lines import MAX_LINE_BYTES, first_keys, json_rows
from attention_influence.corpus.parquet import parquet_rows, parquet_schema
from attention_influence.corpus.rows import Columns, Row, in_batches
from attention_influence.corpus.sources import Source


def read_rows(
    source: Source,
    columns: Columns,
    start: int = 0,
    end: int | None = None,
    *,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[list[Row]]:
    """Lists of rows, in order, whose key lies in [start, end): row indexes (Parquet) or byte offsets (JSON lines).

    The ranges of any partition give every row of the file exactly once. Memory stays within a few lists, one long
    document and one decompression window, however large the file or its row groups.

    Raises CorpusError when a named column is not there, and CorruptFile where the file breaks off, after the rows
    before the break.
    """
    if source.format == "parquet":
        return in_batches(parquet_rows(source, columns, start, end))
    return in_batches(json_rows(source, columns, start, end, max_line_bytes))


def column_names(source: Source) -> list[str]:
    """The columns of a Parquet file, or the keys of the first objects of JSON lines.

    Raises CorruptFile for what is not Parquet, CorpusError when the file is gone.
    """
    return list(parquet_schema(source).names) if source.format == "parquet" else first_keys(source)
