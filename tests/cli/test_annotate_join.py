"""`annotate --join`: numbers of other files, against looking each row up."""

import gzip
import json
import math
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotated_stores import annotated_store, publish, write_lines
from attention_influence.corpus import Columns, list_sources
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.reader import open_store
from attention_influence.store.run import RunStore
from cli.conftest import Cli

WITH_ID = Columns(id="name")


def rows_of(store: RunStore, *columns: str) -> list[dict[str, object]]:
    return [row for batch in open_store(store.url).batches(list(columns)) for row in batch.to_pylist()]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """90 documents n0 … n89 in three files, n7 twice; one row without text, one without an id."""
    names = [f"n{n}" for n in range(90)] + ["n7"]
    rows: list[object] = [{"text": f"document {name} of the corpus", "name": name} for name in names]
    rows += [{"text": None, "name": "n90"}, {"text": "nobody knows me"}]
    random.Random(0).shuffle(rows)
    write_lines(tmp_path / "corpus" / "a.jsonl", rows[:40])
    write_lines(tmp_path / "corpus" / "b.jsonl", rows[40:70])
    pq.write_table(pa.Table.from_pylist(rows[70:]), tmp_path / "corpus" / "c.parquet")
    return annotated_store(tmp_path / "s", tmp_path / "corpus", columns=WITH_ID)


def test_numbers_by_key_are_those_of_each_row_from_parquet_and_lines_at_once(
    cli: Cli, tmp_path: Path, store: RunStore
) -> None:
    keys = rows_of(store, "source", "row", "n_chars")
    chance = random.Random(1)
    expected = {(key["source"], key["row"]): chance.choice([None, 0.5, 2, -1.25]) for key in keys}
    given = [{"source": source, "row": row, "edu": edu} for (source, row), edu in expected.items()]
    chance.shuffle(given)
    given += [{"source": "elsewhere/x", "row": 3, "edu": 9.0}]
    (tmp_path / "numbers").mkdir()
    pq.write_table(pa.Table.from_pylist(given[:50]), tmp_path / "numbers" / "one.parquet", row_group_size=7)
    write_lines(tmp_path / "numbers" / "two.jsonl", given[50:])
    said = cli("annotate", store.url, "edu", "--join", tmp_path / "numbers", "--column", "edu", "--json")
    assert said.code == 0, said.err
    found = {(row["source"], row["row"]): row["edu"] for row in rows_of(store, "source", "row", "edu")}
    texts = {(key["source"], key["row"]): key["n_chars"] for key in keys}
    assert found == {key: None if texts[key] is None else edu for key, edu in expected.items()}
    without = sum(edu is None for key, edu in expected.items() if texts[key] is not None)
    assert json.loads(said.out)["without"] == {"missing": without, "no_text": 1}


def test_numbers_by_id_are_shared_by_those_who_share_it_and_what_is_not_there_is_counted_by_reason(
    cli: Cli, tmp_path: Path, store: RunStore
) -> None:
    given: list[object] = [{"doc": f"n{n}", "edu": n / 4} for n in range(60)]
    given += [{"doc": "n3", "edu": 0.75}, {"doc": "n4", "edu": 77}, {"doc": "n5", "edu": None}]
    given += [{"doc": "n60", "edu": "much"}, {"doc": "n61", "edu": None}, {"doc": "n61"}, {"doc": "n90", "edu": 1}]
    files = write_lines(tmp_path / "edu.jsonl", [*given, b"", {"doc": "n62", "edu": math.inf}])
    asked = ["--join", files, "--join-on", "id", "--id-column", "doc", "--column", "edu"]
    said = cli("annotate", store.url, "edu", *asked, "--json")
    assert said.code == 0, said.err
    expected = {f"n{n}": n / 4 if n < 60 and n != 4 else None for n in range(91)} | {None: None}
    rows = rows_of(store, "id", "edu")
    assert all(row["edu"] == expected[row["id"]] for row in rows)
    assert sum(row["edu"] == 7 / 4 for row in rows) == 2
    assert json.loads(said.out)["without"] == {
        "no_text": 1,
        "no_id": 1,
        "ambiguous": 1,
        "not_a_number": 2,
        "missing": 28,  # n61, and n63 to n89
    }
    out = tmp_path / "out"
    assert cli("select", store.url, "--top", 0.1, "--rank-by", "edu", "--out", out, "--manifest").code == 0
    assert pq.read_table(out / "manifest.parquet")["edu"].to_pylist()[0] >= 53 / 4


