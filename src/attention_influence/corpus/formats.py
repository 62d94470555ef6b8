"""What is asked of a corpus file, and the module that answers it for each format.

Another format is a module like `parquet`, its entry in `_TABLES`, and its file names in `kinds`. What is no table is
JSON lines to all that copies or joins rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import pyarrow as pa

from attention_influence.corpus import json_lines, parquet
from attention_influence.corpus.kinds import Format
from attention_influence.corpus.rows import Columns, Row, in_batches
from attention_influence.corpus.slices import Block
from attention_influence.corpus.sources import Source
from attention_influence.corpus.values import Keys, ValueKind


class FileFormat(Protocol):
    """A module that reads one format. The keys of a file's rows are integers that ascend.

    Every function raises CorpusError when the file is gone, and CorruptFile when it cannot be read, or from there on.
    """

    KEY: str
    """What the key of a row is, for messages."""
    IS_COMPRESSED: bool
    """Whether its files are compressed inside, whatever their names say."""

    def rows_in(self, source: Source, columns: Columns, start: int = 0, end: int | None = None) -> Iterator[Row]:
        """The rows whose key lies in [start, end). Raises CorpusError when a named column is not there."""

    def values_at(
        self, source: Source, keys: Keys, column: str, kind: ValueKind
    ) -> Iterator[tuple[Sequence[int], Sequence[object]]]:
        """(keys, their values of a column, as `values_of` gives them) for ascending keys; None where there is none.

        Raises CorpusError for a key that no row has.
        """

    def column_names(self, source: Source) -> list[str]:
        """The columns, or where each row has its own, those of the first rows."""

    def blocks(self, source: Source) -> list[Block]:
        """All of the file in parts, found without reading its rows."""


class TableFormat(FileFormat, Protocol):
    """A format whose rows share one schema. They are read and written as Arrow tables, JSON lines as their bytes."""

    def schema_of(self, source: Source) -> pa.Schema:
        """The plain schema (see `plain_types`) of the tables that `tables_at` yields."""

    def tables_at(
        self, source: Source, keys: Keys, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[list[int], pa.Table]]:
        """(keys, their rows) for ascending keys: all columns, or those of the named that are there."""


_TABLES: Mapping[Format, TableFormat] = {"parquet": parquet}
_FORMATS: Mapping[Format, FileFormat] = {"jsonl": json_lines, **_TABLES}


def format_of(source: Source) -> FileFormat:
    """What reads the source."""
    return _FORMATS[source.format]


def table_format(source: Source) -> TableFormat | None:
    """What reads the source as tables; None if it holds JSON lines."""
    return _TABLES.get(source.format)


def read_rows(source: Source, columns: Columns, start: int = 0, end: int | None = None) -> Iterator[list[Row]]:
    """Lists of rows, in order, whose key lies in [start, end): row indexes (Parquet) or byte offsets (JSON lines).

    The ranges of any partition give every row of the file exactly once. Memory stays within a few lists, one long
    document and one decompression window, however large the file or its row groups.

    Raises CorpusError when a named column is not there, and CorruptFile where the file breaks off, after the rows
    before the break.
    """
    return in_batches(format_of(source).rows_in(source, columns, start, end))
