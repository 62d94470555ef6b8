"""`annotate`: added columns against the corpus read row by row, through kills, changes and other rankings."""

import gzip
import json
import math
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotated_stores import annotated_store, publish, write_lines
from attention_influence.corpus import list_sources
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.columns.corpus_values import MISSING, NOT_A_NUMBER, numbers_in
from attention_influence.store.reader import open_store
from cli.conftest import Cli

VALUES = [3, -2.5, 2**60, True, "4", None, [1], math.inf, math.nan, 0, 10**400, 7]
NUMBERS = [3.0, -2.5, float(2**60), None, None, None, None, None, None, 0.0, None, 7.0]


def values_of(store: object, name: str) -> dict[tuple[str, int], float | None]:
    """(source, row) → the number, as a reader of the store sees it."""
    opened = open_store(str(store))
    rows = [row for batch in opened.batches(["source", name, "row"]) for row in batch.to_pylist()]
    return {(row["source"], row["row"]): row[name] for row in rows}


def objects(store: Path, name: str) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (store / "columns" / name).glob("*.parquet")}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """All formats; every row's text tells its number, and some rows have no text."""
    folder = tmp_path / "corpus"
    rows: list[object] = [{"text": f"row {n} of the corpus", "score": value} for n, value in enumerate(VALUES)]
    rows += [b"not json", {"text": None, "score": 5}, {"text": "no score"}, b"", {"score": 6}]
    write_lines(folder / "a.jsonl", rows)
    (folder / "b.jsonl.gz").write_bytes(gzip.compress((folder / "a.jsonl").read_bytes()))
    texts = [f"row {n} of the table" for n in range(40)]
    for name, column in {
        "int": pa.array([None, *range(39)], pa.int32()),
        "float": pa.array([math.nan, *map(float, range(39))], pa.float32()),
        "decimal": pa.array([None, *(Decimal(n) / 4 for n in range(39))], pa.decimal128(9, 2)),
        "bool": pa.array([True] * 40),
        "string": pa.array(["1.5"] * 40),
    }.items():
        table = pa.table({"text": [*texts[:39], None], "score": column})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=7)
    pq.write_table(pa.table({"text": texts}), folder / "none.parquet")
    return folder


def test_a_column_of_the_corpus_is_that_of_each_row_by_key_in_every_format(
    cli: Cli, tmp_path: Path, corpus: Path
) -> None:
    store = annotated_store(tmp_path / "s", corpus)
    assert len(store.units) > 10
    said = cli("annotate", store.url, "edu", "--column", "score", "--json")
    assert said.code == 0, said.err
    found = values_of(store.url, "edu")
    lines = (corpus / "a.jsonl").read_bytes().splitlines(keepends=True)
    starts = [sum(map(len, lines[:n])) for n in range(len(lines))]
    expected = dict(zip(starts[: len(NUMBERS)], NUMBERS, strict=True))
    rests = [starts[n] for n in (12, 13, 14, 16)]  # the empty line is no row
    expected |= dict.fromkeys(rests)
    for name in ("corpus/a.jsonl", "corpus/b.jsonl.gz"):
        assert {row: value for (source, row), value in found.items() if source == name} == expected
    tables = {
        "int": [None, *map(float, range(38)), None],
        "float": [None, *map(float, range(38)), None],
        "decimal": [None, *(n / 4 for n in range(38)), None],
    } | dict.fromkeys(("bool", "string", "none"), [None] * 40)
    for name, numbers in tables.items():
        of_file = {row: value for (source, row), value in found.items() if source == f"corpus/{name}.parquet"}
        assert of_file == dict(enumerate(numbers)), name
    data = json.loads(said.out)
    assert data["with_value"] == sum(value is not None for value in found.values())
    # Without text: in JSON lines 3 rows, twice, and one in each table but the last.
    assert data["without"]["no_text"] == 3 * 2 + 5
    assert data["without"]["not_a_number"] == 6 * 2 + 1 + 39 * 2
    assert data["without"]["missing"] == 2 * 2 + 1 + 1 + 40
    [domain] = data["domains"]
    assert (domain["lowest"], domain["highest"]) == (-2.5, float(2**60))
    assert domain["documents"] == len(found)


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (pa.timestamp("ms"), pa.array([10**17, None])),
        (pa.date32(), pa.array([2**30, None], pa.int32())),
        (pa.string(), pa.array([b"\xe9", None])),
    ],
    ids=str,
)
def test_values_that_nothing_can_show_are_no_numbers(type_: pa.DataType, values: pa.Array) -> None:
    column = pa.Array.from_buffers(type_, 2, values.buffers())
    assert numbers_in(pa.chunked_array([column])) == [NOT_A_NUMBER, MISSING]
    assert numbers_in(pa.chunked_array([pa.array([1, None])])) == [1.0, MISSING]


