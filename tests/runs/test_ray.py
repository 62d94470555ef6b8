"""Ray: the same rows as without it, and a node that is killed costs nothing but time."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runs.runs import ENVIRONMENT, Command, count_by_file, objects, rows_of, score_arguments, start, texts, write_lines

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def folder_of_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder for Ray's files, such as that which names the current cluster; sockets there need short paths."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        monkeypatch.setitem(ENVIRONMENT, "RAY_TMPDIR", folder)
        monkeypatch.setenv("RAY_TMPDIR", folder)  # commands that wait run in this process
        yield


CUT = ("--unit-tokens", 100)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for number in range(4):
        write_lines(tmp_path / "corpus" / f"{number}.jsonl", texts(20, number))
    return tmp_path / "corpus"


@contextmanager
def node(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Ray node with one CPU, all of its processes in one group."""
    command = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--num-cpus", "1", *arguments]
    process = subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_run_that_processes_began_is_finished_by_ray_with_the_same_rows(
    cli: Command, corpus: Path, tmp_path: Path
) -> None:
    store, whole = tmp_path / "scores", tmp_path / "whole"
    assert cli.score(corpus, whole, *CUT).code == 0
    assert cli.score(corpus, store, *CUT).code == 0
    published = sorted((store / "scores").glob("*.parquet"))
    kept = {file.name: file.read_bytes() for file in published[::2]}
    for file in published[1::2]:
        file.unlink()
    missing = sum(count_by_file(whole).values()) - sum(count_by_file(store).values())
    said = cli.score(corpus, store, *CUT, "--engine", "ray", "--address", "local", "--workers", "1", "--json")
    assert said.code == 0, said.err
    assert rows_of(store) == rows_of(whole)
    assert {name: objects(store)[name] for name in kept} == kept
    assert 0 < missing < 80
    done_again = [row["n_tokens"] for key, row in rows_of(whole).items()]
    assert 0 < said.data["tokens"] < sum(done_again)


def test_a_cluster_that_was_killed_is_not_waited_for(cli: Command, corpus: Path, tmp_path: Path) -> None:
    current = Path(ENVIRONMENT["RAY_TMPDIR"]) / "ray" / "ray_current_cluster"
    with node("--head", "--port", str(free_port()), "--include-dashboard", "false"):
        until = time.monotonic() + 60
        while not current.exists() and time.monotonic() < until:
            time.sleep(0.1)
    assert current.exists(), "killed, Ray leaves it"
    said = cli.score(corpus, tmp_path / "scores", "--engine", "ray", "--workers", "1")
    assert said.code == 0, said.err
    assert sum(count_by_file(tmp_path / "scores").values()) == 80


def test_a_node_that_is_killed_costs_no_row(
    cli: Command, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENVIRONMENT, "RAY_AUTH_MODE", "disabled")  # the nodes and the run are all on loopback
    whole, store = tmp_path / "whole", tmp_path / "scores"
    assert cli.score(corpus, whole, *CUT).code == 0
    port = free_port()
    address = f"127.0.0.1:{port}"
    with node("--head", "--port", str(port), "--include-dashboard", "false"), node("--address", address) as second:
        time.sleep(8)
        arguments = [*score_arguments(cli.model, corpus, store), *CUT, "--engine", "ray", "--address", address]
        run = start([*arguments, "--workers", "2"])
        until = time.monotonic() + 120
        while not list((store / "scores").glob("*.parquet")) and time.monotonic() < until:
            time.sleep(0.05)
        kill(second)
        before = len(list((store / "scores").glob("*.parquet")))
        out, err = run.communicate(timeout=300)
    assert run.returncode == 0, out + err
    assert 0 < before < len(list((whole / "scores").glob("*.parquet")))
    assert rows_of(store) == rows_of(whole)
