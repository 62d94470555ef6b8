import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from attention_influence import Scorer
from attention_influence.corpus import Columns
from attention_influence.errors import StoreError
from attention_influence.runs import worker as work_module
from attention_influence.runs.worker import Worker
from attention_influence.scoring.score_unit import Reading, UnitTexts
from attention_influence.store.failures import Failure, forget_quarantined, quarantined, read_failures, record_failure
from attention_influence.store.run import open_run
from runs.runs import Command, begin, count_by_file, objects, rows_of, texts, work, write_lines


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_lines(tmp_path / "corpus" / "a" / "one.jsonl", texts(6, 1))
    write_lines(tmp_path / "corpus" / "b.jsonl", texts(6, 2))
    write_lines(tmp_path / "corpus" / "c.jsonl", texts(6, 3))
    return tmp_path / "corpus"


CUT = ("--unit-tokens", 100)


def edit_run(store: Path, **changes: Any) -> None:
    record = json.loads((store / "run.json").read_text())
    (store / "run.json").write_text(json.dumps(record | changes))


def test_a_unit_that_fails_three_times_is_quarantined_and_the_others_are_done(
    cli: Command, corpus: Path, tmp_path: Path, scorer: Scorer
) -> None:
    store = tmp_path / "scores"
    assert cli.score(corpus, store, *CUT).code == 0
    whole = count_by_file(store)
    for file in (store / "scores").glob("*.parquet"):
        file.unlink()
    (corpus / "a").rename(tmp_path / "aside")
    (corpus / "a").write_text("a file where a folder was")  # neither a file's own damage nor a passing trouble
    run = open_run(str(store))
    assert run is not None
    work(run, scorer)
    failing = {unit.name for unit in run.units if any("/a/" in part.source.name for part in unit.slices)}
    failures = read_failures(str(store))
    assert {unit: len(attempts) for unit, attempts in failures.items()} == dict.fromkeys(failing, 3)
    assert run.published() == {unit.name for unit in run.units} - failing

    (corpus / "a").unlink()
    (tmp_path / "aside").rename(corpus / "a")
    again = cli.score(corpus, store, "--json", *CUT)
    assert again.code == 1
    assert again.data["quarantined"].keys() == failing
    assert all("NotADirectoryError" in error for error in again.data["quarantined"].values())
    text = cli.score(corpus, store, *CUT)
    assert text.code == 1
    status = cli.run("status", store)
    for unit in failing:
        assert f"error: unit {unit} is quarantined: NotADirectoryError" in text.out
        assert f"quarantined: unit {unit}: NotADirectoryError" in status.out
    assert cli.run("status", store, "--json").data["quarantined"].keys() == failing

    retried = cli.score(corpus, store, "--retry-failed", *CUT)
    assert retried.code == 0, retried.out
    assert count_by_file(store) == whole
    assert cli.run("status", store, "--json").data["quarantined"] == {}


def test_a_failure_that_is_damaged_or_forgotten_meanwhile_stops_nobody(tmp_path: Path) -> None:
    store = str(tmp_path)
    for at in (3.0, 1.0, 2.0):
        record_failure(store, Failure("a", "worker", f"error {at}", at))
    (tmp_path / "log" / "b.000.json").write_text("{")
    assert quarantined(read_failures(store)) == {"a": "error 3.0"}
    forget_quarantined(store)
    assert read_failures(store) == {}


def test_a_device_that_computes_wrong_ends_its_worker_and_quarantines_nothing(
    cli: Command, corpus: Path, tmp_path: Path
) -> None:
    store = tmp_path / "scores"
    assert cli.score(corpus, store, *CUT).code == 0
    for file in (store / "scores").glob("*.parquet"):
        file.unlink()
    canaries = json.loads((store / "run.json").read_text())["canaries"]
    edit_run(store, canaries=[[base + 0.01, reference] for base, reference in canaries])
    said = cli.score(corpus, store, *CUT)
    assert said.code == 1
    assert "a fixed text's loss on cpu is" in said.err
    assert objects(store) == {}
    assert list((store / "leases").iterdir()) == []
    assert cli.run("status", store, "--json").data["quarantined"] == {}
    edit_run(store, canaries=[[base + 1e-5, reference] for base, reference in canaries])
    assert cli.score(corpus, store, *CUT).code == 0


