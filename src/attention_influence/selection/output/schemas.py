"""One schema for files whose columns differ in what loses nothing: widths, order, absence, the tool that wrote them."""

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa
import pyarrow.types as types

# Types of one kind have a common one; decimals one of 128 bits, which every reader knows.
_KINDS: tuple[Callable[[pa.DataType], bool], ...] = (
    lambda type_: types.is_integer(type_) or types.is_floating(type_),
    *(types.is_decimal, types.is_date, types.is_time, types.is_duration, types.is_timestamp),
)


def merged(one: pa.Schema, two: pa.Schema) -> pa.Schema | None:
    """A schema that rows of both fit: columns in the order of `one`, then those that only `two` has.

    None where a column of one name cannot hold the values of both. Metadata is kept where it is the same.
    """
    fields = _merged_fields(list(one), list(two))
    if fields is None:
        return None
    metadata = dict((one.metadata or {}).items() & (two.metadata or {}).items())
    return pa.schema(fields, metadata)


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
    unique: list[str] = []
    for name in names:
        number, free = 1, name
        while free in unique or (number > 1 and free in names):
            number += 1
            free = f"{name}_{number}"
        unique.append(free)
    return unique


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
    for rule in (_text, _number_or_time, _nested):
        if (type_ := rule(one, two)) is not None:
            return type_
    return one if one.equals(two) else None


def _text(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    if all(types.is_fixed_size_binary(type_) or _is_bytes(type_) for type_ in (one, two)):
        return pa.binary()
    # Tools without a type for text write it as bytes; what is not UTF-8 does not conform.
    return pa.string() if all(_is_string(type_) or _is_bytes(type_) for type_ in (one, two)) else None


def _number_or_time(one: pa.DataType, two: pa.DataType) -> pa.DataType | None:
    pair = (one, two)
    if types.is_timestamp(one) and types.is_timestamp(two):
        if (one.tz is None) != (two.tz is None):
            return None
        zone = one.tz if one.tz == two.tz else "UTC"
        pair = (pa.timestamp(one.unit, zone), pa.timestamp(two.unit, zone))
    if not any(all(map(is_kind, pair)) for is_kind in _KINDS):
        return None
    if all(map(types.is_date, pair)):
        return pa.date32()
    # pandas makes floats of an integer column with gaps. The few integers that no float holds do not conform.
    schemas = [pa.schema([("", type_)]) for type_ in pair]
    both = pa.unify_schemas(schemas, promote_options="permissive").field(0).type
    if types.is_signed_integer(both) and pa.uint64() in pair:
        return None
    return None if types.is_decimal256(both) else both


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
