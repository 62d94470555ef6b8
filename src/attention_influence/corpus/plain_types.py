"""Columns as they are written and taken apart everywhere: views and dictionaries as the values that they stand for."""

import pyarrow as pa
import pyarrow.types as types


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """The schema with string views, binary views and dictionaries as plain values, at any depth.

    Arrow cannot take rows of view columns, and on disk a view and a string are the same. Dictionaries of several files
    do not fit the width of one's indices: what is written so cannot be read again.
    """
    fields = [_plain_field(field) for field in schema]
    return pa.schema(fields, schema.metadata)


def plain_table(table: pa.Table) -> pa.Table:
    """The table with a plain schema."""
    schema = plain_schema(table.schema)
    if schema.equals(table.schema):
        return table
    columns = [column.cast(field.type) for column, field in zip(table.columns, schema, strict=True)]
    return pa.Table.from_arrays(columns, schema=schema)


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain_type(field.type))


def _plain_type(type_: pa.DataType) -> pa.DataType:
    if types.is_dictionary(type_) or types.is_run_end_encoded(type_):
        return _plain_type(type_.value_type)
    if types.is_string_view(type_):
        return pa.string()
    if types.is_binary_view(type_):
        return pa.binary()
    if types.is_list(type_):
        return pa.list_(_plain_field(type_.value_field))
    if types.is_large_list(type_):
        return pa.large_list(_plain_field(type_.value_field))
    if types.is_fixed_size_list(type_):
        return pa.list_(_plain_field(type_.value_field), type_.list_size)
    if types.is_map(type_):
        return pa.map_(_plain_field(type_.key_field), _plain_field(type_.item_field), type_.keys_sorted)
    if types.is_struct(type_):
        return pa.struct([_plain_field(field) for field in type_])
    if isinstance(type_, pa.BaseExtensionType):
        storage = _plain_type(type_.storage_type)
        return type_ if storage.equals(type_.storage_type) else storage
    return type_
