"""Rows between JSON objects and Arrow tables, for selections that change the format."""

import json
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from attention_influence.errors import CorpusError


def table_of(objects: Sequence[dict[str, Any]], where: str) -> pa.Table:
    """A table of all their keys, in order of first appearance, types inferred.

    Raises CorpusError when a key holds values that share no Arrow type.
    """
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


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table | None:
    """The table with exactly the columns of a schema, or None where that would lose something."""
    if any(name not in schema.names for name in table.column_names):
        return None
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(len(table), field.type))
            continue
        column = table.column(field.name)
        try:
            merged = pa.unify_schemas(
                [pa.schema([field]), pa.schema([pa.field(field.name, column.type)])], promote_options="permissive"
            )
            if merged.field(0).type != field.type:
                return None
            columns.append(column.cast(field.type))
        except pa.ArrowException:
            return None
    return pa.table(columns, schema=schema)


def lines_of(table: pa.Table, where: str) -> list[bytes]:
    """One JSON object for each row; times and decimals as text.

    Raises CorpusError for binary values, which JSON cannot hold.
    """
    lines = []
    for record in table.to_pylist():
        try:
            lines.append(json.dumps(record, ensure_ascii=False, default=_as_text).encode("utf-8"))
        except (TypeError, UnicodeError) as error:
            raise CorpusError(f"{where}: {error}, which JSON cannot hold. Select with --format parquet.") from error
    return lines


def _as_text(value: object) -> str:
    if isinstance(value, date | datetime | time):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta):
        return str(value)
    raise TypeError(f"a column holds {type(value).__name__}")