def test_units_in_which_memory_ran_out_are_scored_and_counted(
    cli: Command, corpus: Path, tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, store = tmp_path / "whole", tmp_path / "scores"
    work(begin(corpus, whole, scorer, 10_000), scorer)
    run = begin(corpus, store, scorer, 10_000)
    own, failed = scorer.launch, []

    def launch(windows: Any) -> Any:
        if len(windows) > 3 and not failed:
            failed.append(len(windows))
            raise torch.OutOfMemoryError("CUDA out of memory")
        return own(windows)

    monkeypatch.setattr(scorer, "launch", launch)
    monkeypatch.setattr(scorer, "pack_tokens", 2048)
    work(run, scorer)
    assert failed == [18]  # those of all files of the unit, in one pack
    scored, expected = rows_of(store), rows_of(whole)
    assert {key: row["influence"] for key, row in scored.items()} == pytest.approx(
        {key: expected[key]["influence"] for key in scored}, abs=1e-5
    )
    assert "memory ran out in 1 units" in cli.run("status", store).out
    assert cli.run("status", store, "--json").data["memory_ran_out"] == 1


@pytest.mark.parametrize("unit_tokens", [40, 10_000])
@pytest.mark.parametrize("event", ["gone", "changed"])
def test_a_file_that_vanishes_or_changes_while_the_run_goes_on_costs_its_rows_only(
    cli: Command, corpus: Path, tmp_path: Path, scorer: Scorer, event: str, unit_tokens: int
) -> None:
    store = tmp_path / "scores"
    assert cli.score(corpus, store, "--unit-tokens", unit_tokens).code == 0
    for file in (store / "scores").glob("*.parquet"):
        file.unlink()
    before = (corpus / "b.jsonl").stat()
    (corpus / "b.jsonl").rename(tmp_path / "aside")
    if event == "changed":
        write_lines(corpus / "b.jsonl", texts(5, 77))
    run = open_run(str(store))
    assert run is not None
    work(run, scorer)
    assert count_by_file(store) == {"one.jsonl": 6, "c.jsonl": 6}
    (tmp_path / "aside").rename(corpus / "b.jsonl")
    assert (corpus / "b.jsonl").stat().st_mtime_ns == before.st_mtime_ns
    said = cli.score(corpus, store, "--unit-tokens", unit_tokens)
    assert said.code == 1
    assert "error: corpus/b.jsonl: " in said.out
    assert "gone or has changed" in said.out
    mended = cli.score(corpus, store, "--unit-tokens", unit_tokens, "--rescore-changed")
    assert mended.code == 0, mended.out
    assert count_by_file(store) == {"one.jsonl": 6, "b.jsonl": 6, "c.jsonl": 6}


@pytest.mark.parametrize("unit_tokens", [40, 10_000])
def test_files_of_another_schema_cost_only_themselves(cli: Command, tmp_path: Path, unit_tokens: int) -> None:
    corpus, store = tmp_path / "corpus", tmp_path / "scores"
    corpus.mkdir()
    columns = {
        "0-no-column": {"body": texts(6)},
        "1-string": {"text": pa.array(texts(6))},
        "2-large": {"text": pa.array(texts(6), pa.large_string()), "more": [1] * 6},
        "3-dictionary": {"text": pa.array(texts(6)).dictionary_encode()},
        "4-int": {"text": [1, 2, 3, 4, 5, 6]},
    }
    for name, table in columns.items():
        pq.write_table(pa.table(table), corpus / f"{name}.parquet", row_group_size=2)
    said = cli.score(corpus, store, "--json", "--unit-tokens", unit_tokens)
    assert said.code == 1, said.err
    assert said.data["failed_files"].keys() == {"corpus/0-no-column.parquet"}
    assert "no column 'text'; there are: 'body'" in said.data["failed_files"]["corpus/0-no-column.parquet"]
    assert said.data["reasons"] == {"not_a_string": 6}
    assert count_by_file(store) == {f"{name}.parquet": 6 for name in list(columns)[1:]}


def test_a_damaged_file_in_the_middle_of_a_shared_unit_costs_itself_alone(cli: Command, tmp_path: Path) -> None:
    corpus, store = tmp_path / "corpus", tmp_path / "scores"
    write_lines(corpus / "a.jsonl", texts(5, 1))
    packed = gzip.compress(write_lines(corpus / "c.jsonl", texts(5, 2)).read_bytes())
    (corpus / "b.jsonl.gz").write_bytes(packed[:-20] + bytes(20))
    said = cli.score(corpus, store, "--json")
    assert (said.code, said.data["units"]) == (1, 1)
    assert said.data["failed_files"].keys() == {"corpus/b.jsonl.gz"}
    assert count_by_file(store) == {"a.jsonl": 5, "c.jsonl": 5}
    assert cli.run("status", store, "--json").data["failed_files"].keys() == {"corpus/b.jsonl.gz"}


def test_a_damaged_object_of_the_store_is_named(cli: Command, corpus: Path, tmp_path: Path) -> None:
    store = tmp_path / "scores"
    assert cli.score(corpus, store, *CUT).code == 0
    whole = count_by_file(store)
    damaged = next((store / "scores").glob("*.parquet"))
    for content in (damaged.read_bytes()[:100], b""):
        damaged.write_bytes(content)
        for said in (cli.run("status", store), cli.score(corpus, store, *CUT)):
            assert said.code == 1
            assert damaged.name in said.err
            assert "Delete it" in said.err
    damaged.unlink()
    assert cli.score(corpus, store, *CUT).code == 0
    assert count_by_file(store) == whole


def test_a_store_that_vanishes_under_a_run_is_an_error_of_the_library(
    corpus: Path, tmp_path: Path, scorer: Scorer
) -> None:
    run = begin(corpus, tmp_path / "scores", scorer)
    (tmp_path / "scores" / "leases").write_text("in the way")
    with pytest.raises(StoreError, match="cannot lease"):
        work(run, scorer)


def test_rows_of_a_unit_that_is_tried_again_are_counted_once(
    corpus: Path, tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = begin(corpus, tmp_path / "scores", scorer)
    worker = Worker(store, scorer, Reading(Columns()))
    whole_unit, failed = work_module.score_unit, []

    def fails_at_its_end_once(scorer: Scorer, texts: UnitTexts, progress: Any) -> Any:
        scores = whole_unit(scorer, texts, progress)
        if texts.unit.name not in failed:
            failed.append(texts.unit.name)
            raise TimeoutError("the network")
        return scores

    monkeypatch.setattr(work_module, "score_unit", fails_at_its_end_once)
    monkeypatch.setattr(work_module, "_BACKOFF", (0.0,))
    worker.work(store.units)
    assert len(failed) == len(store.units) > 1
    assert worker._rows == sum(count_by_file(tmp_path / "scores").values()) == 18
