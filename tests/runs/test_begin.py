import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence import Scorer
from attention_influence.corpus import Columns, list_sources
from attention_influence.errors import StoreError
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.run import open_run
from runs.runs import Command, begin, count_by_file, objects, rows_of, texts, work, write_lines
from tiny_models import save_tiny

LOSSES = ("loss_base", "loss_ref", "influence")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for number, name in enumerate("abc"):
        write_lines(tmp_path / "corpus" / f"{name}.jsonl", texts(8, number))
    return tmp_path / "corpus"


def test_what_makes_scores_incomparable_is_refused_by_name(cli: Command, tmp_path: Path) -> None:
    corpus, store = write_lines(tmp_path / "c.jsonl", texts(5)), tmp_path / "scores"
    assert cli.score(corpus, store).code == 0
    before = objects(store)
    other_heads, other_model = tmp_path / "heads.json", tmp_path / "other"
    other_heads.write_text("[[1, 1]]")
    save_tiny(other_model, "llama", seed=1)
    for options, field in (
        (("--heads", other_heads), "heads"),
        (("--window", 100), "window"),
        (("--dtype", "bf16"), "precision"),
        (("--max-document-tokens", 100), "max_document_tokens"),
        (("--id-column", "text"), "columns"),
        (("--model", other_model), "weights"),
    ):
        said = cli.score(corpus, store, *options)
        assert said.code == 1
        assert f"another {field} (" in said.err
        assert objects(store) == before
    assert cli.score(corpus, store, "--pack-tokens", 512, "--unit-tokens", 7).code == 0


def test_new_files_join_without_touching_what_was_published(corpus: Path, tmp_path: Path, scorer: Scorer) -> None:
    store = tmp_path / "scores"
    work(begin(corpus, store, scorer), scorer)
    before = objects(store)
    write_lines(corpus / "aa.jsonl", texts(9, 5))
    with pytest.raises(StoreError, match=r"aa\.jsonl is not in its plan.*--extend"):
        begin(corpus, store, scorer)
    extended = begin(corpus, store, scorer, extend=True)
    work(extended, scorer)
    after = objects(store)
    assert before.items() < after.items()
    added = [unit for unit in extended.units if f"{unit.name}.parquet" not in before]
    assert {part.source.name for unit in added for part in unit.slices} == {"corpus/aa.jsonl"}
    assert count_by_file(store) == {"a.jsonl": 8, "b.jsonl": 8, "c.jsonl": 8, "aa.jsonl": 9}


@pytest.mark.parametrize("unit_tokens", [20, 100, 300, 10_000])
def test_only_units_of_a_changed_file_are_done_again(
    corpus: Path, tmp_path: Path, scorer: Scorer, unit_tokens: int
) -> None:
    store = tmp_path / "scores"
    began = begin(corpus, store, scorer, unit_tokens)
    work(began, scorer)
    before, rows = objects(store), rows_of(store)
    write_lines(corpus / "b.jsonl", texts(11, 9))
    with pytest.raises(StoreError, match=r"b\.jsonl is gone, or changed.*--rescore-changed"):
        begin(corpus, store, scorer, unit_tokens)
    again = begin(corpus, store, scorer, unit_tokens, rescore_changed=True)
    stale = {u.name for u in began.units if any(p.source.name == "corpus/b.jsonl" for p in u.slices)}
    fresh = {f"{unit.name}.parquet" for unit in began.units if unit.name not in stale}
    assert objects(store) == {name: content for name, content in before.items() if name in fresh}
    work(again, scorer)
    assert {name: objects(store)[name] for name in fresh} == {name: before[name] for name in fresh}
    assert count_by_file(store) == {"a.jsonl": 8, "b.jsonl": 11, "c.jsonl": 8}
    lengths = [row["n_chars"] for (source, _), row in sorted(rows_of(store).items()) if source == "corpus/b.jsonl"]
    assert lengths == [len(text) for text in texts(11, 9)]
    for key, row in rows_of(store).items():
        if key[0] != "corpus/b.jsonl":
            assert all(row[name] == pytest.approx(rows[key][name], abs=1e-5) for name in LOSSES)


def test_a_file_that_shares_units_with_others_on_both_sides_keeps_its_rows(tmp_path: Path, scorer: Scorer) -> None:
    """A changed file's unit holds part of b, b's other unit holds part of c, and c has more."""
    corpus, store = tmp_path / "corpus", tmp_path / "scores"
    write_lines(corpus / "a.jsonl", texts(2, words=6))
    for name, groups in (("b", (8, 2)), ("c", (3, 8))):
        with pq.ParquetWriter(corpus / f"{name}.parquet", pa.schema([("text", pa.string())]), compression=None) as file:
            for i, rows in enumerate(groups):
                file.write_table(pa.table({"text": [f"{name} {i} {j} " + "tide rose " * 9 for j in range(rows)]}))
    began = begin(corpus, store, scorer, 300)
    names = [{part.source.name[7:8] for part in unit.slices} for unit in began.units]
    assert {"a", "b"} in names
    assert {"b", "c"} in names
    assert {"c"} in names
    work(began, scorer)
    whole = count_by_file(store)
    assert whole == {"a.jsonl": 2, "b.parquet": 10, "c.parquet": 11}
    write_lines(corpus / "a.jsonl", texts(4, 1, words=6))
    work(begin(corpus, store, scorer, 300, rescore_changed=True), scorer)
    assert count_by_file(store) == whole | {"a.jsonl": 4}


