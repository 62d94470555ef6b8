"""The texts of a few scored documents, read from the corpus that the store names."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from attention_influence.corpus import (
    Columns,
    Source,
    is_unchanged,
    json_lines_at,
    parquet_rows_at,
    parse_object,
)
from attention_influence.corpus.rows import readable_text
from attention_influence.corpus.values import values_of
from attention_influence.errors import CorpusError
from attention_influence.store.reader import ScoreStore

Key = tuple[str, int]
"""(source, row) of a document."""


def texts_at(store: ScoreStore, keys: Iterable[Key]) -> tuple[dict[Key, str], list[str]]:
    """(key → text, one warning for each source whose texts cannot be read), each file read once.

    A source that changed since it was scored gives no texts: another document may lie where the scored one lay.
    """
    rows_of: dict[str, list[int]] = defaultdict(list)
    for name, row in sorted(set(keys)):
        rows_of[name].append(row)
    sources = store.sources
    columns = Columns.from_json(store.run.get("columns") or {"text": None})
    texts: dict[Key, str] = {}
    warnings = []
    for name, rows in rows_of.items():
        try:
            if name not in sources:
                raise CorpusError("the plan does not name it")
            if not is_unchanged(sources[name]):
                raise CorpusError(f"{sources[name].url} is gone or changed since it was scored")
            texts |= {(name, row): text for row, text in _read(sources[name], columns.text, rows)}
        except (CorpusError, OSError) as error:
            warnings.append(f"The texts of {name} are not shown: {error}")
    return texts, warnings


def _read(source: Source, column: str, rows: list[int]) -> Iterator[tuple[int, str]]:
    for row, value in _values(source, column, rows):
        text, _ = readable_text(value)
        if text is not None:
            yield row, text


def _values(source: Source, column: str, rows: list[int]) -> Iterator[tuple[int, object]]:
    """Of that column alone: what lies in the others may not be readable."""
    if source.format == "parquet":
        for indexes, table in parquet_rows_at(source, rows, [column]):
            if column not in table.column_names:
                raise CorpusError(f"{source.url} has no column {column!r}")
            yield from zip(indexes, values_of(table[column].combine_chunks(), text_only=True), strict=True)
        return
    for row, line in json_lines_at(source, rows):
        record = parse_object(line)[0] or {}
        if column not in record:
            raise CorpusError(f"row {row} of {source.url} has no column {column!r}")
        yield row, record[column]
