import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from attention_influence import Scorer
from attention_influence.corpus import Columns
from attention_influence.runs.worker import Worker
from attention_influence.scoring.score_unit import Reading
from attention_influence.storage.atomic_files import write_atomically
from attention_influence.store.failures import Failure, record_failure
from attention_influence.store.leases import EXPIRY, Lease, Leases
from runs.runs import Command, begin, texts, write_lines
from s3_server import BUCKET, s3_server


def test_figures_of_a_run_that_goes_on(cli: Command, tmp_path: Path, scorer: Scorer) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", [*texts(40), "", "", None])
    store = begin(corpus, tmp_path / "scores", scorer, 100)
    assert len(store.units) > 8
    empty = cli.run("status", store.url, "--json").data
    assert (empty["done"], empty["rows"], empty["tokens_per_second"], empty["seconds_left"]) == (0, 0, None, None)

    done, busy, dead, quarantined = store.units[:4], store.units[4], store.units[5], store.units[6]
    leases = Leases(store.url, "worker-a")
    worker = Worker(store, scorer, Reading(Columns()))
    began = time.time()
    for unit in done:
        assert worker._attempt(unit, leases)
    seconds = time.time() - began
    assert leases.take(busy.name)
    assert leases.take(dead.name)
    old = leases.read(dead.name)
    assert old is not None
    expired = Lease(**{**asdict(old), "renewed": time.time() - EXPIRY - 1})
    write_atomically(f"{store.url}/leases/{dead.name}.json", json.dumps(asdict(expired)).encode())
    for at in range(3):
        record_failure(store.url, Failure(quarantined.name, "worker-b", f"error {at}", at))

    now = cli.run("status", store.url, "--json").data
    records = store.records()
    assert (now["units"], now["done"]) == (len(store.units), 4)
    assert now["leased"] == {busy.name: "worker-a"}
    assert now["quarantined"] == {quarantined.name: "error 2"}
    assert now["rows"] == sum(about["rows"] for about in records.values()) > 4
    assert now["tokens"] == sum(about["tokens"] for about in records.values()) > 100
    assert 0.8 * now["tokens"] / seconds < now["tokens_per_second"] < 3 * now["tokens"] / seconds
    left = len(store.units) - 4 - 1
    assert now["seconds_left"] == pytest.approx(left * now["tokens"] / 4 / now["tokens_per_second"])
    text = cli.run("status", store.url).out
    failed = f"quarantined: unit {quarantined.name}: error 2"
    for words in (f"4 of {len(store.units)}", f"{busy.name}", "worker-a", failed):
        assert words in text
    assert dead.name not in text


def test_figures_of_a_finished_run_from_an_object_store(cli: Command, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", [*texts(20), "", None])
    with s3_server():
        store = f"s3://{BUCKET}/deep/scores"
        assert cli.score(corpus, store, "--unit-tokens", 200).code == 0
        now = cli.run("status", store, "--json").data
        assert now["done"] == now["units"] > 2
        assert (now["rows"], now["reasons"]) == (22, {"empty": 1, "null_text": 1})
        assert (now["leased"], now["quarantined"], now["failed_files"], now["seconds_left"]) == ({}, {}, {}, 0.0)
        assert now["tokens_per_second"] > 0
        assert cli.run("status", store).code == 0
        assert cli.run("status", f"s3://{BUCKET}/nowhere").code == 1
    assert [file.name for file in tmp_path.iterdir()] == ["c.jsonl"]
