"""Ids and domains keep what they are: equal strings for equal values, and for no others."""

import json
import uuid
from decimal import Decimal
from itertools import combinations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import json_lines, lines_file, parquet_file, rows
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.corpus import Columns, list_sources
from attention_influence.corpus.labels import label
from attention_influence.corpus.parquet import tables_at
from attention_influence.errors import CorpusError

DIFFERENT = [
    b"\xff",
    b"\xfe",
    b"\xff\xfe",
    "binary:ff",
    "text:binary:ff",
    "text:text:binary:ff",
    "\ufffd",
    "\ufffd\ufffd",
    "\ud800",
    "\ud801",
    "?",
    'json:"\\ud800"',
    "",
    "null",
    2**53,
    2**53 + 1,
    2**64 + 1,
    float(2**53),
    1e300,
    0.5,
    -1,
    True,
    1,
    float("inf"),
    Decimal("9007199254740993.5"),
    [1],
    ["1"],
    {"a": [b"\xff"]},
    {"a": ["\ufffd"]},
]


def test_values_that_differ_have_labels_that_differ_and_can_be_stored():
    labels = [label(value) for value in DIFFERENT]
    assert all(isinstance(text, str) and text.encode() is not None for text in labels)
    for (one, first), (other, second) in combinations(zip(DIFFERENT, labels, strict=True), 2):
        assert first != second, (one, other)


@given(one=st.one_of(st.binary(), st.text()), other=st.one_of(st.binary(), st.text()))
def test_bytes_and_texts_have_equal_labels_only_if_they_spell_the_same(one, other):
    spelled = [value.encode() if isinstance(value, str) else value for value in (one, other)]
    assert (label(one) == label(other)) == (spelled[0] == spelled[1])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("x", "x"),
        (b"caf\xc3\xa9", "café"),
        (123, "123"),
        (123.0, "123"),
        (-0.0, "0"),
        (float(2**53 - 1), "9007199254740991"),
        (1e16, "1e+16"),
        (1.5, "1.5"),
        (Decimal("123.00"), "123"),
        (Decimal("100"), "100"),
        (Decimal("12345678901234567890123456789012345678"), "12345678901234567890123456789012345678"),
        (True, "True"),
        (None, None),
        (float("nan"), None),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ([1, "a"], '[1, "a"]'),
    ],
)
def test_the_label_of_a_value(value, expected):
    assert label(value) == expected


def ids(source):
    return [(row.id, row.domain) for row in rows(source, Columns(id="key", domain="key"))]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([b"\xff", b"\xfe", b"a", None], pa.large_binary()), ["binary:ff", "binary:fe", "a", None]),
        (pa.array([2**64 - 1, 2**63], pa.uint64()), ["18446744073709551615", "9223372036854775808"]),
        (pa.array([7.0, 2.0**24], pa.float32()), ["7", "16777216.0"]),
        (pa.array([3.0, None, 2.0**53], pa.float64()), ["3", None, "9007199254740992.0"]),
        (pa.array([-(2**31), 0], pa.int32()).cast(pa.date32()), ["-2147483648", "1970-01-01"]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["a", "b"], pa.large_string()).dictionary_encode(), ["a", "b"]),
        (
            pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"\0" * 15 + b"\1"], pa.binary(16))),
            [str(uuid.UUID(int=1))],
        ),
        (pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(['"a"', "5", "null"])), ["a", "5", None]),
    ],
    ids=lambda given: str(getattr(given, "type", "")),
)
def test_ids_and_domains_of_any_type_keep_what_they_are(tmp_path, column, expected):
    source = parquet_file(tmp_path / "a.parquet", {"text": ["a"] * len(column), "key": column})
    assert ids(source) == [(name, name or "unknown") for name in expected]


def test_strings_in_lists_that_are_not_utf8_are_told_apart(tmp_path):
    broken = pa.Array.from_buffers(pa.string(), 3, pa.array([b"\xff", b"\xfe", b"a"]).buffers())
    column = pa.ListArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), broken)
    source = parquet_file(tmp_path / "a.parquet", {"text": ["a"] * 3, "key": column})
    found = [name for name, _ in ids(source)]
    assert found[2] == '["a"]'
    assert len(set(found)) == 3


def test_ids_of_json_lines_keep_what_they_are(tmp_path):
    values = [2**53 + 1, 123.0, 123, True, None, "café", 10**30]
    content = json_lines([{"text": "a", "key": value} for value in values])
    content += b'{"text": "a", "key": "\\ud800"}\n{"text": "a", "key": NaN}\n'
    expected = ["9007199254740993", "123", "123", "True", None, "café", str(10**30), 'json:"\\ud800"', None]
    assert [name for name, _ in ids(lines_file(tmp_path, content))] == expected


def test_texts_of_the_type_json_are_what_the_json_says(tmp_path):
    storage = pa.array([json.dumps("café"), "null", "5", "broken", None, '""'])
    column = pa.ExtensionArray.from_storage(pa.json_(pa.string()), storage)
    source = parquet_file(tmp_path / "a.parquet", {"text": column})
    assert [(row.text, row.reason) for row in rows(source)] == [
        ("café", None),
        (None, "null_text"),
        (None, "not_a_string"),
        (None, "not_a_string"),
        (None, "null_text"),
        (None, "empty"),
    ]


def test_a_column_that_is_asked_for_and_there_twice_is_the_files_error(tmp_path):
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array([1]), pa.array([2])], names=["text", "n", "n"])
    pq.write_table(table, tmp_path / "a.parquet")
    (source,) = list_sources([str(tmp_path)]).sources
    assert [row.text for row in rows(source)] == ["a"]
    with pytest.raises(CorpusError, match=r"a\.parquet: there are two columns 'n'"):
        list(tables_at(source, [0], ["n"]))
    with pytest.raises(CorpusError, match="there are two columns 'n'"):
        rows(source, Columns(id="n"))
