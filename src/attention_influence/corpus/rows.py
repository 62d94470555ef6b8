"""A row of a corpus: its key, its text or the reason why there is none, its id and its domain."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from attention_influence.errors import CorpusError, CorruptFile, TextsError

# Rows are handed on in lists: large enough to make their overhead vanish, small enough to forget about memory.
BATCH_CHARACTERS = 4 << 20
BATCH_ROWS = 1024

DEFAULT_DOMAIN = "default"
UNKNOWN_DOMAIN = "unknown"


@dataclass(frozen=True)
class Columns:
    """The names of the columns (or JSON keys) that hold what is read."""

    text: str = "text"
    id: str | None = None
    domain: str | None = None

    def named(self) -> dict[str, str]:
        """Option → column, for the columns that were asked for."""
        options = {"--text-column": self.text, "--id-column": self.id, "--domain-column": self.domain}
        return {option: name for option, name in options.items() if name is not None}

    def to_json(self) -> dict[str, str | None]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, str | None]) -> "Columns":
        return cls(text=record["text"] or "text", id=record.get("id"), domain=record.get("domain"))


@dataclass(slots=True)
class Row:
    """One document of a source."""

    row: int
    """Row index (Parquet), or byte offset of the line in the decompressed file (JSON lines)."""
    text: str | None
    id: str | None
    domain: str
    reason: str | None = None
    """Why there is no text: null_text, not_a_string, empty, whitespace, invalid_utf8, invalid_json, not_an_object,
    missing_text or too_long; None when there is text."""


def missing_column(url: str, missing: Mapping[str, str], present: Sequence[str]) -> CorpusError:
    """The error for columns (option → name) that a file does not have."""
    option, name = next(iter(missing.items()))
    there = ", ".join(map(repr, present)) or "none"
    return CorpusError(f"{url}: no column {name!r}; there are: {there}. Name the right one with {option}.")


def readable_text(value: object) -> tuple[str | None, str | None]:
    """(text, None), or (None, the reason why the value is not a text)."""
    if value is None:
        return None, "null_text"
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError:
            return None, "invalid_utf8"
    if not isinstance(value, str):
        return None, "not_a_string"
    if not value:
        return None, "empty"
    if value.isspace():
        return None, "whitespace"
    return value, None


def must_be_texts(texts: object) -> None:
    """Raises TextsError for what is no series of texts, though it may be iterable: a text itself, a table, a set."""
    kind = type(texts).__name__
    if isinstance(texts, str | bytes | bytearray | memoryview):
        raise TextsError(f"a list of texts is needed, not one {kind}: give [text]")
    if isinstance(texts, Mapping) or hasattr(texts, "columns") or hasattr(texts, "column_names"):
        raise TextsError(f"a list of texts is needed, not a {kind}: give its column of texts")
    if isinstance(texts, set | frozenset):
        raise TextsError(f"a list of texts is needed, not a {kind}, which has no order: give a list")
    if not isinstance(texts, Iterable):
        raise TextsError(f"a list of texts is needed, not a {kind}")


def in_batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """The rows in lists of a few megabytes; those before a break are handed on before the error is raised."""
    batch: list[Row] = []
    characters = 0
    broken: CorruptFile | None = None
    try:
        for row in rows:
            batch.append(row)
            characters += len(row.text or "")
            if characters >= BATCH_CHARACTERS or len(batch) >= BATCH_ROWS:
                yield batch
                batch, characters = [], 0
    except CorruptFile as error:
        broken = error
    if batch:
        yield batch
    if broken is not None:
        raise broken
