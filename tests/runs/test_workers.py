"""Workers in processes of their own: where they compute, and what is said when one dies or crashes."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from attention_influence.errors import Interrupted
from attention_influence.runs import local
from attention_influence.runs.local import place
from runs.runs import Command, rows_of, score_arguments, start, texts, write_lines
from runs.test_signals import children_of, leased, wait_for


@pytest.mark.parametrize(
    ("device", "workers", "placed"),
    [
        ("cpu", 2, [None, None]),
        ("cuda:1", 4, ["cuda:1"] * 4),
        ("cuda", 5, ["cuda:0", "cuda:1", "cuda:2", "cuda:0", "cuda:1"]),
    ],
)
def test_workers_share_the_named_device_or_all_in_turn(
    monkeypatch: pytest.MonkeyPatch, device: str, workers: int, placed: list[str | None]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert place(torch.device(device), workers) == placed


def test_the_model_leaves_its_gpu_before_workers_take_it_and_stays_where_it_is_on_a_cpu() -> None:
    class Model:
        def __init__(self, device: str) -> None:
            self.device = torch.device(device)
            self.moved: list[str] = []

        def on(self, device: str) -> None:
            self.moved.append(device)

    here: Any = Model("cpu")
    there: Any = Model("cuda:1")
    local.leave_device(here)
    local.leave_device(there)
    assert (here.moved, there.moved) == ([], ["cpu"])


def test_an_error_that_nothing_expects_is_one_line_and_its_traceback_lies_in_the_store(tmp_path: Path) -> None:
    try:
        {}["absent"]  # type: ignore[index]
    except KeyError as error:
        said = str(local.crash(str(tmp_path), "w1", error))
    log = tmp_path / "log" / "crash-w1.txt"
    assert said.startswith("worker w1 crashed: KeyError: 'absent'. Traceback: ")
    assert str(log) in said
    assert "\n" not in said
    assert '{}["absent"]' in log.read_text()


def test_an_interrupt_has_the_exit_code_of_shells() -> None:
    assert Interrupted.exit_code == 130


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes under /proc")
def test_a_worker_that_is_killed_is_reported_while_the_others_finish_everything(cli: Command, tmp_path: Path) -> None:
    corpus, store = write_lines(tmp_path / "c.jsonl", texts(200)), tmp_path / "scores"
    run = start([*score_arguments(cli.model, corpus, store), "--unit-tokens", "200", "--workers", 2])
    wait_for(lambda: leased(store) == 2, run, 180)
    workers = [pid for pid in children_of(run.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    out, err = run.communicate(timeout=240)
    assert "died: SIGKILL, often too little memory. The others do its units" in err
    assert "Traceback" not in err
    assert (run.returncode, len(rows_of(store))) == (0, 200), out
