"""Rows between JSON objects and Arrow tables, for selections that change the format."""

import json
import re
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.types as types

from attention_influence.corpus.json_lines import parse_object
from attention_influence.corpus.plain_types import changed_type
from attention_influence.errors import CorpusError
from attention_influence.storage.strict_json import changed, strict_json

# What a line holds that other readers than Python's may refuse: control characters, NaN, half of a surrogate pair.
_SUSPECT = re.compile(rb"[\x00-\x1f]|NaN|Infinity|\\u[dD][89a-fA-F]")
_EMPTY_OBJECT = re.compile(rb"\{\s*\}")


def strict_line(line: bytes) -> bytes:
    """The line of a JSON object, unchanged if it is strict JSON, else strict JSON with the same keys and values.

    Numbers that are not finite become null, and half a surrogate pair the sign for what cannot be shown (U+FFFD).
    """
    if not _SUSPECT.search(line):
        return line
    try:
        json.dumps(json.loads(line, parse_constant=_refused), ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        record, _ = parse_object(line)
        return line if record is None else strict_json(changed(record, _encodable), ensure_ascii=False).encode("utf-8")
    return line


def table_of(lines: Sequence[bytes], where: str) -> pa.Table:
    """A table of all keys of JSON lines, in order of first appearance, types inferred; empty objects are null.

    Raises CorpusError when a key holds values that share no Arrow type.
    """
    objects = []
    for line in lines:
        record, reason = parse_object(line)
        if record is None:
            raise CorpusError(f"{where}: a chosen line is {reason}. Score the file again.")
        is_odd = _SUSPECT.search(line) or _EMPTY_OBJECT.search(line)
        objects.append(changed(changed(record, _encodable), _not_empty) if is_odd else record)
    keys = list(dict.fromkeys(key for record in objects for key in record))
    columns = []
    for key in keys:
        try:
            columns.append(pa.array([record.get(key) for record in objects]))
        except (pa.ArrowException, OverflowError, UnicodeError) as error:
            raise CorpusError(
                f"{where}: the values of {key!r} do not fit one Parquet column ({error}). Select with --format jsonl."
            ) from error
    return pa.table(columns, names=keys)


def check_json_holds(schema: pa.Schema, text_column: str, where: str) -> None:
    """Raises CorpusError for columns of bytes, which JSON cannot hold, but for that of the texts."""

    def check(type_: pa.DataType) -> pa.DataType:
        if types.is_binary(type_) or types.is_large_binary(type_) or types.is_fixed_size_binary(type_):
            raise CorpusError(f"{where}: column {name!r} holds bytes, which JSON cannot. Select with --format parquet.")
        return type_

    for field in schema:
        name = field.name
        if name != text_column:
            changed_type(changed_type(field.type, _as_json), check)


def lines_of(table: pa.Table) -> list[bytes]:
    """One JSON object for each row.

    Times and decimals are text (beyond the calendar too), durations counts, maps lists of key and value. Numbers that
    are not finite are null; bytes of a text that are not UTF-8 become U+FFFD.
    """
    columns = [column.cast(changed_type(column.type, _as_json)) for column in table.columns]
    plain = pa.Table.from_arrays(columns, names=table.column_names)
    try:
        records = plain.to_pylist()
    except UnicodeDecodeError:
        columns = [column.cast(changed_type(column.type, _as_bytes)) for column in columns]
        records = pa.Table.from_arrays(columns, names=table.column_names).to_pylist()
    return [strict_json(record, ensure_ascii=False, default=_as_text).encode("utf-8") for record in records]


def _as_json(type_: pa.DataType) -> pa.DataType:
    if isinstance(type_, pa.BaseExtensionType) and type_.extension_name != "arrow.uuid":
        return type_.storage_type
    if types.is_map(type_):
        return pa.list_(pa.struct([("key", type_.key_type), ("value", type_.item_type)]))
    if types.is_duration(type_):
        return pa.int64()
    return pa.string() if types.is_temporal(type_) or types.is_decimal(type_) else type_


def _as_bytes(type_: pa.DataType) -> pa.DataType:
    return pa.large_binary() if types.is_string(type_) or types.is_large_string(type_) else type_


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"a column holds {type(value).__name__}")


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _encodable(value: Any) -> Any:
    """A string as one that UTF-8 can hold."""
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


def _not_empty(value: Any) -> Any:
    """Null in place of an empty object, which Parquet cannot hold."""
    return value or None if isinstance(value, dict) else value
