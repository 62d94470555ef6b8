"""The values of a Parquet column as Python's, whatever its type; no bad value costs the others."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

from attention_influence.corpus.labels import EXACT_BELOW, label

Keys = Sequence[int] | npt.NDArray[np.int64]
ValueKind = Literal["text", "number"]

_TEXTUAL = (
    types.is_string,
    types.is_large_string,
    types.is_string_view,
    types.is_binary,
    types.is_large_binary,
    types.is_binary_view,
    types.is_fixed_size_binary,
)
_NUMERIC = (types.is_integer, types.is_floating, types.is_decimal, types.is_null)


def values_of(column: pa.Array, only: ValueKind | None = None) -> list[object]:
    """Strings and binaries as bytes, JSON as what it says, others as themselves; False where only another kind will do.

    Where numbers are asked for, null is always None.
    """
    if only == "number" and not any(is_kind(column.type) for is_kind in _NUMERIC):
        return [False if is_there else None for is_there in column.is_valid().to_pylist()]
    text_only = only == "text"
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    elif types.is_run_end_encoded(column.type):
        column = pc.run_end_decode(column)
    if isinstance(column.type, pa.JsonType):
        return [_json_value(value, text_only) for value in values_of(column.storage)]
    if isinstance(column.type, pa.BaseExtensionType) and (text_only or not isinstance(column.type, pa.UuidType)):
        return values_of(column.storage, only)
    if any(is_kind(column.type) for is_kind in _TEXTUAL):
        # As bytes: Arrow does not check that a Parquet string is valid UTF-8, and one bad row must not stop the others.
        column = column.cast(pa.large_binary())
    elif text_only and not types.is_null(column.type):
        return [False] * len(column)
    try:
        values: list[object] = column.to_pylist()
    except (ValueError, OverflowError):  # dates beyond Python's, strings within lists that are not UTF-8
        values = [_value(column.slice(at, 1)) for at in range(len(column))]
    return values


def labels_of(column: pa.Array) -> list[str | None]:
    """The values as ids or domains are stored."""
    limit = exact_below(column.type)
    return [label(value, limit) for value in values_of(column)]


def exact_below(type_: pa.DataType) -> float:
    """The integers below which a column's floats are each exact."""
    return {"halffloat": 2.0**11, "float": 2.0**24}.get(str(type_), EXACT_BELOW)


def _json_value(value: object, text_only: bool) -> Any:
    if value is None:
        return None
    try:
        parsed = json.loads(value)  # type: ignore[arg-type]
    except (ValueError, RecursionError):
        return False if text_only else value
    if isinstance(parsed, str):
        try:
            return parsed.encode("utf-8")
        except UnicodeEncodeError:
            return b"\xff" if text_only else parsed
    return parsed if parsed is None or not text_only else False


def _value(one: pa.Array) -> object:
    try:
        return one[0].as_py()
    except (ValueError, OverflowError):
        # Of no use to people, but the same for equal values only.
        if types.is_temporal(one.type):
            return one.view(pa.int32() if one.type.bit_width == 32 else pa.int64())[0].as_py()
        return bytes(pa.RecordBatch.from_arrays([one], ["value"]).serialize())
