import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence.corpus import list_sources
from attention_influence.errors import StoreError
from attention_influence.store.begin import Changes, begin_or_resume
from attention_influence.store.plan import make_plan
from attention_influence.store.run import RunStore, create, open_run
from attention_influence.store.schema import SCORE_SCHEMA

FINGERPRINT: dict[str, Any] = {"weights": "ab", "tokenizer": "cd", "heads": [[1, 2]], "window": 64, "precision": "fp32"}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.jsonl").write_text(json.dumps({"text": name * 300}) + "\n")
    return folder


def begin(corpus: Path, store: Path, changes: Changes | None = None, **fingerprint: Any) -> RunStore:
    record = {"fingerprint": FINGERPRINT | fingerprint}
    return begin_or_resume(str(store), list_sources([str(corpus)]), 100, record, changes or Changes())


def test_a_store_is_found_again_with_its_record_and_its_units(tmp_path: Path, corpus: Path) -> None:
    began = begin(corpus, tmp_path / "scores")
    again = begin(corpus, tmp_path / "scores")
    assert again == began
    assert len(began.units) == 2
    assert began.run["fingerprint"] == FINGERPRINT


@pytest.mark.parametrize(
    ("field", "value"),
    [("weights", "ff"), ("tokenizer", "ff"), ("heads", [[1, 3]]), ("window", 65), ("precision", "bf16"), ("new", 1)],
)
def test_a_store_of_another_fingerprint_is_refused_by_the_field(
    tmp_path: Path, corpus: Path, field: str, value: object
) -> None:
    begin(corpus, tmp_path / "scores")
    with pytest.raises(StoreError, match=f"another {field} "):
        begin(corpus, tmp_path / "scores", **{field: value})


def test_inputs_that_are_new_changed_or_gone_are_refused_by_name(tmp_path: Path, corpus: Path) -> None:
    store = tmp_path / "scores"
    begin(corpus, store)
    a, b, c = (corpus / f"{name}.jsonl" for name in "abc")
    c.write_text('{"text": "new"}\n')
    with pytest.raises(StoreError, match=r"c\.jsonl is not in its plan.*--extend"):
        begin(corpus, store)
    c.unlink()
    before = b.stat()
    b.write_text('{"text": "changed"}\n')
    with pytest.raises(StoreError, match=r"b\.jsonl is gone, or changed.*--rescore-changed"):
        begin(corpus, store)
    b.write_text(json.dumps({"text": "b" * 300}) + "\n")
    os.utime(b, ns=(before.st_atime_ns, before.st_mtime_ns))
    begin(corpus, store)
    a.unlink()
    with pytest.raises(StoreError, match=r"a\.jsonl is gone"):
        begin(corpus, store)


def test_a_damaged_store_is_refused_and_not_begun_again(tmp_path: Path, corpus: Path) -> None:
    store = tmp_path / "scores"
    begin(corpus, store)
    for name in ("run.json", "plan.parquet"):
        whole = (store / name).read_bytes()
        (store / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(StoreError, match="cannot be read"):
            begin(corpus, store)
        assert (store / name).read_bytes() == whole[: len(whole) // 2]
        (store / name).write_bytes(whole)


def test_a_store_that_was_stopped_before_its_record_is_begun_again(tmp_path: Path, corpus: Path) -> None:
    store = tmp_path / "scores"
    begin(corpus, store)
    (store / "run.json").unlink()
    assert open_run(str(store)) is None
    (corpus / "c.jsonl").write_text('{"text": "new"}\n')
    assert len({part.source.name for unit in begin(corpus, store).units for part in unit.slices}) == 3


def test_what_is_published_is_what_was_given_with_its_record(tmp_path: Path, corpus: Path) -> None:
    store = begin(corpus, tmp_path / "scores")
    first, second = store.units
    assert store.published() == set()
    table = SCORE_SCHEMA.empty_table()
    store.publish(first, table, {"seconds": 1.5})
    assert store.published() == {first.name}
    assert (store.is_published(first), store.is_published(second)) == (True, False)
    assert store.records() == {first.name: {"seconds": 1.5}}
    written = pq.read_table(tmp_path / "scores" / "scores" / f"{first.name}.parquet")
    assert written.schema.remove_metadata().equals(SCORE_SCHEMA)


PUBLISH_FOREVER = """
import sys
import numpy as np
import pyarrow as pa
from attention_influence.store.run import open_run

store = open_run(sys.argv[1])
noise = pa.table({"noise": np.random.default_rng(0).random(1_000_000)})
print("ready", flush=True)
while True:
    for unit in store.units:
        store.publish(unit, noise, {"rows": noise.num_rows})
"""


@pytest.mark.slow
def test_a_kill_in_the_middle_of_publishing_leaves_no_half_object(tmp_path: Path, corpus: Path) -> None:
    url = str(tmp_path / "scores")
    store = create(url, {"fingerprint": FINGERPRINT}, make_plan(list_sources([str(corpus)]).sources, 100))
    rng = random.Random(0)
    killed_while_writing = 0
    for _ in range(30):
        with subprocess.Popen([sys.executable, "-c", PUBLISH_FOREVER, url], stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            time.sleep(rng.uniform(0.05, 0.3))
            child.send_signal(signal.SIGKILL)
        folder = Path(url) / "scores"
        left = list(folder.glob(".building-*")) if folder.is_dir() else []
        killed_while_writing += bool(left)
        for name in store.published():
            table: pa.Table = pq.read_table(folder / f"{name}.parquet")
            assert table.num_rows == 1_000_000
            assert store.records()[name] == {"rows": 1_000_000}
        for file in left:
            file.unlink()
        if killed_while_writing == 2:
            break
    assert killed_while_writing == 2, "no kill fell into a write, so nothing was tested"
    assert store.published()
