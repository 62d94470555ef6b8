"""Workers in processes of their own: where they compute, and what is said when one dies or crashes."""

import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from attention_influence import Scorer
from attention_influence.commands.score import workers_of
from attention_influence.corpus import Source
from attention_influence.errors import Interrupted, ModelError, UsageError
from attention_influence.model.device import find_device
from attention_influence.runs import local, ray_actors
from attention_influence.runs.local import place
from attention_influence.runs.ray_actors import Actors
from attention_influence.scoring import score_unit
from attention_influence.scoring.scorer import Prepared
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


@pytest.mark.parametrize(
    ("visible", "device", "workers", "placed"),
    [
        (None, None, None, ["cuda:0", "cuda:1", "cuda:2", "cuda:3"]),
        ("2,3", None, None, ["cuda:0", "cuda:1"]),
        ("2,3", None, 3, ["cuda:0", "cuda:1", "cuda:0"]),
        ("2,3", "cuda:1", None, ["cuda:1"]),
        ("2,3", "cuda:1", 2, ["cuda:1", "cuda:1"]),
        ("", None, None, [None]),
    ],
)
def test_workers_are_as_many_as_the_gpus_that_the_environment_leaves(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, device: str | None, workers: int | None, placed: list[str]
) -> None:
    gpus = 4 if visible is None else len(visible.split(",")) if visible else 0
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    scorer: Any = SimpleNamespace(model=SimpleNamespace(device=find_device(device)))
    assert place(scorer.model.device, workers_of(workers, device, scorer)) == placed


@pytest.mark.parametrize(
    ("device", "gpus", "said"),
    [
        ("cuda:2", 2, r"there are 2 GPUs, cuda:0 to cuda:1 \(CUDA_VISIBLE_DEVICES=5,7\)"),
        ("cuda", 0, r"torch .* \(CUDA_VISIBLE_DEVICES=5,7\)\. Give --device cpu"),
        ("mps", 0, r"scored on cpu and cuda; mps has not been tried"),
        ("gpu", 0, r"'gpu' is unknown; choose cpu, cuda"),
    ],
)
def test_a_device_that_cannot_be_used_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, said: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ModelError, match=said):
        find_device(device)


@pytest.mark.parametrize(
    ("cpus", "gpus", "nodes", "room"),
    [
        (1, 1, [(8, 4), (8, 0)], 4),
        (1, 0.5, [(8, 1)], 2),
        (1, 0.4, [(8, 3)], 6),  # two on each: no worker gets what is left of two GPUs
        (0.1, 0.1, [(1, 1)], 10),
        (4, 0.25, [(8, 2)], 2),
        (1, 2, [(8, 3)], 1),
        (1, 0, [(3, 0), (2, 1)], 5),
    ],
)
def test_ray_is_asked_for_as_many_workers_as_its_nodes_have_room_for(
    cpus: float, gpus: float, nodes: list[tuple[float, float]], room: int
) -> None:
    cluster = [{"Alive": True, "Resources": {"CPU": cpu, "GPU": gpu}} for cpu, gpu in nodes]
    dead = [{"Alive": False, "Resources": {"CPU": 99, "GPU": 99}}]
    assert ray_actors._room(cluster + dead, Actors(None, cpus, gpus)) == room


@pytest.mark.parametrize("wrong", [{"gpus": 1.5}, {"gpus": -1}, {"cpus": -0.5}])
def test_parts_that_ray_does_not_know_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="a part of one or a whole number"):
        Actors(**wrong)


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


def test_a_unit_is_read_while_the_one_before_is_scored(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        write_lines(tmp_path / "corpus" / f"{number}.jsonl", texts(20, number))
    read, scored, grown = [], [], threading.Condition()
    read_rows, score_prepared = score_unit.read_rows, Scorer.score_prepared

    def reading(source: Source, *more: Any) -> Any:
        with grown:
            read.append(source.name)
            grown.notify_all()
        return read_rows(source, *more)

    def scoring(scorer: Scorer, prepared: Sequence[Prepared], *more: Any, **named: Any) -> Any:
        if len(prepared) < 20:  # a fixed text, to try the device
            return score_prepared(scorer, prepared, *more, **named)
        scored.append(len(prepared))
        with grown:
            assert grown.wait_for(lambda: len(read) > len(scored) or len(read) == 4, 20)
        return score_prepared(scorer, prepared, *more, **named)

    monkeypatch.setattr(score_unit, "read_rows", reading)
    monkeypatch.setattr(Scorer, "score_prepared", scoring)
    assert cli.score(tmp_path / "corpus", tmp_path / "scores", "--unit-tokens", 1000).code == 0
    assert scored == [20] * 4, "a unit for each file"
    assert len(read) == 4, "each is read once"


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
