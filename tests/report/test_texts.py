"""Example texts come from the corpus itself, by key, and never from a file that changed."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence.corpus import list_sources, read_rows
from attention_influence.corpus.rows import Columns
from attention_influence.report.page import Inputs, write_report
from attention_influence.report.texts import texts_at
from attention_influence.store.reader import ScoreStore, open_store

from .stores import scored, write_store

TEXTS = ["first", "zweiter\nText", "третий", "last"]


def write(path: Path) -> None:
    rows = [{"body": text} for text in TEXTS]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)
    else:
        path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)


def store_of(tmp_path: Path, name: str) -> ScoreStore:
    (tmp_path / "corpus").mkdir()
    write(tmp_path / "corpus" / name)
    run = {"sources": list_sources([str(tmp_path / "corpus")]).sources, "columns": Columns("body").to_json()}
    return open_store(str(write_store(tmp_path / "store", [scored(0, 0.1) | {"source": f"corpus/{name}"}], **run)))


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.parquet"])
def test_texts_are_those_that_were_read_for_scoring(tmp_path, name):
    store = store_of(tmp_path, name)
    (source,) = store.sources.values()
    rows = [row for batch in read_rows(source, Columns("body")) for row in batch]
    assert [row.text for row in rows] == TEXTS
    wanted = [(source.name, row.row) for row in reversed(rows[1:])]
    assert texts_at(store, wanted) == ({(source.name, row.row): row.text for row in rows[1:]}, [])


def test_columns_that_cannot_be_read_and_texts_of_bytes_are_no_obstacle(tmp_path):
    (tmp_path / "corpus").mkdir()
    latin = pa.array([b"caf\xe9", b"\xff"])
    columns = {
        "body": pa.array([b"gr\xc3\xbcn", b"blau"]),
        "url": pa.Array.from_buffers(pa.string(), 2, latin.buffers()),
        "date": pa.array([10**17, 10**17], pa.timestamp("ms")),
    }
    pq.write_table(pa.table(columns), tmp_path / "corpus" / "a.parquet")
    run = {"sources": list_sources([str(tmp_path / "corpus")]).sources, "columns": Columns("body").to_json()}
    rows = [scored(n, 0.1) | {"source": "corpus/a.parquet", "row": n} for n in range(2)]
    store = open_store(str(write_store(tmp_path / "store", rows, **run)))
    found = {("corpus/a.parquet", 0): "grün", ("corpus/a.parquet", 1): "blau"}
    assert texts_at(store, found) == (found, [])


def test_a_changed_file_gives_a_warning_in_place_of_other_texts(tmp_path):
    store = store_of(tmp_path, "a.jsonl")
    (tmp_path / "corpus" / "a.jsonl").write_text('{"body": "another text"}\n')
    texts, warnings = texts_at(store, [("corpus/a.jsonl", 0)])
    assert texts == {}
    assert len(warnings) == 1
    assert "changed since it was scored" in warnings[0]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_wrong_name_of_the_text_column_gives_a_warning(tmp_path, name):
    store = store_of(tmp_path, name)
    store = replace(store, run={**store.run, "columns": Columns("content").to_json()})
    texts, warnings = texts_at(store, [(f"corpus/{name}", 0)])
    assert texts == {}
    assert "no column 'content'" in warnings[0]


def test_a_source_that_the_run_does_not_name_gives_a_warning(tmp_path):
    texts, warnings = texts_at(store_of(tmp_path, "a.jsonl"), [("gone.jsonl", 0), ("gone.jsonl", 5)])
    assert texts == {}
    assert len(warnings) == 1
    assert "gone.jsonl" in warnings[0]


def test_a_report_reads_the_texts_itself_and_says_when_it_cannot(tmp_path):
    store_of(tmp_path, "a.jsonl")
    write_report(tmp_path / "r.html", tmp_path / "store", Inputs())
    page = (tmp_path / "r.html").read_text()
    assert "first</pre>" in page
    (tmp_path / "corpus" / "a.jsonl").unlink()
    write_report(tmp_path / "r.html", tmp_path / "store", Inputs())
    page = (tmp_path / "r.html").read_text()
    assert "The texts of corpus/a.jsonl are not shown" in page
    assert "The text is not available." in page
