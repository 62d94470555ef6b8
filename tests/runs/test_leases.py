import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from attention_influence import Scorer
from attention_influence.corpus import Columns
from attention_influence.runs.worker import Worker
from attention_influence.scoring.score_unit import Reading
from attention_influence.storage.atomic_files import write_atomically
from attention_influence.store import leases as leases_module
from attention_influence.store.leases import EXPIRY, Lease, Leases, worker_name
from runs.runs import begin, texts, write_lines
from s3_server import BUCKET, s3_server

WORKERS = 6


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "local":
        yield str(tmp_path / "store")
        return
    with s3_server():
        yield f"s3://{BUCKET}/store"


def race(store: str, units: list[str]) -> list[list[bool]]:
    """For each unit, what each of several workers was told when all asked for it at the same moment."""
    barrier = threading.Barrier(WORKERS)

    def ask(_: int) -> list[bool]:
        mine = Leases(store, worker_name())
        answers = []
        for unit in units:
            barrier.wait()
            answers.append(mine.take(unit))
        return answers

    with ThreadPoolExecutor(WORKERS) as pool:
        return [list(answers) for answers in zip(*pool.map(ask, range(WORKERS)), strict=True)]


def stand(store: str, unit: str, **changes: object) -> Lease:
    """Writes the lease of another worker by hand."""
    Leases(store, "other").take(unit)
    standing = Leases(store, "other").read(unit)
    assert standing is not None
    lease = Lease(**{**asdict(standing), **changes})  # type: ignore[arg-type]
    write_atomically(f"{store}/leases/{unit}.json", json.dumps(asdict(lease)).encode())
    return lease


def test_of_workers_that_ask_for_a_free_unit_at_once_exactly_one_gets_it(store: str) -> None:
    answers = race(store, [f"{i:06d}" for i in range(40 if "://" not in store else 10)])
    assert [sum(told) for told in answers] == [1] * len(answers)


def test_of_workers_that_find_a_dead_lease_at_once_exactly_one_gets_the_unit(store: str) -> None:
    for unit in ("a", "b", "c"):
        stand(store, unit, renewed=time.time() - EXPIRY - 1)
    assert [sum(told) for told in race(store, ["a", "b", "c"])] == [1, 1, 1]


def test_a_lease_is_respected_while_its_process_lives_and_taken_at_once_when_it_is_dead(tmp_path: Path) -> None:
    mine = Leases(str(tmp_path), "mine")
    with subprocess.Popen(["sleep", "60"]) as process:
        stand(str(tmp_path), "a", pid=process.pid)
        assert not mine.take("a")
        process.kill()
        process.wait()
        began = time.monotonic()
        assert mine.take("a")
        assert time.monotonic() - began < 2
    assert not Leases(str(tmp_path), "third").take("a")


def test_a_process_of_another_machine_is_not_judged_by_its_number(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
        stand(str(tmp_path), "a", pid=process.pid, host="elsewhere")
        assert not Leases(str(tmp_path), "mine").take("a")


@pytest.mark.parametrize(("age", "taken"), [(EXPIRY - 20, False), (EXPIRY + 1, True)])
def test_a_lease_expires_when_it_was_not_renewed(tmp_path: Path, age: float, taken: bool) -> None:
    stand(str(tmp_path), "a", renewed=time.time() - age)
    assert Leases(str(tmp_path), "mine").take("a") is taken


def test_a_lease_that_cannot_be_read_does_not_hold_its_unit_for_ever(tmp_path: Path) -> None:
    write_atomically(f"{tmp_path}/leases/a.json", b"{")
    assert Leases(str(tmp_path), "mine").take("a")


@pytest.fixture
def short_expiry(monkeypatch: pytest.MonkeyPatch) -> float:
    monkeypatch.setattr(leases_module, "EXPIRY", 0.8)
    return 0.8


def test_a_kept_lease_is_renewed_and_removed_at_the_end(tmp_path: Path, short_expiry: float) -> None:
    mine, other = Leases(str(tmp_path), "mine"), Leases(str(tmp_path), "other")
    assert mine.take("a")
    with mine.kept("a"):
        until = time.monotonic() + 3 * short_expiry
        while time.monotonic() < until:
            assert not other.take("a")
            time.sleep(0.05)
    assert mine.read("a") is None
    assert other.take("a")
    time.sleep(short_expiry)
    assert mine.take("a"), "without renewal it expires"


def test_a_store_that_fails_a_renewal_stops_neither_the_unit_nor_later_renewals(
    tmp_path: Path, short_expiry: float
) -> None:
    mine = Leases(str(tmp_path), "mine")
    assert mine.take("a")
    with mine.kept("a"):
        shutil.rmtree(tmp_path / "leases")
        (tmp_path / "leases").write_text("in the way")
        time.sleep(short_expiry)
        (tmp_path / "leases").unlink()
        wait_for(lambda: mine.read("a") is not None)
        shutil.rmtree(tmp_path / "leases")
        (tmp_path / "leases").write_text("in the way")


def test_a_worker_gives_up_its_own_lease_only(tmp_path: Path) -> None:
    stand(str(tmp_path), "other")
    mine = Leases(str(tmp_path), "mine")
    assert mine.take("a")
    for unit in ("a", "other", "none"):
        mine.give_up(unit)
    assert mine.names() == {"other"}


@pytest.mark.parametrize("step", ["take", "kept", "_score"])
def test_an_interrupt_at_any_step_leaves_no_lease(
    tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    store = begin(write_lines(tmp_path / "c.jsonl", texts(5)), tmp_path / "scores", scorer)
    worker = Worker(store, scorer, Reading(Columns()))
    owner = Worker if step == "_score" else Leases
    do = getattr(owner, step)

    def interrupted(*given: Any) -> Any:
        do(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        worker.work(store.units)
    assert Leases(store.url, "look").names() == set()


def test_all_standing_leases_are_listed(store: str) -> None:
    assert Leases(store, "mine").standing() == {}
    a, b = stand(store, "a"), stand(store, "b", host="elsewhere", pid=os.getpid())
    assert Leases(store, "mine").standing() == {"a": a, "b": b}


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)
