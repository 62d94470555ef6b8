"""Atomic writes where the file system lacks something; what is tried again, and what is not."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import fsspec
import pytest

from attention_influence.errors import StorageError
from attention_influence.storage import atomic_files
from attention_influence.storage.atomic_files import flush, with_retries, write_atomically, written_whole
from attention_influence.storage.errors import in_words, is_transient, refused


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EBADF])
def test_a_file_is_written_where_folders_cannot_be_flushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fsync = os.fsync

    def refused_for_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refused_for_folders)
    write_atomically(str(tmp_path / "file"), b"content")
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_disk_that_loses_content_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    for do in (lambda: flush(str(tmp_path)), lambda: write_atomically(str(tmp_path / "file"), b"content")):
        with pytest.raises(OSError, match="Input/output error"):
            do()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_a_mount_point_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*names: Any) -> None:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), *names[:1])

    monkeypatch.setattr(os, "replace", busy)
    (tmp_path / "mounted").write_bytes(b"before, and longer")
    write_atomically(str(tmp_path / "mounted"), b"content")
    assert (tmp_path / "mounted").read_bytes() == b"content"
    with pytest.raises(OSError, match="busy"):
        write_atomically(str(tmp_path / "new"), b"content")
    assert [file.name for file in tmp_path.iterdir()] == ["mounted"]


class Counted:
    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def http_error(status: int) -> Exception:
    error = type("ClientError", (Exception,), {"__module__": "botocore.exceptions"})(f"status {status}")
    error.response = {"ResponseMetadata": {"HTTPStatusCode": status}}  # type: ignore[attr-defined]
    return error  # type: ignore[no-any-return]


def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(atomic_files.time, "sleep", pauses.append)
    do = Counted(ConnectionResetError(errno.ECONNRESET, "reset"), TimeoutError("no answer"), http_error(503))
    assert with_retries(do, "write it") == "done"
    assert pauses == [1.0, 4.0, 16.0]
    with pytest.raises(StorageError, match=r"cannot write it: \[Errno 16\] slow down"):
        with_retries(Counted(*[OSError(errno.EBUSY, "slow down")] * 4), "write it")
    with pytest.raises(StorageError, match="cannot write it: slow down"):
        with_retries(Counted(*[http_error(429)] * 3, OSError("slow down")), "write it")


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM)),
        *(OSError(number, os.strerror(number)) for number in (errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV)),
        http_error(403),
        type("NoCredentialsError", (Exception,), {"__module__": "botocore.exceptions"})("no credentials"),
    ],
    ids=str,
)
def test_what_stays_is_not_tried_again(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(atomic_files.time, "sleep", lambda seconds: pytest.fail("it waited"))
    do = Counted(error)
    with pytest.raises(StorageError, match="cannot write it: "):
        with_retries(do, "write it")
    assert do.calls == 1
    assert not is_transient(error)


def test_a_fault_of_this_library_is_no_error_of_storage() -> None:
    with pytest.raises(TypeError, match="ours"):
        with_retries(Counted(TypeError("ours")), "write it")


def test_only_damage_is_the_files_fault() -> None:
    assert refused("read it", OSError("Couldn't deserialize thrift")) is None  # how Arrow reports damage
    assert refused("read it", ValueError("no JSON")) is None
    for number in (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE):
        assert "cannot read it: " in str(refused("read it", OSError(number, os.strerror(number))))


def test_words_name_the_file_what_is_wrong_and_what_to_do() -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/disk/file")
    assert in_words(error) == "/disk/file: No space left on device. Free some space there, or use another folder"


def test_a_file_that_is_written_in_parts_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    there = tmp_path / "new" / "file"
    with written_whole(str(there)) as stream:
        stream.write(b"one ")
        assert not there.exists()
        stream.write(b"two")
    assert there.read_bytes() == b"one two"
    with pytest.raises(TypeError), written_whole(str(there)) as stream:
        stream.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert there.read_bytes() == b"one two"
    assert [file.name for file in there.parent.iterdir()] == ["file"]
    with written_whole("memory://store/file") as stream:
        stream.write(b"elsewhere")
    assert fsspec.filesystem("memory").cat_file("/store/file") == b"elsewhere"