def test_an_added_column_ranks_like_any_other(cli: Cli, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    for name in ("web", "code"):
        rows = [{"text": f"{name} text number {n}", "score": (n * 37) % 50 if n % 5 else None} for n in range(50)]
        write_lines(corpus / f"{name}.jsonl", rows)
    store = annotated_store(tmp_path / "s", corpus)
    assert cli("annotate", store.url, "edu", "--column", "score").code == 0
    for ranking, sign in (("edu", -1), ("-edu", 1)):
        out = tmp_path / f"out {ranking}"
        said = cli("select", store.url, "--top", "0.25", f"--rank-by={ranking}", "--out", out)
        assert said.code == 0, said.err
        rows = [json.loads(line) for file in out.glob("**/*.jsonl") for line in file.read_text().splitlines()]
        ranked = sorted(sign * row["score"] for row in all_rows(corpus) if row["score"] is not None)
        assert sorted(sign * row["edu"] for row in rows) == ranked[: math.ceil(0.25 * 80)]
        assert all(row["score"] == row["edu"] for row in rows)


def all_rows(corpus: Path) -> list[dict[str, float]]:
    return [json.loads(line) for file in corpus.glob("*.jsonl") for line in file.read_text().splitlines()]


KILLED = """
import os, sys
from attention_influence.cli import main
from attention_influence.storage import atomic_files

left, replace = int(sys.argv[1]), os.replace
def killed(*names):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    replace(*names)
os.replace = killed
sys.exit(main(sys.argv[2:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("source", ["column", "classifier"])
def test_a_kill_at_any_write_leaves_whole_units_and_a_rerun_finishes(cli: Cli, tmp_path: Path, source: str) -> None:
    rows = [{"text": f"{'good tide' if n % 2 else 'bad bridge'} {n}", "score": n} for n in range(60)]
    corpus = write_lines(tmp_path / "corpus" / "a.jsonl", rows).parent
    good = write_lines(tmp_path / "good.jsonl", rows[1::2])
    bad = write_lines(tmp_path / "bad.jsonl", rows[::2])
    store = annotated_store(tmp_path / "s", corpus, unit_tokens=100)
    asked = ["--column", "score"] if source == "column" else ["--positive", str(good), "--negative", str(bad)]
    assert cli("annotate", store.url, "whole", *asked).code == 0
    whole = objects(tmp_path / "s", "whole")
    writes = len(whole) + (1 if source == "column" else 2)
    assert len(whole) > 2
    for after in (0, 1, 2, writes - 1):
        name = f"killed{after}"
        command = [sys.executable, "-c", KILLED, str(after), "annotate", store.url, name, *asked]
        assert subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode == 9
        half = objects(tmp_path / "s", name)
        assert len(half) == max(after - (writes - len(whole)), 0)
        before = {file: (tmp_path / "s" / "columns" / name / file).stat().st_mtime_ns for file in half}
        assert cli("annotate", store.url, name, *asked).code == 0
        assert values_of(store.url, name) == values_of(store.url, "whole")
        now = {file: (tmp_path / "s" / "columns" / name / file).stat().st_mtime_ns for file in half}
        assert now == before, "done units are not done again"


def test_units_that_join_later_are_asked_for_and_completed_without_a_source(
    cli: Cli, tmp_path: Path, corpus: Path
) -> None:
    store = annotated_store(tmp_path / "s", corpus, done=4)
    said = cli("annotate", store.url, "edu", "--column", "score")
    assert said.code == 0
    assert f"4 of {len(store.units)} units have the column" in said.out
    assert f"annotate {store.url} edu" in said.out
    assert len(values_of(store.url, "edu")) > 0
    publish(store, store.units[4:])
    said = cli("select", store.url, "--top", 0.5, "--rank-by", "edu", "--out", tmp_path / "out")
    assert said.code == 1
    assert f"do not have this column yet. Complete it with `annotate {store.url} edu`" in said.err
    assert cli("annotate", store.url, "edu").code == 0
    assert cli("annotate", store.url, "fresh", "--column", "score").code == 0
    assert objects(tmp_path / "s", "edu").keys() == objects(tmp_path / "s", "fresh").keys()
    assert values_of(store.url, "edu") == values_of(store.url, "fresh")


def test_a_store_that_was_extended_gets_the_numbers_of_its_new_files(cli: Cli, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus" / "a.jsonl", [{"text": "one", "score": 1}]).parent
    store = annotated_store(tmp_path / "s", corpus)
    assert cli("annotate", store.url, "edu", "--column", "score").code == 0
    write_lines(corpus / "b.jsonl", [{"text": "two", "score": 2}])
    extended = begin_or_resume(store.url, list_sources([str(corpus)]), 20, dict(store.run), Changes(extend=True))
    publish(extended, extended.units[1:])
    assert cli("annotate", store.url, "edu", "--column", "score").code == 0
    assert sorted(values_of(store.url, "edu").values()) == [1.0, 2.0]


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("influence", ["--column", "score"], "'influence' is a column or ranking"),
        ("controlled", ["--column", "score"], "'controlled' is a column or ranking"),
        ("random", ["--column", "score"], "is a column or ranking"),
        ("copy_share", ["--column", "score"], "is a column or ranking"),
        ("../x", ["--column", "score"], "cannot name a column"),
        ("1x", ["--column", "score"], "cannot name a column"),
        ("edu", ["--column", "score", "--positive", "x"], "Say where"),
        ("edu", ["--positive", "x"], "Say where"),
        ("edu", ["--overwrite"], "Say where"),
        ("edu", [], "has no added column 'edu' yet"),
    ],
)
def test_what_cannot_be_added_is_refused_and_leaves_nothing(
    cli: Cli, tmp_path: Path, name: str, source: list[str], said: str
) -> None:
    corpus = write_lines(tmp_path / "corpus" / "a.jsonl", [{"text": "one", "score": 1}]).parent
    store = annotated_store(tmp_path / "s", corpus)
    result = cli("annotate", store.url, name, *source)
    assert result.code in (1, 2)
    assert said in result.err
    assert not (tmp_path / "s" / "columns").exists()


def test_a_folder_that_is_no_store_is_refused(cli: Cli, tmp_path: Path) -> None:
    said = cli("annotate", tmp_path, "edu", "--column", "score")
    assert said.code == 1
    assert "not a score store" in said.err


def test_another_source_for_a_name_is_refused_until_it_is_to_be_replaced(cli: Cli, tmp_path: Path) -> None:
    rows = [{"text": f"row {n}", "one": n, "two": -n} for n in range(50)]
    corpus = write_lines(tmp_path / "corpus" / "a.jsonl", rows).parent
    store = annotated_store(tmp_path / "s", corpus)
    assert cli("annotate", store.url, "edu", "--column", "one").code == 0
    refused = cli("annotate", store.url, "edu", "--column", "two")
    assert refused.code == 1
    assert "--overwrite" in refused.err
    assert sum(values_of(store.url, "edu").values()) == sum(range(50))
    assert cli("annotate", store.url, "edu", "--column", "two", "--overwrite").code == 0
    assert sum(values_of(store.url, "edu").values()) == -sum(range(50))


def test_a_mistyped_column_is_said_and_fails(cli: Cli, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "corpus" / "a.jsonl", [{"text": "one", "score": 1}]).parent
    store = annotated_store(tmp_path / "s", corpus)
    said = cli("annotate", store.url, "edu", "--column", "scroe")
    assert said.code == 1
    assert "no row has a number" in said.out
    assert "1 missing" in said.out


def test_a_file_that_changed_costs_its_units_alone_and_is_named(cli: Cli, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    for name in ("a", "b", "c"):
        write_lines(corpus / f"{name}.jsonl", [{"text": f"a text of {name} " * 9, "score": 1}])
    store = annotated_store(tmp_path / "s", corpus)
    write_lines(corpus / "b.jsonl", [{"text": "another", "score": 2}])
    said = cli("annotate", store.url, "edu", "--column", "score", "--json")
    assert said.code == 1
    data = json.loads(said.out)
    [why] = data["refused"].values()
    assert "b.jsonl is gone or has changed since the run was planned" in why
    assert "--rescore-changed" in why
    assert (data["units"], data["with_value"]) == (len(store.units) - 1, 2)


def test_an_object_that_does_not_belong_to_its_unit_is_refused_by_name(cli: Cli, tmp_path: Path, corpus: Path) -> None:
    store = annotated_store(tmp_path / "s", corpus)
    assert cli("annotate", store.url, "edu", "--column", "score").code == 0
    folder = tmp_path / "s" / "columns" / "edu"
    first, second = (folder / f"{unit.name}.parquet" for unit in store.units[:2])
    good = first.read_bytes()
    tables = [good[: len(good) // 2], second.read_bytes()]
    shorter = pq.read_table(first)
    pq.write_table(shorter.slice(1), tmp_path / "shorter.parquet")
    for bad in (*tables, (tmp_path / "shorter.parquet").read_bytes()):
        first.write_bytes(bad)
        said = cli("select", store.url, "--top", 0.5, "--rank-by", "edu", "--out", tmp_path / "out", "--manifest")
        assert said.code == 1
        assert first.name in said.err
        assert f"annotate {store.url} edu" in said.err
    first.unlink()
    assert cli("annotate", store.url, "edu").code == 0
    assert first.read_bytes() == good


def test_units_without_rows_have_an_added_column_without_rows(cli: Cli, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_lines(corpus / "a.jsonl", [{"text": "one " * 30, "score": 1}])
    write_lines(corpus / "b.jsonl", [b" " * 100])
    store = annotated_store(tmp_path / "s", corpus)
    assert cli("annotate", store.url, "edu", "--column", "score").code == 0
    assert list(values_of(store.url, "edu").values()) == [1.0]
