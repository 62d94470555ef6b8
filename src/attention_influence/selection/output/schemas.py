"""One schema for files whose columns differ in what loses nothing: widths, order, absence, the tool that wrote them."""

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.types as types

_UNITS = ("s", "ms", "us", "ns")
_DIGITS = 38  # of decimals that every reader knows


def merged(one: pa.Schema, two: pa.Schema) -> pa.Schema | None:
    """A schema that rows of both fit: columns in the order of `one`, then those that only `two` has.

    None where a column of one name cannot hold the values of both. Metadata is kept where it is the same.
    """
    fields = _merged_fields(list(one), list(two))
    if fields is None:
        return None
    theirs = two.metadata or {}
    return pa.schema(fields, {key: value for key, value in (one.metadata or {}).items() if theirs.get(key) == value})


def conflict(one: pa.Schema, two: pa.Schema) -> tuple[str, pa.DataType, pa.DataType] | None:
    """The first column that cannot hold the values of both, and its two types."""
    for field in one:
        place = two.get_field_index(field.name)
        if place >= 0 and _merged_type(field.type, two.field(place).type) is None:
            return field.name, field.type, two.field(place).type
    return None


def groups_of(schemas: Iterable[pa.Schema]) -> list[pa.Schema]:
    """As few schemas as hold all of these; each joins the first one that it can be merged with."""
    groups: list[pa.Schema] = []
    for schema in schemas:
        for place, group in enumerate(groups):
            if (both := merged(group, schema)) is not None:
                groups[place] = both
                break
        else:
            groups.append(schema)
    return groups


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table | None:
    """The table with exactly the columns of a schema, null where it has none; None where that would lose a value."""
    both = merged(schema, table.schema)
    if both is None or not both.equals(schema):
        return None
    columns = []
    for field in schema:
        place = table.schema.get_field_index(field.name)
        if place < 0:
            columns.append(pa.nulls(len(table), field.type))
            continue
        column = table.column(place)
        try:
            columns.append(column if column.type.equals(field.type) else column.cast(field.type))
        except pa.ArrowException:  # an integer that no float holds, a time beyond the finer unit's range
            return None
    return pa.Table.from_arrays(columns, schema=schema)


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, those that come again with the next free number behind them, since few readers can tell them apart."""
    if len(set(names)) == len(names):
        return [*names]
    found: list[str] = []
    for name in names:
        number, free = 1, name
        while free in found or (number > 1 and free in names):
            number += 1
            free = f"{name}_{number}"
        found.append(free)
    return found


def changed_leaves(type_: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """The type with `change` made to the types that lie in its lists, structs and maps; maps become lists of pairs."""
    if types.is_struct(type_):
        return pa.struct([field.with_type(changed_leaves(field.type, change)) for field in type_])
    if types.is_map(type_):
        pair = pa.struct([("key", type_.key_type), ("value", type_.item_type)])
        return pa.list_(changed_leaves(pair, change))
    if _is_list(type_):
        return pa.large_list(type_.value_field.with_type(changed_leaves(type_.value_type, change)))
    return change(type_)


def _merged_fields(one: Sequence[pa.Field], two: Sequence[pa.Field]) -> list[pa.Field] | None:
    others = {field.name: field for field in two}
    if len(others) < len(two) or len({field.name for field in one}) < len(one):
        return None
    fields = []
    for field in one:
        other = others.pop(field.name, None)
        if other is None:
            fields.append(field.with_nullable(True))
            continue
        type_ = _merged_type(field.type, other.type)
        if type_ is None:
            return None
        same = field.metadata == other.metadata
        metadata = field.metadata if same else None
        fields.append(pa.field(field.name, type_, field.nullable or other.nullable, metadata))
    return fields + [field.with_nullable(True) for field in others.values()]


def _merged_type(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if one.equals(two):
        return one
    if types.is_null(one) or types.is_null(two):
        return two if types.is_null(one) else one
    one, two = (type_.storage_type if isinstance(type_, pa.BaseExtensionType) else type_ for type_ in (one, two))
    for rule in (_text, _number, _time, _nested):
        if (type_ := rule(one, two)) is not None:
            return type_
    return one if one.equals(two) else None


def _text(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if all(types.is_fixed_size_binary(type_) or _is_bytes(type_) for type_ in (one, two)):
        return pa.binary()
    # Tools without a type for text write it as bytes; what is not UTF-8 does not conform.
    return pa.string() if all(_is_string(type_) or _is_bytes(type_) for type_ in (one, two)) else None


def _number(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    pair = (one, two)
    if all(map(types.is_integer, pair)):
        bits = max(type_.bit_width for type_ in pair)
        signed = [types.is_signed_integer(type_) for type_ in pair]
        if all(signed) or not any(signed):
            return max(pair, key=lambda type_: type_.bit_width)
        unsigned = one if signed[1] else two
        bits = max(bits, 2 * unsigned.bit_width)
        return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(bits)
    if all(map(types.is_floating, pair)):
        return max(pair, key=lambda type_: type_.bit_width)
    if all(types.is_integer(type_) or types.is_floating(type_) for type_ in pair):
        whole, real = pair if types.is_integer(one) else (two, one)
        # A column of integers is one of floats wherever pandas met a gap. The few that no float holds do not conform.
        return pa.float32() if real.bit_width <= 32 and whole.bit_width <= 16 else pa.float64()
    if all(map(types.is_decimal, pair)):
        scale = max(type_.scale for type_ in pair)
        precision = scale + max(type_.precision - type_.scale for type_ in pair)
        return pa.decimal128(precision, scale) if precision <= _DIGITS else None
    return None


def _time(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    pair = (one, two)
    if all(map(types.is_date, pair)):
        return pa.date32()
    if not any(all(map(is_kind, pair)) for is_kind in (types.is_timestamp, types.is_time, types.is_duration)):
        return None
    unit = max((type_.unit for type_ in pair), key=_UNITS.index)
    if types.is_duration(one):
        return pa.duration(unit)
    if types.is_time(one):
        return pa.time64(unit) if unit in ("us", "ns") else pa.time32(unit)
    if (one.tz is None) != (two.tz is None):
        return None
    return pa.timestamp(unit, one.tz if one.tz == two.tz else "UTC")


def _nested(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    pair = (one, two)
    if all(map(types.is_struct, pair)):
        fields = _merged_fields(list(one), list(two))
        return None if fields is None else pa.struct(fields)
    if all(map(types.is_map, pair)):
        both = _merged_fields(
            *([type_.key_field.with_name("key"), type_.item_field.with_name("value")] for type_ in pair)
        )
        return None if both is None else pa.map_(*both)
    if all(map(_is_list, pair)):
        items = _merged_fields([one.value_field], [two.value_field.with_name(one.value_field.name)])
        if items is None:
            return None
        return pa.large_list(items[0]) if any(map(types.is_large_list, pair)) else pa.list_(items[0])
    return None


def _is_string(type_: pa.DataType) -> bool:
    return bool(types.is_string(type_) or types.is_large_string(type_))


def _is_bytes(type_: pa.DataType) -> bool:
    return bool(types.is_binary(type_) or types.is_large_binary(type_))


def _is_list(type_: pa.DataType) -> bool:
    return bool(types.is_list(type_) or types.is_large_list(type_) or types.is_fixed_size_list(type_))
