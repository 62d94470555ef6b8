"""Storage that is full, cannot be written, or is not what its name says."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runs.runs import Command, count_by_file, rows_of, texts, write_lines

CUT = ("--unit-tokens", 100)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "c.jsonl", texts(20))


def fill(disk: Path, free: int) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            pass
    os.truncate(filler, filler.stat().st_size - free)
    return filler


@pytest.mark.parametrize("free", [0, 4096, 8192, 12288, 24576, 65536])
def test_a_full_disk_stops_a_run_with_the_reason_and_it_goes_on_when_there_is_room(
    cli: Command, corpus: Path, tmp_path: Path, disk: Path, free: int
) -> None:
    assert cli.score(corpus, tmp_path / "whole", *CUT).code == 0
    filler = fill(disk, free)
    said = cli.score(corpus, disk / "scores", *CUT)
    assert said.code == 1, said.out
    assert said.err.count("attention-influence: error: ") == 1
    assert "No space left on device" in said.err
    assert "Traceback" not in said.err
    filler.unlink()
    assert cli.score(corpus, disk / "scores", *CUT).code == 0
    assert rows_of(disk / "scores") == rows_of(tmp_path / "whole")


def test_a_disk_that_became_read_only_stops_a_run_with_the_reason(cli: Command, corpus: Path, disk: Path) -> None:
    store = disk / "scores"
    assert cli.score(corpus, store, *CUT).code == 0
    whole = count_by_file(store)
    next((store / "scores").glob("*.parquet")).unlink()
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    said = cli.score(corpus, store, *CUT)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    assert said.code == 1
    assert "Read-only file system" in said.err
    assert "Traceback" not in said.err
    assert cli.score(corpus, store, *CUT).code == 0
    assert count_by_file(store) == whole


def test_a_store_that_lies_on_a_file_or_under_one_is_refused(cli: Command, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "scores"):
        said = cli.score(corpus, place)
        assert said.code == 1
        assert said.err.count("attention-influence: error: cannot write ") == 1
        assert "Traceback" not in said.err
    assert (tmp_path / "file").read_text() == "in the way"
