"""Writing a file so that it is there whole, or not at all."""

import errno
import os
import posixpath
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from fsspec.implementations.local import LocalFileSystem

from attention_influence.errors import StorageError, StoreError
from attention_influence.storage.errors import advice, is_storage_error, is_transient
from attention_influence.storage.filesystems import open_filesystem
from attention_influence.storage.strict_json import strict_json

Answer = TypeVar("Answer")

_BUILDING = ".building-"
_ABANDONED = 3600.0  # seconds
# What fsync says where it means that the content may not be on disk.
_LOST = (errno.EIO, errno.ENOSPC, errno.EDQUOT)
# What it says where the file system does not know it.
_UNKNOWN = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)


def write_atomically(url: str, content: bytes) -> None:
    """Publishes `content` under `url`, replacing what was there; a reader sees the old bytes or all of the new.

    Local: a temporary name in the same folder, fsync, rename, fsync of the folder. Elsewhere: one put, which object
    stores show only when it is complete. A file that is a mount point of its own cannot be replaced: it is overwritten.
    """
    filesystem, path = open_filesystem(url)
    if not isinstance(filesystem, LocalFileSystem):
        try:
            filesystem.pipe_file(path, content)
        except NotImplementedError as error:  # a web page, a data set
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), url) from error
        return
    building = written_beside(path, content)
    try:
        os.replace(building, path)
    except OSError as error:
        if error.errno != errno.EBUSY or not os.path.isfile(path):
            raise
        with open(path, "wb") as stream:
            stream.write(content)
    finally:
        with suppress(OSError):  # gone, unless the rename failed
            os.unlink(building)
    flush(posixpath.dirname(path))


@contextmanager
def written_whole(url: str) -> Iterator[BinaryIO]:
    """A file to write into, of any size, that is published under `url` when the block ends, and not after an error.

    Local: written beside its place, flushed and renamed. Elsewhere: written to TMPDIR, then uploaded. Raises
    StorageError when storage refuses.
    """
    filesystem, path = open_filesystem(url)
    is_local = isinstance(filesystem, LocalFileSystem)
    folder = posixpath.dirname(path) if is_local else tempfile.gettempdir()
    building = posixpath.join(folder, f"{_BUILDING}{uuid.uuid4().hex}")
    try:
        with with_retries(lambda: _new_file(building), f"write {building}") as stream:
            yield stream
            with_retries(lambda: _flush_content(stream), f"write {url}")
        if is_local:
            with_retries(lambda: os.replace(building, path), f"write {url}")
            flush(folder)
        else:
            with_retries(lambda: filesystem.put_file(building, path), f"write {url}")
    finally:
        with suppress(OSError):  # gone, if it was renamed
            os.unlink(building)


def _flush_content(stream: BinaryIO) -> None:
    stream.flush()
    _fsync(stream.fileno())


def _new_file(path: str) -> BinaryIO:
    os.makedirs(posixpath.dirname(path), exist_ok=True)
    return cast(BinaryIO, open(path, "xb"))


def with_retries(do: Callable[[], Answer], what: str) -> Answer:
    """What `do` returns, tried again after a pause when a storage failure is transient.

    Raises StorageError when storage refuses; what is no error of storage passes through.
    """
    waits = iter((1.0, 4.0, 16.0))
    while True:
        try:
            return do()
        except StoreError:
            raise
        except Exception as error:
            if not is_storage_error(error):
                raise
            pause = next(waits, None) if is_transient(error) else None
            if pause is None:
                raise StorageError(
                    f"cannot {what}: {str(error) or type(error).__name__}. {advice(error)}, and run the same command "
                    "again: what was written before is kept"
                ) from error
            time.sleep(pause)


def read_if_there(url: str) -> bytes | None:
    """The content of a file as it is now, tried again as above; None where there is none. Raises StorageError."""
    filesystem, path = open_filesystem(url)
    filesystem.invalidate_cache()
    return with_retries(lambda: bytes(filesystem.cat_file(path)) if filesystem.exists(path) else None, f"read {url}")


def write_result(url: str, content: bytes) -> None:
    """What `write_atomically` does, tried again when a storage failure is transient. Raises StorageError."""
    with_retries(lambda: write_atomically(url, content), f"write {url}")


def write_json(url: str, record: Mapping[str, Any]) -> None:
    """Writes a record as `write_result` does, null in place of numbers that are not finite."""
    write_result(url, (strict_json(dict(record), indent=1) + "\n").encode())


def remove_unfinished(folder_url: str) -> None:
    """Removes what writers that were killed left in a folder; what is younger than an hour may still be written."""
    filesystem, path = open_filesystem(folder_url)
    if not isinstance(filesystem, LocalFileSystem) or not os.path.isdir(path):
        return
    for building in Path(path).glob(f"{_BUILDING}*"):
        with suppress(OSError):
            if time.time() - building.stat().st_mtime > _ABANDONED:
                building.unlink()


def remove(url: str) -> None:
    """Removes a file if it is there."""
    filesystem, path = open_filesystem(url)
    with suppress(FileNotFoundError):
        filesystem.rm_file(path)


def written_beside(path: str, content: bytes) -> str:
    """The hidden file beside `path` that holds `content`, flushed to disk."""
    folder = posixpath.dirname(path)
    os.makedirs(folder, exist_ok=True)
    building = posixpath.join(folder, f"{_BUILDING}{uuid.uuid4().hex}")
    descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            _fsync(stream.fileno())
    except BaseException:
        with suppress(OSError):
            os.unlink(building)
        raise
    return building


def flush(path: str) -> None:
    """Makes a local file's content, or the names in a local folder, survive a power cut, where that is possible."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder that can be written but not listed
        return
    try:
        _fsync(descriptor)
    finally:
        os.close(descriptor)


def _fsync(descriptor: int) -> None:
    """fsync, where the file system knows it: network shares and FUSE refuse it for folders, each by another error."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in _LOST or not (error.errno in _UNKNOWN or stat.S_ISDIR(os.fstat(descriptor).st_mode)):
            raise
