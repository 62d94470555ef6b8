"""Columns that are none of a selection's business are carried along, and clashes are found before any work."""

import json
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_files import scored_store

from attention_influence.corpus import list_sources
from attention_influence.errors import CorpusError, UsageError
from attention_influence.selection import select
from attention_influence.selection.output.columns import warnings_of_columns
from attention_influence.selection.output.json_table import strict_line
from attention_influence.storage.strict_json import strict_json

LATIN = pa.array([b"caf\xe9", b"ok", None])
ODD: dict[str, pa.Array] = {
    "url": pa.Array.from_buffers(pa.string(), 3, LATIN.buffers()),
    "date": pa.array([10**17, 0, None], pa.timestamp("ms")),
    "day": pa.Array.from_buffers(pa.date32(), 3, pa.array([2**30, 0, None], pa.int32()).buffers()),
    "nanoseconds": pa.array([1, 2, None], pa.timestamp("ns", "UTC")),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}', "2", None])),
    "uuid": pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, b"1" * 16, None], pa.binary(16))),
    "decimal": pa.array(["1.50", "2", None]).cast(pa.decimal128(30, 2)),
    "float": pa.array([float("nan"), float("inf"), None]),
    "map": pa.array([[("k", [b"x"])], [], None], pa.map_(pa.string(), pa.list_(pa.string()))),
    "nested": pa.array([[{"t": 10**18}], [{"t": None}], None], pa.list_(pa.struct([("t", pa.timestamp("us"))]))),
    "duration": pa.array([1, 2, None], pa.duration("ns")),
    "view": pa.array([["a"], ["b"], None], pa.list_(pa.string_view())),
}
TEXTS = [f"text {n / 10}" for n in range(3)]


def strict(line: bytes) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return json.loads(line, parse_constant=refuse)


def odd_store(folder: Path) -> Path:
    (folder / "web").mkdir()
    pq.write_table(pa.table({"text": TEXTS} | ODD), folder / "web" / "a.parquet")
    return scored_store(folder / "store", folder / "web")


def test_parquet_carries_what_nothing_could_decode(tmp_path: Path) -> None:
    selection = select(odd_store(tmp_path), out=tmp_path / "out", top=1.0)
    found = pq.read_table(tmp_path / "out" / selection.files[0])
    for name, column in ODD.items():
        expected = column.cast(pa.list_(pa.string())) if name == "view" else column
        kept = found[name].combine_chunks()
        if name == "map":  # Parquet names the pair's fields otherwise
            kept = kept.cast(column.type)
        assert kept.equals(expected) or name == "float", name
    assert str(found["float"].to_pylist()) == "[nan, inf, None]"


def test_json_lines_of_it_are_strict_and_say_what_was_there(tmp_path: Path) -> None:
    selection = select(odd_store(tmp_path), out=tmp_path / "out", top=1.0, format="jsonl")
    first, second, third = map(strict, (tmp_path / "out" / selection.files[0]).read_bytes().splitlines())
    assert first["url"] == "caf�"
    assert first["date"] == "<value out of range: 100000000000000000>"
    assert second["date"] == "1970-01-01 00:00:00.000"
    assert second["day"] == "1970-01-01"
    assert first["nanoseconds"] == "1970-01-01 00:00:00.000000001Z"
    assert first["json"] == '{"a": 1}'
    assert first["uuid"] == "30303030-3030-3030-3030-303030303030"
    assert first["decimal"] == "1.50"
    assert (first["float"], second["float"]) == (None, None)
    assert first["map"] == [{"key": "k", "value": ["x"]}]
    assert first["nested"] == [{"t": "<value out of range: 1000000000000000000>"}]
    assert first["duration"] == 1
    assert second["view"] == ["b"]
    assert all(third[name] is None for name in ODD)
    rows = duckdb.sql(f"SELECT text FROM read_json('{tmp_path}/out/data/*')").fetchall()
    assert [text for (text,) in rows] == TEXTS


def test_bytes_are_refused_for_json_before_any_work_but_not_as_text(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    raw = pa.array([text.encode() for text in TEXTS])
    pq.write_table(pa.table({"text": raw}), tmp_path / "web" / "a.parquet")
    store = scored_store(tmp_path / "s", tmp_path / "web")
    selection = select(store, out=tmp_path / "out", top=1.0, format="jsonl")
    found = (tmp_path / "out" / selection.files[0]).read_bytes().splitlines()
    assert [strict(line)["text"] for line in found] == TEXTS
    pq.write_table(pa.table({"text": TEXTS, "images": [[{"bytes": b"\xff"}]] * 3}), tmp_path / "web" / "a.parquet")
    store = scored_store(tmp_path / "s2", tmp_path / "web")
    with pytest.raises(CorpusError, match=r"a\.parquet: column 'images' holds bytes.*--format parquet"):
        select(store, out=tmp_path / "no", top=1.0, format="jsonl")
    assert not list(tmp_path.glob("*no*"))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"a":  1.10, "b": "\\u00e9"}', None),
        (b'{"a":\t"NaN Infinity \\ud83d\\ude00"}', None),
        (b'{"a": NaN, "b": [-Infinity, 1]}', {"a": None, "b": [None, 1]}),
        (b'{"a": "tab\there \x00"}', {"a": "tab\there \x00"}),
        (b'{"a": {"b": "\\ud800!"}}', {"a": {"b": "�!"}}),
    ],
)
def test_a_line_keeps_its_bytes_where_it_is_json_by_the_letter(line: bytes, expected: object) -> None:
    found = strict_line(line)
    assert found == line if expected is None else strict(found) == expected
    found.decode("utf-8")


