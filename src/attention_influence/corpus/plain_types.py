"""Columns as they are written and taken apart everywhere: views and dictionaries as the values that they stand for."""

from collections.abc import Callable

import pyarrow as pa
import pyarrow.types as types


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with string views, binary views and dictionaries as plain values, at any depth.

    Arrow cannot take rows of view columns, and on disk a view and a string are the same. Dictionaries of several files
    do not fit the width of one's indices: what is written so cannot be read again.
    """
    return pa.schema([field.with_type(changed_type(field.type, _plain)) for field in schema], schema.metadata)


def plain_table(table: pa.Table) -> pa.Table:
    """The table with a plain schema."""
    schema = plain_schema(table.schema)
    if schema.equals(table.schema):
        return table
    columns = [column.cast(field.type) for column, field in zip(table.columns, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def changed_type(type_: pa.DataType, change: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """The type with `change` made to it, and then to the types in its lists, structs and maps."""
    if not (changed := change(type_)).equals(type_):
        return changed_type(changed, change)

    def inside(field: pa.Field) -> pa.Field:
        return field.with_type(changed_type(field.type, change))

    if types.is_list(type_):
        return pa.list_(inside(type_.value_field))
    if types.is_large_list(type_):
        return pa.large_list(inside(type_.value_field))
    if types.is_fixed_size_list(type_):
        return pa.list_(inside(type_.value_field), type_.list_size)
    if types.is_map(type_):
        return pa.map_(inside(type_.key_field), inside(type_.item_field), type_.keys_sorted)
    return pa.struct([inside(field) for field in type_]) if types.is_struct(type_) else type_


def _plain(type_: pa.DataType) -> pa.DataType:
    if types.is_dictionary(type_) or types.is_run_end_encoded(type_):
        return type_.value_type
    if types.is_string_view(type_):
        return pa.string()
    if types.is_binary_view(type_):
        return pa.binary()
    if isinstance(type_, pa.BaseExtensionType):
        storage = changed_type(type_.storage_type, _plain)
        return type_ if storage.equals(type_.storage_type) else storage
    return type_
