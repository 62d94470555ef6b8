"""A run that is stopped at any moment and started again, in real processes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from cli.conftest import Cli, Files, texts, write_lines

pytestmark = pytest.mark.slow

# Seconds of work: what is stopped half-way must not end first where the machine is busy.
ROWS = 600
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("corpus") / "c.jsonl", [{"text": text} for text in texts(ROWS, 7)])


def command(files: Files, corpus: Path, store: Path, *more: str) -> list[str]:
    usual = ["--model", str(files.model), "--heads", str(files.heads), "--out", str(store), "--dtype", "fp32"]
    program = [sys.executable, "-m", "attention_influence"]
    return [*program, "score", str(corpus), *usual, "--unit-tokens", "600", *more]


def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=False, env=ENVIRONMENT)


def published(store: Path) -> dict[str, tuple[int, int]]:
    """Object → inode and time of change."""
    files = (store / "scores").glob("*.parquet")
    return {file.name: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def rows_of(store: Path) -> dict[tuple[str, int], dict[str, Any]]:
    rows = [row for name in published(store) for row in pq.read_table(store / "scores" / name).to_pylist()]
    by_key = {(row["source"], row["row"]): row for row in rows}
    assert len(by_key) == len(rows), "a row was scored twice"
    return by_key


def stopped(arguments: Sequence[str], store: Path, number: int) -> tuple[int, str]:
    """Sends a signal when three more units are published; exit code and standard error."""
    enough = len(published(store)) + 3
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, env=ENVIRONMENT, **pipes) as child:  # type: ignore[call-overload]
        while len(published(store)) < enough:
            assert child.poll() is None, child.communicate()
            time.sleep(0.005)
        child.send_signal(number)
        _, error = child.communicate()
    return child.returncode, error


@pytest.fixture(scope="module")
def uninterrupted(files: Files, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[Any, dict[str, Any]]:
    store = tmp_path_factory.mktemp("uninterrupted") / "scores"
    assert run(command(files, corpus, store)).returncode == 0
    assert len(published(store)) > 30
    rows = rows_of(store)
    assert len(rows) == ROWS
    return rows


def test_results_and_nothing_else_go_to_standard_output(files: Files, corpus: Path, tmp_path: Path) -> None:
    done = run(command(files, corpus, tmp_path / "scores", "--json", "--unit-tokens", "5000"))
    assert done.returncode == 0
    assert json.loads(done.stdout)["units_done"] == json.loads(done.stdout)["units"] > 1
    assert "Traceback" not in done.stderr
    failed = run([sys.executable, "-m", "attention_influence", "status", str(tmp_path / "nowhere")])
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("attention-influence: error: ")


def test_a_run_stopped_twice_loses_nothing_and_scores_only_what_is_missing(
    files: Files, corpus: Path, tmp_path: Path, uninterrupted: dict[Any, dict[str, Any]]
) -> None:
    store = tmp_path / "scores"
    arguments = command(files, corpus, store)
    done_before: dict[str, tuple[int, int]] = {}
    for number in (signal.SIGKILL, signal.SIGINT):
        code, error = stopped(arguments, store, number)
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
        assert "Traceback" not in error
        assert ("interrupted" in error) == (number != signal.SIGKILL)
        rows = rows_of(store)
        assert rows.items() <= uninterrupted.items()
        assert len(rows) < ROWS, "it finished before it was stopped, so nothing is tested"
        assert done_before.items() < published(store).items(), "a unit that was done was scored again"
        done_before = published(store)
    began = time.monotonic()
    done = run([*arguments, "--json"])
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - began < 60, "the lease of the dead worker was waited for"
    assert done_before.items() < published(store).items()
    missing = uninterrupted.keys() - rows.keys()
    assert json.loads(done.stdout)["tokens"] == sum(uninterrupted[key]["n_tokens"] for key in missing)
    assert rows_of(store) == uninterrupted


def test_two_shards_at_once_score_every_row_once(
    files: Files, corpus: Path, tmp_path: Path, uninterrupted: dict[Any, dict[str, Any]]
) -> None:
    store = tmp_path / "scores"
    shards = [
        subprocess.Popen(command(files, corpus, store, "--shard", f"{i}/2"), stdout=subprocess.DEVNULL, env=ENVIRONMENT)
        for i in range(2)
    ]
    assert [shard.wait() for shard in shards] == [0, 0]
    assert rows_of(store) == uninterrupted


def test_a_finished_run_is_not_scored_again_and_another_is_refused(
    score: Cli, corpus: Path, files: Files, tmp_path: Path
) -> None:
    store = tmp_path / "scores"
    assert score(corpus).code == 0
    before = published(store)
    again = score(corpus, "--json")
    assert (again.code, json.loads(again.out)["tokens"]) == (0, 0)
    assert published(store) == before
    other_window = score(corpus, "--window", "500")
    assert other_window.code == 1
    assert "another window (1024, now 500)" in other_window.err
    other_inputs = score(files.corpus)
    assert other_inputs.code == 1
    assert "not in its plan" in other_inputs.err
    assert published(store) == before


def test_new_files_join_and_changed_ones_are_scored_again_when_asked(score: Cli, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_lines(corpus / "a.jsonl", [{"text": text} for text in texts(5, 1)])
    write_lines(corpus / "b.jsonl", [{"text": text} for text in texts(5, 2)])
    store = tmp_path / "scores"
    cut = ("--unit-tokens", "200")
    assert score(corpus, *cut).code == 0
    before = published(store)
    write_lines(corpus / "c.jsonl", [{"text": text} for text in texts(5, 3)])
    assert score(corpus, *cut).code == 1
    assert score(corpus, *cut, "--extend").code == 0
    assert before.items() < published(store).items()
    assert len(rows_of(store)) == 15
    write_lines(corpus / "b.jsonl", [{"text": text} for text in texts(7, 4)])
    assert score(corpus, *cut).code == 1
    assert score(corpus, *cut, "--rescore-changed").code == 0
    rows = rows_of(store)
    assert {name: sum(key[0] == f"corpus/{name}.jsonl" for key in rows) for name in "abc"} == {"a": 5, "b": 7, "c": 5}
    lengths = [row["n_chars"] for key, row in sorted(rows.items()) if key[0] == "corpus/b.jsonl"]
    assert lengths == [len(text) for text in texts(7, 4)]