def test_json_by_the_letter_has_null_for_what_is_not_finite() -> None:
    assert (
        strict_json({"a": [float("nan"), (1.5, float("-inf"))], "b": "NaN"}) == '{"a": [null, [1.5, null]], "b": "NaN"}'
    )


def test_lines_with_what_is_no_json_become_parquet_or_lines(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    lines = [b'{"text": "a 0.1", "x": NaN, "s": "\\ud800"}', b'{"text": "b 0.2", "x": 1, "s": "fine"}']
    (tmp_path / "web" / "a.jsonl").write_bytes(b"\n".join(lines))
    store = scored_store(tmp_path / "s", tmp_path / "web")
    selection = select(store, out=tmp_path / "p", top=1.0, format="parquet")
    found = pq.read_table(tmp_path / "p" / selection.files[0])
    assert found["s"].to_pylist() == ["�", "fine"]
    assert str(found["x"].to_pylist()) == "[nan, 1.0]"
    selection = select(store, out=tmp_path / "l", top=1.0)
    first, second = (tmp_path / "l" / selection.files[0]).read_bytes().splitlines()
    assert strict(first)["x"] is None
    assert second.startswith(lines[1][:-1])


@pytest.mark.parametrize("name", ["influence", "Influence", "INFLUENCE_RANK"])
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_a_name_that_is_taken_in_any_letter_case_is_refused_before_work_and_a_prefix_helps(
    tmp_path: Path, name: str, ending: str
) -> None:
    (tmp_path / "web").mkdir()
    path = tmp_path / "web" / f"a.{ending}"
    if ending == "jsonl":
        path.write_text("".join(json.dumps({"text": text, name: 7}) + "\n" for text in TEXTS))
    else:
        pq.write_table(pa.table({"text": TEXTS, name: [7] * 3}), path)
    store = scored_store(tmp_path / "s", tmp_path / "web")
    with pytest.raises(CorpusError, match=rf"column '{name}' already.*--column-prefix new_.*--manifest"):
        select(store, out=tmp_path / "out", top=1.0)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["s", "web"]
    selection = select(store, out=tmp_path / "out", top=1.0, column_prefix="new_")
    assert selection.columns == ("new_influence", "new_influence_rank")
    record = json.loads((tmp_path / "out" / "selection.json").read_text())
    assert record["columns"] == ["new_influence", "new_influence_rank"]
    assert "`new_influence_rank`" in (tmp_path / "out" / "README.md").read_text()
    rows = duckdb.sql(f"SELECT {name}, new_influence_rank FROM '{tmp_path}/out/{selection.files[0]}'").fetchall()
    assert rows == [(7, 3), (7, 2), (7, 1)]
    with pytest.raises(UsageError, match="--column-prefix"):
        select(store, out=tmp_path / "m", top=1.0, column_prefix="new_", manifest=True)


def test_two_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    twice = pa.Table.from_arrays([pa.array(TEXTS), pa.array([1] * 3), pa.array([2] * 3)], names=["text", "n", "n"])
    pq.write_table(twice, tmp_path / "web" / "a.parquet")
    store = scored_store(tmp_path / "s", tmp_path / "web")
    for format in ("parquet", "jsonl"):
        out = tmp_path / format
        selection = select(store, out=out, top=1.0, format=format)  # type: ignore[arg-type]
        assert "written as 'n_2'" in " ".join(selection.warnings)
        assert duckdb.sql(f"SELECT n, n_2 FROM '{out}/{selection.files[0]}'").fetchall() == [(1, 2)] * 3


def test_what_a_selection_will_stumble_over_is_known_from_the_files(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "a.jsonl").write_text('{"text": "a"}\n{"text": "b", "Influence": 1}\n')
    twice = pa.Table.from_arrays([pa.array(TEXTS), pa.array([1] * 3), pa.array([2] * 3)], names=["text", "n", "n"])
    pq.write_table(twice, tmp_path / "web" / "b.parquet")
    (tmp_path / "web" / "c.parquet").write_bytes(b"no Parquet")
    clash, doubled = warnings_of_columns(list_sources([str(tmp_path / "web")]).sources)
    assert "a.jsonl: there is a column 'Influence'" in clash
    assert "--column-prefix" in clash
    assert "b.parquet: two columns of one name" in doubled


def test_integers_that_no_float_holds_are_kept_apart_and_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    for name, values in {"a": [0.5, None, 1.0], "b": [1, 2, 3], "c": [2**53 + 1, 1, 1]}.items():
        pq.write_table(pa.table({"text": TEXTS, "n": values}), tmp_path / "web" / f"{name}.parquet")
    selection = select(scored_store(tmp_path / "s", tmp_path / "web"), out=tmp_path / "out", top=1.0)
    assert [file.partition("/")[0] for file in selection.files] == ["data", "data-2"]
    assert pq.read_table(tmp_path / "out" / selection.files[1])["n"].to_pylist() == [2**53 + 1, 1, 1]
    [warning] = selection.warnings
    assert warning.startswith("data-2 is a configuration of its own")


def test_lines_of_no_one_type_stay_lines_beside_parquet(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "web" / "a.parquet")
    (tmp_path / "web" / "b.jsonl").write_bytes(b'{"text": "a 0.1", "v": 1}\n{"text": "b 0.2", "v": "one"}\n')
    store = scored_store(tmp_path / "s", tmp_path / "web")
    selection = select(store, out=tmp_path / "out", top=1.0)
    assert selection.files == ("data/00000.parquet", "data-2/00000.jsonl")
    assert "JSON lines are written to data-2" in selection.warnings[0]
    with pytest.raises(CorpusError, match="'v' do not fit one Parquet column"):
        select(store, out=tmp_path / "no", top=1.0, format="parquet")
    assert not list(tmp_path.glob("*no*"))
