"""A selection that is killed and begun again, and one by several workers: the same files as by one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_files import score_row, scored_store, write_store

from attention_influence.errors import CorpusError, UsageError
from attention_influence.selection import select
from attention_influence.selection.output import dataset, staging
from attention_influence.store.leases import Leases

ALL = {"top": 0.7, "shard_bytes": 100}
COLUMNS = {"a.parquet": {}, "b.parquet": {"extra": [1] * 40}, "c.parquet": {}}


@pytest.fixture
def store(tmp_path):
    """Of Parquet files of two schemas, and of plain and compressed lines."""
    corpus = tmp_path / "web"
    corpus.mkdir()
    for name, more in COLUMNS.items():
        texts = [f"text {name} {n * 7 % 40 / 100}" for n in range(40)]
        pq.write_table(pa.table({"text": texts} | more), corpus / name, row_group_size=7)
    lines = b"".join(b'{"n": %d, "text": "line %.2f"}\n' % (n, n * 7 % 40 / 100) for n in range(40))
    (corpus / "d.jsonl").write_bytes(lines)
    with fsspec.open(corpus / "e.jsonl.zst", "wb", compression="zstd") as file:
        file.write(lines)
    return scored_store(tmp_path / "store", corpus)


def files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def marks(tmp_path):
    return sorted(path.name for path in tmp_path.glob(".out.part/parts/*.json"))


KILLED = """
import os, signal, sys
from attention_influence.selection import select
from attention_influence.selection.output import {module}
before, calls = {module}.{function}, []
def killed(*arguments):
    calls.append(1)
    if len(calls) == {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return before(*arguments)
{module}.{function} = killed
select(sys.argv[1], out=sys.argv[2], **{options})
"""


def kill(store, out, module, function, after, **options):
    code = KILLED.format(module=module, function=function, after=after, options=ALL | options)
    assert subprocess.run([sys.executable, "-c", code, str(store), str(out)], check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("module", "function", "after"), [("dataset", "_write_rows", 6), ("staging", "_move", 5)])
def test_a_killed_selection_goes_on_and_gives_equal_bytes(tmp_path, store, monkeypatch, module, function, after):
    select(store, out=tmp_path / "undisturbed", **ALL)
    expected = files_in(tmp_path / "undisturbed")
    out = tmp_path / "out"
    for _ in range(2 if module == "staging" else 1):
        kill(store, out, module, function, after)
        assert not out.exists()
    finished = marks(tmp_path)
    written = []
    write = dataset._write_rows
    monkeypatch.setattr(dataset, "_write_rows", lambda part, to: written.append(part.name) or write(part, to))
    select(store, out=out, **ALL)
    assert files_in(out) == expected
    assert finished
    assert len(finished) == (5 if module == "dataset" else len(finished))
    assert not {f"{name}.json" for name in written} & {*finished}
    assert bool(written) == (module == "dataset")
    assert not (tmp_path / ".out.part").exists()


def test_parts_of_another_selection_are_not_taken_for_this_ones(tmp_path, store):
    out = tmp_path / "out"
    kill(store, out, "staging", "_move", 5)
    other = {"top": 0.3, "shard_bytes": 100}
    select(store, out=tmp_path / "undisturbed", **other)
    select(store, out=out, **other)
    assert files_in(out) == files_in(tmp_path / "undisturbed")


@pytest.mark.slow
def test_workers_give_equal_bytes_and_end_with_a_parent_that_is_killed(tmp_path, store):
    select(store, out=tmp_path / "undisturbed", **ALL)
    code = "import sys\nfrom attention_influence.selection import select\n"
    code += f"select(sys.argv[1], out=sys.argv[2], workers=2, **{ALL})"
    command = [sys.executable, "-c", code, str(store), str(tmp_path / "out")]
    parent = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + 60
    while not marks(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    while _session(parent.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _session(parent.pid)
    subprocess.run(command, check=True)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "undisturbed")


def _session(leader):
    """Processes of a session that still run."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(stat)
    return found


def test_where_folders_cannot_be_renamed_moving_goes_on_where_it_was_cut_off(tmp_path, store, monkeypatch):
    select(store, out=tmp_path / "undisturbed", **ALL)
    expected = {f"/bucket/out/{name}": content for name, content in files_in(tmp_path / "undisturbed").items()}
    memory = fsspec.filesystem("memory")
    move, moved = staging._move, []

    def cut_off(*arguments):
        moved.append(1)
        if len(moved) == 7:
            raise KeyboardInterrupt
        move(*arguments)

    monkeypatch.setattr(staging, "_move", cut_off)
    with pytest.raises(KeyboardInterrupt):
        select(str(store), out="memory://bucket/out", **ALL)
    assert not memory.exists("/bucket/out/selection.json")
    select(str(store), out="memory://bucket/out", **ALL)
    found = {name: memory.cat_file(name) for name in memory.find("/bucket")}
    memory.rm("/bucket", recursive=True)
    assert found == expected


def test_two_at_work_on_one_output_do_not_meet(tmp_path, store):
    leases = Leases(str(tmp_path / ".out.part"), "another")
    assert leases.take("select")
    with pytest.raises(UsageError, match=r"another `select` is writing it \(another\)"):
        select(store, out=tmp_path / "out", **ALL)


def test_what_was_finished_before_an_error_is_kept(tmp_path, store):
    last = sorted((tmp_path / "web").iterdir())[-1]
    content, status = last.read_bytes(), last.stat()
    broken = content[: len(content) // 2] + bytes(len(content) - len(content) // 2)
    last.write_bytes(broken)
    os.utime(last, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(CorpusError):
        select(store, out=tmp_path / "out", **ALL)
    assert marks(tmp_path)
    last.write_bytes(content)
    os.utime(last, ns=(status.st_atime_ns, status.st_mtime_ns))
    select(store, out=tmp_path / "out", **ALL)
    select(store, out=tmp_path / "undisturbed", **ALL)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "undisturbed")


@pytest.mark.slow
def test_ray_gives_equal_bytes(tmp_path, store):
    select(store, out=tmp_path / "undisturbed", **ALL)
    select(store, out=tmp_path / "out", engine="ray", address="local", workers=2, **ALL)
    assert files_in(tmp_path / "out") == files_in(tmp_path / "undisturbed")


def test_a_compressed_file_is_not_cut_into_parts(tmp_path):
    corpus = tmp_path / "web"
    corpus.mkdir()
    with fsspec.open(corpus / "a.jsonl.gz", "wb", compression="gzip") as file:
        file.write(b"".join(b'{"text": "line %.2f"}\n' % (n / 100) for n in range(40)))
    (corpus / "b.jsonl").write_bytes(b"".join(b'{"text": "line %.2f"}\n' % (n / 100) for n in range(40)))
    store = scored_store(tmp_path / "store", corpus)
    kill(store, tmp_path / "out", "staging", "_move", 1)
    # Of the 28 chosen lines of either file all of one, and ten at a time of the other.
    assert len(marks(tmp_path)) == 1 + 3


def test_a_manifest_leaves_nothing_beside_it(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", n, n / 4) for n in range(4)]])
    select(store, out=tmp_path / "out", top=0.5, manifest=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "s"]
