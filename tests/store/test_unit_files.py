"""Compaction: the same rows before and after, after a kill at any step, and for runs that go on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from annotated_stores import annotated_store, publish, write_lines
from attention_influence.cli import main
from attention_influence.corpus import list_sources
from attention_influence.corpus.atomic_files import write_atomically
from attention_influence.errors import StoreError
from attention_influence.report.store_figures import read_store
from attention_influence.store import unit_files as unit_objects
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.reader import open_store
from attention_influence.store.run import RunStore, open_run
from s3_server import BUCKET, s3_server


def texts(count: int, first: int = 0) -> list[object]:
    return [{"text": f"row {n} of the corpus", "score": n} for n in range(first, first + count)]


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    """Units of three rows and one without, with an added column."""
    write_lines(tmp_path / "corpus" / "a.jsonl", texts(21))
    write_lines(tmp_path / "corpus" / "b.jsonl", [b" " * 40])
    made = annotated_store(tmp_path / "s", tmp_path / "corpus")
    assert main(["annotate", made.url, "edu", "--column", "score"]) == 0
    assert len(made.units) > 5
    return made


def everything(url: str) -> tuple[object, ...]:
    """What readers see of a store."""
    run, opened = open_run(url), open_store(url)
    assert run is not None
    rows = [row for batch in opened.batches([*opened.schema.names]) for row in batch.to_pylist()]
    return rows, run.published(), run.records(), opened.added["edu"].records(), read_store(opened, {}), opened.schema


def compact(url: str) -> None:
    assert main(["status", url, "--compact"]) == 0


def files(store: RunStore) -> list[str]:
    return sorted(str(file.relative_to(store.url)) for file in Path(store.url).rglob("*.parquet"))


def test_a_compacted_store_reads_the_same_from_few_files(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    before, opened_before = everything(store.url), open_store(store.url)
    compact(store.url)
    assert f"{2 * len(store.units)} objects were put into 2 files" in capsys.readouterr().out
    assert len(files(store)) == 3
    assert everything(store.url) == before
    late = [row for batch in opened_before.batches(["source", "row", "edu"]) for row in batch.to_pylist()]
    assert [row["edu"] for row in late] == [row["edu"] for row in before[0]], "opened before, read after"
    once = files(store)
    compact(store.url)
    assert files(store) == once


def test_packs_have_a_size_and_a_unit_alone_stays_as_it_is(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(store.url)
    size = (Path(store.url) / "scores" / f"{store.units[0].name}.parquet").stat().st_size
    monkeypatch.setattr(unit_objects, "_PACK_BYTES", 2 * size + 200)
    compact(store.url)
    packs = [name for name in files(store) if name.startswith("scores/packs")]
    assert len(packs) == len(store.units) // 2
    assert everything(store.url) == before


KILLED = """
import os, sys
from attention_influence.corpus import atomic_files
from attention_influence.store import unit_files as unit_objects

left = int(sys.argv[1])
def step(do):
    def counted(*given):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        do(*given)
    return counted
os.replace = step(os.replace)
unit_objects.remove = step(unit_objects.remove)
for folder in ("scores", "columns/edu"):
    objects = unit_objects.UnitObjects(f"{sys.argv[2]}/{folder}", "")
    objects.compact(sorted(objects.names()))
"""


def test_a_kill_between_any_two_steps_leaves_a_store_that_reads_the_same(store: RunStore) -> None:
    before = everything(store.url)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    kills = 0
    # Each run goes on from what the last one left, and gets two steps further.
    command = [sys.executable, "-c", KILLED, "2", store.url]
    while (ended := subprocess.run(command, check=False, env=environment).returncode) == 9:
        kills += 1
        assert everything(store.url) == before
    assert ended == 0
    assert kills > len(store.units) / 2
    assert len(files(store)) == 3


@pytest.mark.parametrize("after", range(4))
def test_a_kill_after_the_first_steps_of_a_whole_store_does_too(store: RunStore, after: int) -> None:
    before = everything(store.url)
    command = [sys.executable, "-c", KILLED, str(after), store.url]
    assert subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode == 9
    assert everything(store.url) == before
    compact(store.url)
    assert everything(store.url) == before
    assert len(files(store)) == 3


def test_a_run_goes_on_with_a_compacted_store_and_its_changes_count(store: RunStore, tmp_path: Path) -> None:
    compact(store.url)
    corpus = tmp_path / "corpus"
    write_lines(corpus / "c.jsonl", texts(6, 100))
    listing = list_sources([str(corpus)])
    extended = begin_or_resume(store.url, listing, 20, dict(store.run), Changes(extend=True))
    assert {unit.name for unit in store.units} == extended.published()
    publish(extended, extended.units[len(store.units) :])
    assert main(["annotate", store.url, "edu"]) == 0
    rows = everything(store.url)[0]
    assert sorted(row["edu"] for row in rows) == [*range(21), *range(100, 106)]
    compact(store.url)
    assert everything(store.url)[0] == rows
    write_lines(corpus / "a.jsonl", texts(3, 200))
    changed = begin_or_resume(
        store.url, list_sources([str(corpus)]), 20, dict(store.run), Changes(rescore_changed=True)
    )
    publish(changed, [unit for unit in changed.units if unit.name not in changed.published()])
    assert main(["annotate", store.url, "edu"]) == 0
    assert sorted(row["edu"] for row in everything(store.url)[0]) == [*range(100, 106), *range(200, 203)]


def test_a_damaged_pack_is_named_and_once_deleted_its_units_are_done_again(store: RunStore) -> None:
    before = everything(store.url)
    compact(store.url)
    (pack,) = (Path(store.url) / "scores" / "packs").glob("*.parquet")
    whole = pack.read_bytes()
    pack.write_bytes(whole[:-20])
    with pytest.raises(StoreError, match=r"these units cannot be read .* resume scoring: only what it holds"):
        open_store(store.url)
    pack.unlink()
    again = open_run(store.url)
    assert again is not None
    assert again.published() == set()
    publish(again, again.units)
    assert everything(store.url) == before


def test_replacing_a_compacted_column_leaves_nothing_of_the_old_one(store: RunStore) -> None:
    compact(store.url)
    assert main(["annotate", store.url, "edu", "--column", "text", "--overwrite"]) == 1
    assert not (Path(store.url) / "columns" / "edu" / "packs").is_dir() or not list(
        (Path(store.url) / "columns" / "edu" / "packs").iterdir()
    )
    assert all(row["edu"] is None for row in everything(store.url)[0])


@pytest.fixture
def s3() -> Iterator[str]:
    with s3_server():
        yield f"s3://{BUCKET}/s"


def test_a_store_on_s3_is_compacted_all_the_same(store: RunStore, s3: str) -> None:
    for file in Path(store.url).rglob("*.*"):
        write_atomically(f"{s3}/{file.relative_to(store.url)}", file.read_bytes())
    before = everything(s3)
    compact(s3)
    assert everything(s3) == before
    assert before[0] == everything(store.url)[0]
    opened = open_store(s3)
    assert len(opened.filesystem.find(f"{BUCKET}/s/scores")) == 1