def test_dolma_attributes_count_by_the_length_of_their_spans(cli: Cli, tmp_path: Path, store: RunStore) -> None:
    spans: list[object] = [
        [[0, 100, 0.5]],
        [[0, 30, 1.0], [30, 40, 0.0]],
        [[0, 0, 0.25]],
        [],
        [[0, 10, "x"]],
        [[0, 10]],
        [[10, 0, 1.0]],
        7,
        None,
    ]
    lines = [{"id": f"n{n}", "attributes": {"edu": value, "other": [[0, 1, 9]]}} for n, value in enumerate(spans)]
    lines += [{"id": "n9", "attributes": {}}, {"id": "n10"}]
    folder = tmp_path / "attributes" / "edu"
    folder.mkdir(parents=True)
    (folder / "0.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    said = cli("annotate", store.url, "edu", "--join", folder, "--join-on", "id", "--column", "edu", "--json")
    assert said.code == 0, said.err
    found = {row["id"]: row["edu"] for row in rows_of(store, "id", "edu") if row["edu"] is not None}
    assert found == {"n0": 0.5, "n1": 0.75, "n2": 0.25}
    assert json.loads(said.out)["without"]["not_a_number"] == 5  # n7 is there twice


def test_units_that_join_later_are_completed_from_the_same_files_and_from_no_others(
    cli: Cli, tmp_path: Path, store: RunStore
) -> None:
    files = write_lines(tmp_path / "edu.jsonl", [{"id": f"n{n}", "edu": n} for n in range(99)])
    asked = ["--join", files, "--join-on", "id", "--column", "edu"]
    assert cli("annotate", store.url, "edu", *asked).code == 0
    write_lines(tmp_path / "corpus" / "d.jsonl", [{"text": "one more", "name": "n95"}])
    listing = list_sources([str(tmp_path / "corpus")])
    extended = begin_or_resume(store.url, listing, 20, dict(store.run), Changes(extend=True))
    publish(extended, extended.units[len(store.units) :])
    assert cli("annotate", store.url, "edu").code == 0
    assert {row["id"]: row["edu"] for row in rows_of(store, "id", "edu")}["n95"] == 95
    (tmp_path / "s" / "columns" / "edu" / f"{store.units[0].name}.parquet").unlink()
    write_lines(files, [{"id": "n1", "edu": 1}])
    refused = cli("annotate", store.url, "edu")
    assert refused.code == 1
    assert "has changed since the column was begun" in refused.err
    assert "--overwrite" in cli("annotate", store.url, "edu", *asked).err
    assert cli("annotate", store.url, "edu", *asked, "--overwrite").code == 0


@pytest.mark.parametrize(
    ("lines", "more", "said"),
    [
        ([{"id": "n1", "edu": 1}], [], "no 'source'"),
        ([{"source": "a", "row": 1, "edu": 1}], ["--join-on", "id"], "no 'id'"),
        ([{"id": None, "edu": 1}], ["--join-on", "id"], "names no document"),
        ([{"source": "a", "row": "1", "edu": 1}], [], "names no document"),
        ([b"{"], [], "holds no JSON object"),
    ],
)
def test_files_that_name_no_documents_are_refused(
    cli: Cli, tmp_path: Path, store: RunStore, lines: list[object], more: list[str], said: str
) -> None:
    files = write_lines(tmp_path / "edu.jsonl", lines)
    result = cli("annotate", store.url, "edu", "--join", files, "--column", "edu", *more)
    assert result.code == 1
    assert said in result.err


IDS = [1000, 1001, 2**53 - 1, 2**53, 2**53 + 1, 2**64 + 1, "text", True, "caf\u00e9"]


@pytest.fixture
def numbered(tmp_path: Path) -> RunStore:
    """A document for each of IDS; the binary ids are those of a Parquet file beside them."""
    write_lines(tmp_path / "corpus" / "a.jsonl", [{"text": f"document {n}", "name": n} for n in IDS])
    binary = pa.array([b"\xff\x00", b"\xfe\x00", b"plain"], pa.binary())
    pq.write_table(pa.table({"text": ["a b", "c d", "e f"], "name": binary}), tmp_path / "corpus" / "b.parquet")
    return annotated_store(tmp_path / "s", tmp_path / "corpus", columns=WITH_ID)


def joined_by_id(cli: Cli, store: RunStore, files: Path) -> dict[object, object]:
    said = cli("annotate", store.url, "edu", "--join", files, "--join-on", "id", "--column", "edu", "--overwrite")
    assert said.code == 0, said.err
    return {row["id"]: row["edu"] for row in rows_of(store, "id", "edu") if row["edu"] is not None}


def test_ids_match_exactly_whatever_types_other_tools_gave_them(cli: Cli, tmp_path: Path, numbered: RunStore) -> None:
    files = write_lines(tmp_path / "edu.jsonl", [{"id": n, "edu": at} for at, n in enumerate(IDS)])
    expected = {str(n): at for at, n in enumerate(IDS)}
    assert joined_by_id(cli, numbered, files) == expected
    files.write_bytes(b"\xef\xbb\xbf" + files.read_bytes())
    assert joined_by_id(cli, numbered, files) == expected
    floats = pa.table({"id": [1000.0, 1001.0, float(2**53 - 1)], "edu": [0, 1, 2]})
    pq.write_table(floats, tmp_path / "floats.parquet")
    assert joined_by_id(cli, numbered, tmp_path / "floats.parquet") == {"1000": 0, "1001": 1, str(2**53 - 1): 2}
    binary = pa.table({"id": pa.array([b"\xfe\x00", b"\xfd\x00", b"plain"], pa.large_binary()), "edu": [7, 8, 9]})
    pq.write_table(binary, tmp_path / "binary.parquet")
    assert joined_by_id(cli, numbered, tmp_path / "binary.parquet") == {"binary:fe00": 7, "plain": 9}


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_floats_that_several_integers_become_are_refused_by_name(
    cli: Cli, tmp_path: Path, numbered: RunStore, kind: pa.DataType
) -> None:
    large = 2**53 if kind == pa.float64() else 2**24
    pq.write_table(pa.table({"id": pa.array([float(large)], kind), "edu": [1]}), tmp_path / "f.parquet")
    said = cli("annotate", numbered.url, "edu", "--join", tmp_path / "f.parquet", "--join-on", "id", "--column", "edu")
    assert said.code == 1
    assert f"f.parquet, row 0: the id {float(large)!r} is a float so large" in said.err


def test_rows_that_became_floats_are_the_same_rows(cli: Cli, tmp_path: Path, store: RunStore) -> None:
    keys = rows_of(store, "source", "row", "n_chars")
    table = {"source": [key["source"] for key in keys], "row": [float(str(key["row"])) for key in keys]}
    pq.write_table(pa.table(table | {"edu": range(len(keys))}), tmp_path / "f.parquet")
    assert cli("annotate", store.url, "edu", "--join", tmp_path / "f.parquet", "--column", "edu").code == 0
    found = [row["edu"] for row in rows_of(store, "edu")]
    assert found == [None if key["n_chars"] is None else at for at, key in enumerate(keys)]


def test_a_column_that_a_parquet_file_lacks_is_named_and_files_without_a_column_are_a_usage_error(
    cli: Cli, tmp_path: Path, store: RunStore
) -> None:
    pq.write_table(pa.table({"id": ["n1"], "quality": [1.0]}), tmp_path / "x.parquet")
    said = cli("annotate", store.url, "edu", "--join", tmp_path / "x.parquet", "--join-on", "id", "--column", "edu")
    assert said.code == 1
    assert "no column 'edu'; there are: 'id', 'quality'" in said.err
    assert cli("annotate", store.url, "edu", "--join", tmp_path / "x.parquet", "--overwrite").code == 2