def test_rows_of_a_file_that_is_gone_leave_the_store(corpus: Path, tmp_path: Path, scorer: Scorer) -> None:
    store = tmp_path / "scores"
    work(begin(corpus, store, scorer, 10_000), scorer)
    (corpus / "b.jsonl").unlink()
    work(begin(corpus, store, scorer, 10_000, rescore_changed=True), scorer)
    assert count_by_file(store) == {"a.jsonl": 8, "c.jsonl": 8}
    assert len(objects(store)) == 1


def test_a_late_object_of_a_unit_that_left_the_plan_is_never_taken_for_a_new_one(
    tmp_path: Path, scorer: Scorer
) -> None:
    corpus, store = tmp_path / "corpus", tmp_path / "scores"
    write_lines(corpus / "a.jsonl", texts(30))
    write_lines(corpus / "b.jsonl", texts(3, 1))
    began = begin(corpus, store, scorer, 100)
    work(began, scorer)
    last = f"{began.units[-1].name}.parquet"
    late = objects(store)[last]
    assert {part.source.name for part in began.units[-1].slices} == {"corpus/b.jsonl"}
    (corpus / "b.jsonl").unlink()
    begin(corpus, store, scorer, 100, rescore_changed=True)
    (store / "scores" / last).write_bytes(late)  # by a worker that knew only the old plan
    write_lines(corpus / "c.jsonl", texts(4, 2))
    work(begin(corpus, store, scorer, 100, extend=True), scorer)
    assert count_by_file(store) == {"a.jsonl": 30, "c.jsonl": 4}


def test_a_file_that_failed_and_is_whole_again_is_scored_when_asked(
    corpus: Path, tmp_path: Path, scorer: Scorer
) -> None:
    store = tmp_path / "scores"
    began = begin(corpus, store, scorer, 10_000)
    (corpus / "b.jsonl").rename(tmp_path / "aside")
    work(began, scorer)
    assert count_by_file(store) == {"a.jsonl": 8, "c.jsonl": 8}
    (tmp_path / "aside").rename(corpus / "b.jsonl")  # with the time of change that was planned
    work(begin(corpus, store, scorer, 10_000), scorer)
    assert count_by_file(store) == {"a.jsonl": 8, "c.jsonl": 8}
    work(begin(corpus, store, scorer, 10_000, rescore_changed=True), scorer)
    assert count_by_file(store) == {"a.jsonl": 8, "b.jsonl": 8, "c.jsonl": 8}


def race(corpus: Path, store: Path, starts: list[tuple[int, int]]) -> list[object]:
    """Begins one store with each (unit tokens, window) at the same moment: the units that each got, or its refusal."""
    listing = list_sources([str(corpus)])
    barrier = threading.Barrier(len(starts))

    def one(start: tuple[int, int]) -> object:
        record = {"fingerprint": {"window": start[1]}, "columns": Columns().to_json()}
        barrier.wait()
        try:
            return begin_or_resume(str(store), listing, start[0], record, Changes()).units
        except StoreError as error:
            return str(error)

    with ThreadPoolExecutor(len(starts)) as pool:
        return [*pool.map(one, starts)]


def test_runs_that_begin_one_store_at_once_get_one_plan(corpus: Path, tmp_path: Path) -> None:
    for attempt in range(2):
        got = race(corpus, tmp_path / f"scores-{attempt}", [(20, 64), (50, 64), (100, 64), (1000, 64)])
        store = open_run(str(tmp_path / f"scores-{attempt}"))
        assert store is not None
        assert got == [store.units] * 4


def test_of_runs_with_other_fingerprints_that_begin_one_store_at_once_one_is_refused(
    corpus: Path, tmp_path: Path
) -> None:
    for attempt in range(2):
        got = race(corpus, tmp_path / f"scores-{attempt}", [(50, 64), (50, 65)])
        refused = [answer for answer in got if isinstance(answer, str)]
        assert len(refused) == 1
        assert "another window" in refused[0]


def test_a_plan_whose_record_is_about_to_follow_is_not_replaced(corpus: Path, tmp_path: Path) -> None:
    [first] = race(corpus, tmp_path / "first", [(20, 64)])
    (tmp_path / "scores").mkdir()
    shutil.copy(tmp_path / "first" / "plan.parquet", tmp_path / "scores")
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(race, corpus, tmp_path / "scores", [(1000, 64)])
        time.sleep(0.3)
        shutil.copy(tmp_path / "first" / "run.json", tmp_path / "scores")
        assert second.result() == [first]


def test_what_killed_writers_left_is_removed_and_what_may_still_be_written_is_not(
    corpus: Path, tmp_path: Path, scorer: Scorer
) -> None:
    store = begin(corpus, tmp_path / "scores", scorer)
    work(store, scorer)
    before = objects(tmp_path / "scores")
    old, young = (tmp_path / "scores" / "scores" / f".building-{name}" for name in ("old", "young"))
    for file in (old, young):
        file.write_bytes(b"PAR1")
    os.utime(old, (time.time() - 4000, time.time() - 4000))
    begin(corpus, tmp_path / "scores", scorer)
    assert young.exists()
    assert not old.exists()
    young.unlink()
    assert objects(tmp_path / "scores") == before
