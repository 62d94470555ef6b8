from itertools import pairwise

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpus_files import parquet_file, read_into, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attention_influence.corpus import Columns, list_sources, read_rows
from attention_influence.corpus.parquet import blocks, tables_at
from attention_influence.errors import CorpusError, CorruptFile

same_folder = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXTS = ["good", None, "", " \n", "nul\0", "é" * 3]
REASONS = [None, "null_text", "empty", "whitespace", None, None]


@pytest.mark.parametrize(
    "type_",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_every_type_of_text_column_is_read(tmp_path, type_):
    values = TEXTS if "binary" not in str(type_) else [t if t is None else t.encode() for t in TEXTS]
    column = pa.array(values, type_) if "dict" not in str(type_) else pa.array(TEXTS).dictionary_encode()
    source = parquet_file(tmp_path / "a.parquet", {"text": column, "n": range(6)})
    found = rows(source)
    assert [row.reason for row in found] == REASONS
    assert [row.text for row in found] == [t if r is None else None for t, r in zip(TEXTS, REASONS, strict=True)]
    taken = list(tables_at(source, [0, 5]))
    assert [n for _, table in taken for n in table["n"].to_pylist()] == [0, 5]


def test_invalid_utf8_spoils_only_its_row(tmp_path):
    broken = pa.array([b"ok", b"\xff\xfe", b"fine"], pa.binary())
    in_strings = pa.Array.from_buffers(pa.string(), 3, broken.buffers())
    for column in (broken, in_strings):
        source = parquet_file(tmp_path / "a.parquet", {"text": column, "key": column})
        assert [row.reason for row in rows(source)] == [None, "invalid_utf8", None]
        assert [row.id for row in rows(source, Columns(id="key"))] == ["ok", "binary:fffe", "fine"]


@pytest.mark.parametrize("column", [pa.array([1, 2]), pa.array([["a"], None]), pa.array([{"a": 1}, None])], ids=str)
def test_a_column_of_another_type_gives_no_text(tmp_path, column):
    source = parquet_file(tmp_path / "a.parquet", {"text": column})
    assert [row.reason for row in rows(source)] == ["not_a_string", "not_a_string"]


def test_ids_and_domains_become_strings_and_null_domains_unknown(tmp_path):
    source = parquet_file(
        tmp_path / "a.parquet", {"text": ["a", "b"], "key": pa.array([7, None]), "site": pa.array(["w", None])}
    )
    found = rows(source, Columns(id="key", domain="site"))
    assert [(row.id, row.domain) for row in found] == [("7", "w"), (None, "unknown")]
    assert {row.domain for row in rows(source)} == {"default"}
    assert {row.domain for row in rows(list_sources([str(tmp_path)], ["given"]).sources[0])} == {"given"}


@pytest.mark.parametrize(
    ("columns", "option"),
    [(Columns("body"), "text"), (Columns(id="nr"), "id"), (Columns(domain="site"), "domain")],
)
def test_a_missing_column_names_those_there_are(tmp_path, columns, option):
    source = parquet_file(tmp_path / "a.parquet", {"text": ["a"], "extra": [1]})
    with pytest.raises(CorpusError, match=rf"there are: 'text', 'extra'.*--{option}-column"):
        rows(source, columns)


@same_folder
@given(count=st.integers(0, 40), group=st.integers(1, 15), data=st.data())
def test_any_partition_of_the_rows_gives_the_whole_file(tmp_path, count, group, data):
    source = parquet_file(tmp_path / "a.parquet", {"text": pa.array([f"t{n}" for n in range(count)], "string")}, group)
    bounds = [0, *sorted(data.draw(st.lists(st.integers(0, count + 3), max_size=5))), None]
    pieces = [row for a, b in pairwise(bounds) for row in rows(source, start=a, end=b)]
    assert [(row.row, row.text) for row in pieces] == [(n, f"t{n}") for n in range(count)]
    assert sum(block.keys for block in blocks(source)) == count


@same_folder
@given(chosen=st.sets(st.integers(0, 39)), group=st.integers(1, 50))
def test_chosen_rows_come_with_all_columns_in_order(tmp_path, chosen, group):
    columns = {"b": [f"t{n}" for n in range(40)], "a": [[n, n] for n in range(40)]}
    source = parquet_file(tmp_path / "a.parquet", columns, group)
    found = list(tables_at(source, sorted(chosen)))
    assert [n for keys, _ in found for n in keys] == sorted(chosen)
    assert [n for _, table in found for n in table["b"].to_pylist()] == [f"t{n}" for n in sorted(chosen)]
    assert all(table.column_names == ["b", "a"] for _, table in found)


def test_row_groups_without_chosen_rows_are_not_read(tmp_path):
    path = tmp_path / "a.parquet"
    source = parquet_file(path, {"text": [f"text {n}" * 50 for n in range(100)]}, 10)
    column = pq.ParquetFile(path).metadata.row_group(5).column(0)
    damaged = bytearray(path.read_bytes())
    begin = column.dictionary_page_offset or column.data_page_offset
    damaged[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(damaged)
    assert [row.row for row in rows(source, start=0, end=50)] == list(range(50))
    assert [keys for keys, _ in tables_at(source, [49, 60])] == [[49], [60]]
    seen = []
    with pytest.raises(CorruptFile, match=r"a\.parquet.*row group 5, row 50.*Fetch or write"):
        read_into(seen, source)
    assert len(seen) == 50


def test_a_row_beyond_the_file_is_an_error(tmp_path):
    source = parquet_file(tmp_path / "a.parquet", {"text": ["a"]})
    with pytest.raises(CorpusError, match="not the file that was scored"):
        list(tables_at(source, [1]))


def test_what_is_not_parquet_is_an_error(tmp_path):
    source = parquet_file(tmp_path / "a.parquet", {"text": ["a"] * 100})
    whole = (tmp_path / "a.parquet").read_bytes()
    for content in (b"", b"PAR1", b'{"text": "a"}\n' * 10, whole[: len(whole) // 2]):
        (tmp_path / "a.parquet").write_bytes(content)
        with pytest.raises(CorruptFile, match="cannot be read as Parquet"):
            rows(source)


def test_a_huge_row_group_is_read_in_small_batches(tmp_path):
    texts = ["x" * 20_000] * 3000
    source = parquet_file(tmp_path / "a.parquet", {"text": texts}, 3000)
    assert max(sum(len(row.text) for row in batch) for batch in read_rows(source, Columns())) < 5 << 20


def test_rows_come_from_a_memory_filesystem():
    memory = fsspec.filesystem("memory")
    with memory.open("/tables/a.parquet", "wb") as file:
        pq.write_table(pa.table({"text": ["a", "b"]}), file)
    assert [r.text for r in rows(list_sources(["memory://tables"]).sources[0], start=1)] == ["b"]
    memory.rm("/tables", recursive=True)


@pytest.mark.parametrize(
    ("value", "nested", "plain"),
    [
        (["x"], pa.list_(pa.string_view()), pa.list_(pa.string())),
        ({"a": [b"x"]}, pa.struct([("a", pa.list_(pa.binary_view()))]), pa.struct([("a", pa.list_(pa.binary()))])),
        ([("k", "v")], pa.map_(pa.string_view(), pa.string_view()), pa.map_(pa.string(), pa.string())),
        (["x"], pa.large_list(pa.dictionary(pa.int8(), pa.string())), pa.large_list(pa.string())),
        (["x", "y"], pa.list_(pa.string_view(), 2), pa.list_(pa.string(), 2)),
    ],
    ids=str,
)
def test_views_and_dictionaries_are_taken_at_any_depth(tmp_path, value, nested, plain):
    plain_values = pa.array([value, None], plain)
    source = parquet_file(tmp_path / "a.parquet", {"text": ["a", "b"], "m": plain_values.cast(nested)})
    found = pa.concat_tables(table for _, table in tables_at(source, [1]))
    assert found["m"].type == plain
    assert found["m"].to_pylist() == [None]
    (table,) = (table for _, table in tables_at(source, [0]))
    assert table["m"].combine_chunks().equals(plain_values.slice(0, 1))


def test_a_column_that_is_there_twice_is_an_error_where_it_is_needed_alone(tmp_path):
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"]), pa.array(["c"])], names=["text", "n", "n"])
    pq.write_table(twice, tmp_path / "a.parquet")
    [source] = list_sources([str(tmp_path / "a.parquet")]).sources
    assert [row.text for rows in read_rows(source, Columns()) for row in rows] == ["a"]
    with pytest.raises(CorpusError, match=r"a\.parquet: there are two columns 'n'"):
        list(read_rows(source, Columns(text="n")))
