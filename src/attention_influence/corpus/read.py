"""Rows of a source, whatever its format."""

from collections.abc import Iterator

from attention_influence.corpus.json_lines import MAX_LINE_BYTES, json_rows
from attention_influence.corpus.parquet import parquet_rows
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
