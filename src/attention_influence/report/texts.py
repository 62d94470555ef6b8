"""The texts of a few scored documents, read from the corpus that the store names."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from attention_influence.corpus import Columns, Source, is_unchanged
from attention_influence.corpus.formats import format_of
from attention_influence.corpus.rows import readable_text
from attention_influence.errors import CorpusError
from attention_influence.store.find import Key
from attention_influence.store.reader import ScoreStore


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
    format_ = format_of(source)
    if column not in format_.column_names(source):
        raise CorpusError(f"{source.url} has no column {column!r}")
    # Of that column alone: what lies in the others may not be readable.
    for keys, values in format_.values_at(source, rows, column, "text"):
        for row, value in zip(keys, values, strict=True):
            text, _ = readable_text(value)
            if text is not None:
                yield row, text
