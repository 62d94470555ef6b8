"""Creating a file by one of several writers, on storage that lacks hard links or conditional puts."""

import errno
import os
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from attention_influence.storage import exclusive_files
from attention_influence.storage.exclusive_files import create_exclusively, has_exclusive_creation

NO_LINKS = [errno.EOPNOTSUPP, errno.EPERM, errno.ENOSYS]


def without_links(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*names: Any) -> None:
        raise OSError(number, os.strerror(number), *names[:1], None, *names[1:])

    monkeypatch.setattr(os, "link", refused)


@pytest.mark.parametrize("number", [None, *NO_LINKS])
def test_one_of_many_writers_creates_a_file_and_its_content_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    if number is not None:
        without_links(monkeypatch, number)
    path = tmp_path / "folder" / "file"
    together = threading.Barrier(8)
    created: list[bytes] = []
    seen: list[bytes] = []

    def write(content: bytes) -> None:
        together.wait()
        if create_exclusively(str(path), content):
            created.append(content)
        seen.append(path.read_bytes())

    writers = [threading.Thread(target=write, args=(b"%d" % n * 10_000,)) for n in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(created) == 1
    assert seen == created * 8
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_a_lock_that_a_dead_writer_left_is_removed_and_that_of_a_live_one_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_links(monkeypatch, errno.EPERM)
    monkeypatch.setattr(exclusive_files, "_DEAD_LOCK", 0.5)
    lock = tmp_path / ".lock-file"
    lock.touch()
    began = time.monotonic()
    assert create_exclusively(str(tmp_path / "file"), b"content")
    assert time.monotonic() - began > 0.5
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    (tmp_path / "file").unlink()
    lock.touch()
    threading.Timer(0.2, lock.rename, (tmp_path / "file",)).start()  # another writer finishes
    assert not create_exclusively(str(tmp_path / "file"), b"other")


def test_a_link_whose_answer_was_lost_counts_as_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def lost(*names: Any) -> None:
        link(*names)
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    monkeypatch.setattr(os, "link", lost)
    assert create_exclusively(str(tmp_path / "file"), b"content")


def test_errors_of_a_disk_are_not_taken_for_a_lack_of_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    without_links(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        create_exclusively(str(tmp_path / "file"), b"content")
    assert list(tmp_path.iterdir()) == []


def ignores_the_condition(self: Any, path: str, value: bytes, mode: str = "overwrite", **others: Any) -> None:
    PIPE_FILE(self, path, value, mode="overwrite", **others)


def knows_no_condition(self: Any, path: str, value: bytes) -> None:
    PIPE_FILE(self, path, value, mode="overwrite")


def answers_501(self: Any, path: str, value: bytes, mode: str = "overwrite", **others: Any) -> None:
    if mode == "create":
        raise OSError(errno.EIO, "A header you provided implies functionality that is not implemented")
    PIPE_FILE(self, path, value, mode="overwrite", **others)


PIPE_FILE = MemoryFileSystem.pipe_file


@pytest.mark.parametrize("put", [None, ignores_the_condition, knows_no_condition, answers_501])
def test_a_store_without_conditional_puts_is_noticed_and_one_of_two_creates_a_file(
    monkeypatch: pytest.MonkeyPatch, put: Any
) -> None:
    if put is not None:
        monkeypatch.setattr(MemoryFileSystem, "pipe_file", put)
    folder = f"memory://{uuid.uuid4().hex}"  # what was found out about a store is remembered
    assert has_exclusive_creation(folder) == (put is None)
    assert [create_exclusively(f"{folder}/file", content) for content in (b"a", b"b")] == [True, False]
    memory = fsspec.filesystem("memory")
    assert {file: memory.cat_file(file) for file in memory.find(folder)} == {f"{folder[8:]}/file": b"a"}


def test_of_two_that_write_at_once_without_conditional_puts_the_last_creates_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", ignores_the_condition)
    folder = f"memory://{uuid.uuid4().hex}"
    together = threading.Barrier(2)
    exists = MemoryFileSystem.exists

    def at_once(self: Any, path: str, **others: Any) -> bool:
        found = exists(self, path, **others)
        if path.endswith("/file"):
            together.wait()
        return bool(found)

    monkeypatch.setattr(MemoryFileSystem, "exists", at_once)
    created = {}
    writers = [
        threading.Thread(target=lambda c=c: created.update({c: create_exclusively(f"{folder}/file", c)}))  # type: ignore[misc]
        for c in (b"a", b"b")
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    left = fsspec.filesystem("memory").cat_file(f"{folder}/file")
    assert created == {b"a": left == b"a", b"b": left == b"b"}
