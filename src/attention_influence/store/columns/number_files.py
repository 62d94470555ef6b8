"""Numbers by document out of files that another tool wrote: Parquet, JSON lines, or Dolma's attributes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from attention_influence.corpus.byte_streams import read_bytes
from attention_influence.corpus.formats import TableFormat, table_format
from attention_influence.corpus.json_lines import MAX_LINE_BYTES, parse_object, split_lines
from attention_influence.corpus.labels import EXACT_BELOW, is_inexact, label
from attention_influence.corpus.rows import missing_column
from attention_influence.corpus.sources import Source, is_unchanged
from attention_influence.corpus.values import exact_below, values_of
from attention_influence.errors import CorpusError
from attention_influence.store.columns.corpus_values import MISSING, NOT_A_NUMBER, number_in, numbers_in

NUMBERS = pa.schema([("name", pa.string()), ("place", pa.int64()), ("number", pa.float64()), ("why", pa.string())])
"""A document by its source and row, or by its id and 0; its number, or why it has none."""

_LINES_AT_A_TIME = 1 << 14


@dataclass(frozen=True)
class NumberFiles:
    """Files, and what of them is a document's number."""

    sources: tuple[Source, ...]
    column: str
    """Of a Parquet file; key of a line, or, where the line has no such key, name of its Dolma attribute."""
    on: Literal["key", "id"] = "key"
    """What tells the document: `source` and `row`, as in a score store, or its id."""
    id_column: str = "id"

    def to_json(self) -> dict[str, Any]:
        files = [source.to_json() for source in self.sources]
        return {"join": files, "column": self.column, "on": self.on, "id_column": self.id_column}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "NumberFiles":
        sources = tuple(Source.from_json(source) for source in record["join"])
        return cls(sources, record["column"], record["on"], record["id_column"])

    @property
    def naming(self) -> tuple[str, ...]:
        """The columns that tell the document."""
        return (self.id_column,) if self.on == "id" else ("source", "row")


def read_numbers(files: NumberFiles, source: Source) -> Iterator[pa.Table]:
    """Tables of NUMBERS: all rows of one of the files, some at a time.

    Raises CorpusError when the file has changed since it was listed, is damaged, or does not name its documents.
    """
    if not is_unchanged(source):
        raise CorpusError(
            f"{source.url} is gone or has changed since the column was begun. Restore it, or read it again: --overwrite"
        )
    table = table_format(source)
    for some in _line_records(files, source) if table is None else _table_records(files, source, table):
        names, numbers = zip(*some, strict=True)
        why = [number if isinstance(number, str) else None for number in numbers]
        values = [None if isinstance(number, str) else number for number in numbers]
        texts, places = zip(*names, strict=True)
        yield pa.table([texts, places, values, why], schema=NUMBERS)


_Record = tuple[tuple[str, int], float | str]


def _table_records(files: NumberFiles, source: Source, format_: TableFormat) -> Iterator[list[_Record]]:
    present = format_.column_names(source)
    options = {"--column": files.column} | ({"--id-column": files.id_column} if files.on == "id" else {})
    if missing := {option: name for option, name in options.items() if name not in present}:
        raise missing_column(source.url, missing, present)
    for name in files.naming:
        if name not in present:
            raise _nameless(source, name)
    rows = np.arange(sum(block.keys for block in format_.blocks(source)))
    for indexes, table in format_.tables_at(source, rows, list(dict.fromkeys([*files.naming, files.column]))):
        columns = [table.column(name).combine_chunks() for name in files.naming]
        naming = zip(*map(values_of, columns), strict=True)
        exact = exact_below(columns[0].type)
        numbers = numbers_in(table.column(files.column))
        yield [
            (_name(values, f"{source.url}, row {index:,}", exact), number)
            for index, values, number in zip(indexes, naming, numbers, strict=True)
        ]


def _line_records(files: NumberFiles, source: Source) -> Iterator[list[_Record]]:
    every = split_lines(read_bytes(source), 0, MAX_LINE_BYTES)
    lines = ((at, line) for at, line in every if line is None or line.strip())
    while some := list(islice(lines, _LINES_AT_A_TIME)):
        records = []
        for at, line in some:
            where = f"{source.url}, byte {at:,}"
            record, reason = (None, "too_long") if line is None else parse_object(line)
            if record is None:
                raise CorpusError(f"{where}: the line holds no JSON object ({reason}). Fix the file, or omit it.")
            for name in files.naming:
                if name not in record:
                    raise _nameless(source, name)
            number = number_in(record.get(files.column)) if files.column in record else _attribute(files, record)
            records.append((_name([record[name] for name in files.naming], where), number))
        yield records


def _attribute(files: NumberFiles, record: Mapping[str, Any]) -> float | str:
    """A Dolma attribute's mean over its spans, each [start, end, score], weighted by their lengths."""
    attributes = record.get("attributes")
    spans = attributes.get(files.column) if isinstance(attributes, dict) else None
    if not spans:
        return MISSING
    try:
        lengths = [end - start for start, end, _ in spans]
        scores = [number_in(score) for *_, score in spans]
    except (TypeError, ValueError):
        return NOT_A_NUMBER
    numbers = [score for score in scores if not isinstance(score, str)]
    if len(numbers) < len(scores) or min(lengths) < 0:
        return NOT_A_NUMBER
    # A score of the whole of an empty document has a span of no length.
    weights = lengths if sum(lengths) else [1] * len(lengths)
    return number_in(sum(w * x for w, x in zip(weights, numbers, strict=True)) / sum(weights))


def _name(values: Sequence[Any], where: str, exact: float = EXACT_BELOW) -> tuple[str, int]:
    if is_inexact(values[0], exact):
        raise CorpusError(
            f"{where}: the id {values[0]!r} is a float so large that several integers become it. Write the ids as "
            "integers or as text."
        )
    name = label(values[0], exact)
    place = values[1] if len(values) > 1 else 0
    if isinstance(place, float) and place.is_integer() and not is_inexact(place):
        place = int(place)
    if name is None or type(place) is not int:
        raise CorpusError(f"{where}: {tuple(values)} names no document. Fix the file, or omit it.")
    return name, place


def _nameless(source: Source, missing: str) -> CorpusError:
    return CorpusError(
        f"{source.url}: no {missing!r}, so its rows cannot be told apart. Files are joined by `source` and `row`, or "
        "with --join-on id by the column that --id-column names."
    )
