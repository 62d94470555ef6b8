"""JSON lines: rows are told by the byte at which their line begins, in the decompressed file (see `formats`)."""

import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from attention_influence.corpus.byte_streams import expansion, read_bytes
from attention_influence.corpus.content import BOM, HEAD_BYTES, other_than_lines
from attention_influence.corpus.labels import label
from attention_influence.corpus.rows import DEFAULT_DOMAIN, UNKNOWN_DOMAIN, Columns, Row, missing_column, readable_text
from attention_influence.corpus.slices import Block
from attention_influence.corpus.sources import Source
from attention_influence.corpus.values import Keys, ValueKind
from attention_influence.errors import CorpusError, CorruptFile, NoDocuments

MAX_LINE_BYTES = 64 << 20
# A named column may be absent from some rows; if none of the first 100 objects has it, the name is wrong.
_OBJECTS_LOOKED_AT = 100
# Lines further apart than this are sought, nearer ones read through.
_SEEK_BYTES = 1 << 20

KEY = "the byte at which its line begins"
IS_COMPRESSED = False


def blocks(source: Source) -> list[Block]:
    """The file as one; the size of a compressed one is judged by its beginning."""
    size = round(source.size * expansion(source))
    return [Block(0, size, size, is_seekable=source.compression is None)]


def rows_in(
    source: Source,
    columns: Columns,
    start: int = 0,
    end: int | None = None,
    max_line_bytes: int = MAX_LINE_BYTES,
) -> Iterator[Row]:
    """The rows whose line's first byte lies in [start, end) of the decompressed file, in order.

    Lines of nothing but whitespace are no rows; a line above `max_line_bytes` is a row with the reason too_long, read
    past in bounded memory. Raises CorpusError for a named column that is not there, CorruptFile for a broken stream.
    """
    _check_columns(source, columns, max_line_bytes)
    for offset, line in _lines_from(source, start, end, max_line_bytes):
        if line is None:
            yield Row(offset, None, None, _domain_of_no_object(source, columns), "too_long")
        elif not line.isspace() and line:
            yield _row(offset, line, columns, source)


def values_at(source: Source, keys: Keys, column: str, kind: ValueKind) -> Iterator[tuple[list[int], list[object]]]:
    """([offset], [value of a key of the line's object]) for ascending byte offsets of lines, whatever the kind."""
    for offset, line in json_lines_at(source, keys):
        yield [offset], [(parse_object(line)[0] or {}).get(column)]


def json_lines_at(source: Source, offsets: Keys) -> Iterator[tuple[int, bytes]]:
    """(offset, the line's own bytes without its end) for ascending byte offsets of lines.

    A plain file is sought between lines that lie far apart, a compressed one is read once. Raises CorpusError when
    no line begins at an offset.
    """
    for run in _runs(offsets, source.compression is None):
        begin = run[0] if source.compression is None else 0
        wanted = iter(run)
        next_offset: int | None = next(wanted)
        for offset, line in split_lines(read_bytes(source, begin), begin, max_line_bytes=MAX_LINE_BYTES):
            if offset == next_offset and line is not None:
                yield offset, line.removesuffix(b"\r")
                next_offset = next(wanted, None)
            if next_offset is None or offset > next_offset:
                break
        if next_offset is not None:
            raise CorpusError(
                f"{source.url}: no line begins at byte {next_offset:,}. The file is not the one that was scored; "
                "score it again."
            )


