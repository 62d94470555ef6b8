"""No thread of Arrow's may hold a Python object when the interpreter ends: it would abort the process."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from attention_influence.store.run import scores_in
from attention_influence.store.schema import SCORE_SCHEMA
from plan_files import write_plan

READ = """
import os, sys
import fsspec
from attention_influence.store.run import open_run
from attention_influence.store.reader import open_store

def threads():
    return len(os.listdir("/proc/self/task"))

fsspec.filesystem("memory").put(sys.argv[1], "/store", recursive=True)
before = threads()
if sys.argv[2] == "plan":
    assert len(open_run("memory://store").units) == 1
else:
    store = open_store("memory://store")
    assert sum(batch.num_rows for batch in store.batches(store.schema.names)) == 3
assert threads() == before, "Arrow has started threads"
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts threads under /proc")
@pytest.mark.parametrize("what", ["plan", "scores"])
def test_a_store_behind_python_objects_is_read_without_threads_of_arrow(tmp_path: Path, what: str) -> None:
    (tmp_path / "run.json").write_text(json.dumps({}))
    write_plan(tmp_path, ["a"], [])
    rows = pa.Table.from_pylist([{"source": "c.jsonl", "row": row, "domain": "web"} for row in range(3)], SCORE_SCHEMA)
    scores_in(str(tmp_path)).publish("a", rows, {"rows": 3})
    done = subprocess.run(
        [sys.executable, "-c", READ, str(tmp_path), what], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
