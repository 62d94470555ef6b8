"""A run in steps that is killed without warning and resumed."""

import signal
import subprocess
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from runs.runs import Command, objects, rows_of, score_arguments, start, texts, write_lines

pytestmark = pytest.mark.slow

IN_STEPS = ("--granularity", "step", "--steps", "sentence", "--steps", "tide", "--unit-tokens", "400")


def wait_for_units(store: Path, count: int, run: "subprocess.Popen[str]", seconds: float = 120.0) -> None:
    until = time.monotonic() + seconds
    while len(objects(store)) < count:
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_killed_run_in_steps_ends_with_the_bits_of_an_undisturbed_one(cli: Command, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", texts(700))
    store = tmp_path / "scores"
    run = start([*score_arguments(cli.model, corpus, store), *IN_STEPS])
    wait_for_units(store, 3, run)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    before = objects(store)
    assert 0 < len(rows_of(store)) < 700
    assert cli.score(corpus, store, *IN_STEPS).code == 0
    assert before.items() <= objects(store).items(), "what was finished was done again"
    assert cli.score(corpus, tmp_path / "whole", *IN_STEPS).code == 0
    assert rows_of(store) == rows_of(tmp_path / "whole")
    assert max(len(row["step_ends"]) for row in rows_of(store).values()) > 3
    assert "step_rise" in pq.read_schema(next((store / "scores").glob("*.parquet"))).names