def parse_object(line: bytes) -> tuple[dict[str, Any] | None, str | None]:
    """(the object, None), or (None, the reason why the line holds none)."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return None, "invalid_utf8"
    try:
        # Raw control characters within strings are against the letter of JSON, but mean only one thing.
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None, "invalid_json"
    return (value, None) if isinstance(value, dict) else (None, "not_an_object")


def split_lines(
    chunks: Iterable[bytes], offset: int, max_line_bytes: int, end: int | None = None
) -> Iterator[tuple[int, bytes | None]]:
    """(offset of its first byte, bytes without the newline) of each line; None in place of more than the limit.

    No line that begins at `end` or later is read.
    A byte order mark that begins a line is left off: files that are put together bring theirs along.
    """
    pieces: list[bytes] = []
    length = 0
    for chunk in chunks:
        begin = 0
        while (newline := chunk.find(b"\n", begin)) >= 0:
            length += newline - begin
            if length > max_line_bytes:
                yield offset, None
            else:
                pieces.append(chunk[begin:newline])
                yield offset, b"".join(pieces).removeprefix(BOM)
            offset += length + 1
            if end is not None and offset >= end:
                return
            pieces, length, begin = [], 0, newline + 1
        length += len(chunk) - begin
        if length > max_line_bytes:
            pieces = []
        elif begin < len(chunk):
            pieces.append(chunk[begin:])
    if length:
        yield offset, None if length > max_line_bytes else b"".join(pieces).removeprefix(BOM)


def _lines_from(source: Source, start: int, end: int | None, max_line_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """The lines that begin in [start, end). What lies between `start` and the first of them is not held."""
    if end is not None and end <= start:
        return
    # One byte earlier: only if that byte ends a line does one begin at `start` itself.
    position = start - 1
    chunks = read_bytes(source, max(position, 0))
    if start == 0:
        yield from split_lines(chunks, 0, max_line_bytes, end)
        return
    for chunk in chunks:
        before = len(chunk) if end is None else end - 1 - position
        if (newline := chunk.find(b"\n", 0, max(before, 0))) >= 0:
            rest = itertools.chain([chunk[newline + 1 :]], chunks)
            yield from split_lines(rest, position + newline + 1, max_line_bytes, end)
            return
        position += len(chunk)
        if end is not None and position >= end - 1:
            return


def _row(offset: int, line: bytes, columns: Columns, source: Source) -> Row:
    record, reason = parse_object(line)
    if record is None:
        return Row(offset, None, None, _domain_of_no_object(source, columns), reason)
    domain = source.domain or DEFAULT_DOMAIN
    if columns.domain is not None:
        domain = label(record.get(columns.domain)) or UNKNOWN_DOMAIN
    identity = label(record.get(columns.id)) if columns.id is not None else None
    if columns.text not in record:
        return Row(offset, None, identity, domain, "missing_text")
    text, reason = readable_text(record[columns.text])
    if text is not None and not _is_encodable(text):
        text, reason = None, "invalid_utf8"
    return Row(offset, text, identity, domain, reason)


def _domain_of_no_object(source: Source, columns: Columns) -> str:
    return UNKNOWN_DOMAIN if columns.domain is not None else source.domain or DEFAULT_DOMAIN


def _is_encodable(text: str) -> bool:
    """False for lone surrogates, which JSON can spell ("\\ud800") and UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def column_names(source: Source) -> list[str]:
    """The keys of the first 100 objects, in the order in which they first come."""
    keys: dict[str, None] = {}
    with suppress(CorruptFile):  # what could be read is known; its rows are read later, and raise it in their place
        for record in _first_objects(_lines_from(source, 0, None, MAX_LINE_BYTES)):
            keys.update(dict.fromkeys(record))
    return [*keys]


def _check_columns(source: Source, columns: Columns, max_line_bytes: int) -> None:
    """Looks at the head of the file whatever the range, so that every range of a file gives the same answer."""
    missing = columns.named()
    present: dict[str, None] | None = None
    try:
        for record in _first_objects(split_lines(_checked(source), 0, max_line_bytes)):
            present = (present or {}) | dict.fromkeys(record)
            missing = {option: name for option, name in missing.items() if name not in record}
            if not missing:
                return
    except NoDocuments:
        raise
    except CorruptFile:  # its rows are read next, and raise it in their place
        return
    if present is not None:
        raise missing_column(source.url, missing, list(present))


def _first_objects(lines: Iterable[tuple[int, bytes | None]]) -> Iterator[dict[str, Any]]:
    objects = (parse_object(line)[0] for _, line in lines if line is not None)
    return itertools.islice((record for record in objects if record is not None), _OBJECTS_LOOKED_AT)


def _checked(source: Source) -> Iterator[bytes]:
    """The file's bytes. Raises NoDocuments when the first of them show that it is something else."""
    chunks = read_bytes(source)
    first: list[bytes] = []
    try:
        for chunk in chunks:
            first.append(chunk)
            if sum(map(len, first)) >= HEAD_BYTES:
                break
    finally:
        if (what := other_than_lines(b"".join(first))) is not None:
            raise NoDocuments(f"{source.url}: cannot be read as JSON lines: it is {what}.")
    yield from first
    yield from chunks


def _runs(offsets: Keys, seekable: bool) -> Iterator[list[int]]:
    """The offsets in groups that are cheaper to read through than to seek within."""
    run: list[int] = []
    for offset in offsets:
        if run and seekable and offset - run[-1] > _SEEK_BYTES:
            yield run
            run = []
        run.append(int(offset))
    if run:
        yield run
