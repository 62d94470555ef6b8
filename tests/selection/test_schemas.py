"""One schema for several: whatever is merged holds the values of both sides, and what cannot be held is not merged."""

import datetime
import math
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_influence.selection.output.schemas import conflict, conformed, groups_of, merged, unique_names

UTC = datetime.UTC
NOON = datetime.datetime(2024, 2, 29, 12, 30, 1)
SMALL = st.integers(0, 100)
WIDE = st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 2**53, 2**53 + 1])
LEAVES: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    *((type_, SMALL) for type_ in (pa.int8(), pa.int32(), pa.uint8(), pa.uint32(), pa.uint64())),
    (pa.int64(), WIDE),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.null(), st.none()),
    *((type_, st.text(max_size=3)) for type_ in (pa.string(), pa.large_string())),
    *((type_, st.binary(max_size=3)) for type_ in (pa.binary(), pa.large_binary())),
    (pa.binary(2), st.binary(min_size=2, max_size=2)),
    (pa.date32(), st.just(NOON.date())),
    (pa.date64(), st.just(NOON.date())),
    *((pa.timestamp(unit), st.just(NOON)) for unit in ("s", "ms", "us")),
    *((pa.timestamp("us", zone), st.just(NOON.replace(tzinfo=UTC))) for zone in ("UTC", "+02:00")),
    *((type_, st.just(NOON.time())) for type_ in (pa.time32("s"), pa.time64("us"))),
    *((pa.duration(unit), st.just(datetime.timedelta(hours=1))) for unit in ("s", "us")),
    (pa.decimal128(5, 2), st.sampled_from([Decimal("1.25"), Decimal("999.99")])),
    (pa.decimal128(9, 0), st.just(Decimal(123456789))),
    (pa.decimal128(38, 37), st.just(Decimal("1.5"))),
]

Typed = tuple[pa.DataType, st.SearchStrategy[Any]]


def _nested(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    def of_struct(fields: dict[str, Typed]) -> Typed:
        values = {name: value for name, (_, value) in fields.items()}
        return pa.struct([(name, type_) for name, (type_, _) in fields.items()]), st.fixed_dictionaries(values)

    return st.one_of(
        inner.map(lambda of: (pa.list_(of[0]), st.lists(of[1], max_size=2))),
        inner.map(lambda of: (pa.large_list(of[0]), st.lists(of[1], max_size=2))),
        inner.map(lambda of: (pa.list_(of[0], 1), st.lists(of[1], min_size=1, max_size=1))),
        inner.map(
            lambda of: (pa.map_(pa.string(), of[0]), st.lists(st.tuples(st.text(max_size=2), of[1]), max_size=2))
        ),
        st.dictionaries(st.sampled_from("ab"), inner, min_size=1).map(of_struct),
    )


TYPES = st.recursive(st.sampled_from(LEAVES), _nested, max_leaves=4)


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    columns = {}
    for name in draw(st.permutations("xyz")):
        if draw(st.integers(0, 3)):
            type_, values = draw(TYPES)
            columns[name] = pa.array(draw(st.lists(st.none() | values, min_size=2, max_size=2)), type_)
    return pa.table(columns or {"w": [1, 2]})


def holds(new: Any, old: Any) -> bool:
    """Whether a value says what another said; what a struct did not have is null."""
    if old is None or new is None:
        return new is old
    if isinstance(old, dict):
        return all(holds(value, old.get(key)) for key, value in new.items()) and old.keys() <= new.keys()
    if isinstance(old, list | tuple):
        return len(new) == len(old) and all(map(holds, new, old))
    if isinstance(old, bytes) and isinstance(new, str):
        return new.encode() == old
    return new == old or (isinstance(old, float) and math.isnan(old) and math.isnan(new))


@settings(max_examples=200, deadline=None)
@given(st.lists(tables(), min_size=2, max_size=4))
def test_every_row_lies_in_a_group_with_all_its_values_or_in_none(some: list[pa.Table]) -> None:
    groups = groups_of(table.schema for table in some)
    for table in some:
        group = next(group for group in groups if merged(group, table.schema) is not None)
        assert group.equals(merged(group, table.schema))
        same = conformed(table, group)
        assert same is not None or not group.equals(table.schema)
        if same is not None:
            assert same.schema.equals(group)
            assert all(map(holds, same.to_pylist(), table.to_pylist()))
    for one, two in pairwise(groups):
        assert conflict(one, two) is not None


@pytest.mark.parametrize(
    ("one", "two", "both"),
    [
        (pa.int8(), pa.int64(), pa.int64()),
        (pa.uint32(), pa.int8(), pa.int64()),
        (pa.uint64(), pa.int64(), None),
        (pa.int16(), pa.float32(), pa.float32()),
        (pa.int32(), pa.float32(), pa.float64()),
        (pa.string(), pa.large_string(), pa.string()),
        (pa.large_string(), pa.large_string(), pa.large_string()),
        (pa.string(), pa.binary(), pa.string()),
        (pa.string(), pa.int64(), None),
        (pa.bool_(), pa.int64(), None),
        (pa.decimal128(5, 2), pa.decimal128(9, 0), pa.decimal128(11, 2)),
        (pa.decimal128(38, 37), pa.decimal128(9, 0), None),
        (pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("us")),
        (pa.timestamp("ms"), pa.timestamp("ms", "UTC"), None),
        (pa.timestamp("ms"), pa.string(), None),
        (pa.json_(), pa.string(), pa.string()),
        (pa.null(), pa.list_(pa.int8()), pa.list_(pa.int8())),
        (pa.list_(pa.null()), pa.list_(pa.int8()), pa.list_(pa.int8())),
        (pa.struct([("a", pa.int8())]), pa.struct([("a", pa.string())]), None),
    ],
    ids=str,
)
def test_types_are_merged_where_that_loses_nothing(
    one: pa.DataType, two: pa.DataType, both: pa.DataType | None
) -> None:
    for pair in ((one, two), (two, one)):
        found = merged(*(pa.schema([("x", type_)]) for type_ in pair))
        assert (found and found.field(0).type) == both


def test_what_only_one_has_comes_after_the_columns_of_the_first() -> None:
    one, two = (pa.struct([pa.field(name, pa.int8(), False)]) for name in "ab")
    found = merged(pa.schema([("x", one)]), pa.schema([("y", pa.int8()), ("x", two)]))
    assert found == pa.schema([("x", pa.struct([("a", pa.int8()), ("b", pa.int8())])), ("y", pa.int8())])


def test_metadata_is_kept_where_it_is_the_same() -> None:
    one = pa.schema([pa.field("x", pa.int8(), False, {"id": "1"})], {"mine": "kept", "pandas": "30 rows"})
    two = pa.schema([pa.field("x", pa.int8(), False, {"id": "2"})], {"mine": "kept", "pandas": "31 rows"})
    found = merged(one, two)
    assert found is not None
    assert found.metadata == {b"mine": b"kept"}
    assert found.field(0).metadata is None
    assert not found.field(0).nullable
    missing = merged(one, pa.schema([("y", pa.int8())]))
    assert missing is not None
    assert [field.nullable for field in missing] == [True, True]


def test_names_that_come_again_get_numbers_that_are_free() -> None:
    assert unique_names(["n", "n", "n_2", "n"]) == ["n", "n_3", "n_2", "n_4"]
    assert unique_names(["n", "N"]) == ["n", "N"]
