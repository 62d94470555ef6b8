"""What Ctrl-C and SIGTERM do to a run with one worker and with two."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runs.runs import Command, objects, rows_of, score_arguments, start, texts, write_lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc"),
]
DOCUMENTS = 700


def children_of(pid: int) -> set[int]:
    """Processes that came from one, and theirs."""
    parents = {}
    for entry in Path("/proc").iterdir():
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found |= new
    return found


def living(pids: set[int]) -> set[int]:
    def runs(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False

    return {pid for pid in pids if runs(pid)}


def all_end(pids: set[int], seconds: float) -> None:
    until = time.monotonic() + seconds
    while living(pids):
        assert time.monotonic() < until, "a worker survived"
        time.sleep(0.05)


def wait_for(condition: Callable[[], object], run: "subprocess.Popen[str]", seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def leased(store: Path) -> int:
    return len(list((store / "leases").glob("0*.json")))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "c.jsonl", texts(DOCUMENTS))


CUT = ("--unit-tokens", "400")


@pytest.mark.parametrize(("workers", "number"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_signal_ends_a_run_in_seconds_and_it_can_be_gone_on_with(
    cli: Command, corpus: Path, tmp_path: Path, workers: int, number: signal.Signals
) -> None:
    store = tmp_path / "scores"
    run = start([*score_arguments(cli.model, corpus, store), *CUT, "--workers", workers])
    wait_for(lambda: len(objects(store)) > 2 and leased(store) >= workers, run)
    children = children_of(run.pid)
    assert len(children) >= (workers if workers > 1 else 0)
    began = time.monotonic()
    run.send_signal(number)
    out, err = run.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert (run.returncode, out) == (130, "")
    assert "interrupted" in err
    assert "run the same command again to resume" in err
    assert "Traceback" not in err
    all_end(children, 2.0)  # multiprocessing's own helper ends after the run
    assert leased(store) == 0, "what nobody works on any more is leased"
    before = objects(store)
    assert 0 < len(rows_of(store)) < DOCUMENTS
    assert cli.score(corpus, store, *CUT).code == 0
    assert before.items() <= objects(store).items()
    assert cli.score(corpus, tmp_path / "whole", *CUT).code == 0
    assert rows_of(store) == rows_of(tmp_path / "whole"), "the same budget and threads, other bits"


def test_a_second_ctrl_c_ends_a_run_at_once_and_its_workers_follow(cli: Command, corpus: Path, tmp_path: Path) -> None:
    store = tmp_path / "scores"
    run = start([*score_arguments(cli.model, corpus, store), *CUT, "--workers", 2])
    wait_for(lambda: leased(store) == 2, run)
    children = children_of(run.pid)
    for child in children:
        subprocess.run(["kill", "-STOP", str(child)], check=True)  # they cannot end when they are told to
    run.send_signal(signal.SIGINT)
    time.sleep(1)
    assert run.poll() is None
    run.send_signal(signal.SIGINT)
    began = time.monotonic()
    run.wait(30)
    assert time.monotonic() - began < 2
    assert run.returncode == 130
    for child in living(children):
        subprocess.run(["kill", "-CONT", str(child)], check=False)
    all_end(children, 10.0)
