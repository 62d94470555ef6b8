"""Writing a file so that it is there whole, or not at all."""

import os
import posixpath
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from fsspec.implementations.local import LocalFileSystem

from attention_influence.corpus.filesystems import is_transient, open_filesystem
from attention_influence.errors import StoreError

Answer = TypeVar("Answer")

_BUILDING = ".building-"
_ABANDONED = 3600.0  # seconds


def write_atomically(url: str, content: bytes) -> None:
    """Publishes `content` under `url`, replacing what was there; a reader sees the old bytes or all of the new.

    Local: a temporary name in the same folder, fsync, rename, fsync of the folder. Elsewhere: one put, which object
    stores show only when it is complete.
    """
    filesystem, path = open_filesystem(url)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, content)
        return
    building = _written_beside(path, content)
    try:
        os.replace(building, path)
    except BaseException:
        with suppress(FileNotFoundError):  # an interrupt may come just after the rename
            os.unlink(building)
        raise
    flush(posixpath.dirname(path))


def create_exclusively(url: str, content: bytes) -> bool:
    """Publishes `content` unless there is something under `url` already; whether it did.

    Exactly one of several writers is told True on a local disk and on object stores that know conditional puts.
    """
    filesystem, path = open_filesystem(url)
    if not isinstance(filesystem, LocalFileSystem):
        try:
            filesystem.pipe_file(path, content, mode="create")
        except OSError:
            # Stores have several words for "it exists".
            filesystem.invalidate_cache()
            if not filesystem.exists(path):
                raise
            return False
        return True
    building = _written_beside(path, content)
    try:
        os.link(building, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(building)
    flush(posixpath.dirname(path))
    return True


def with_retries(do: Callable[[], Answer], what: str) -> Answer:
    """What `do` returns, tried again after a pause when storage fails it; StoreError when it cannot be done."""
    waits = iter((1.0, 4.0, 16.0))
    while True:
        try:
            return do()
        except StoreError:
            raise
        except Exception as error:
            pause = next(waits, None) if is_transient(error) else None
            if pause is None:
                raise StoreError(
                    f"cannot {what}: {error}. What was written before is whole; mend this and run the same command "
                    "again to go on"
                ) from error
            time.sleep(pause)


def remove_unfinished(folder_url: str) -> None:
    """Removes what writers that were killed left in a folder; what is younger than an hour may still be written."""
    filesystem, path = open_filesystem(folder_url)
    if not isinstance(filesystem, LocalFileSystem) or not os.path.isdir(path):
        return
    for building in Path(path).glob(f"{_BUILDING}*"):
        with suppress(FileNotFoundError):
            if time.time() - building.stat().st_mtime > _ABANDONED:
                building.unlink()


def remove(url: str) -> None:
    """Removes a file if it is there."""
    filesystem, path = open_filesystem(url)
    with suppress(FileNotFoundError):
        filesystem.rm_file(path)


def _written_beside(path: str, content: bytes) -> str:
    """The hidden file beside `path` that holds `content`, flushed to disk."""
    folder = posixpath.dirname(path)
    os.makedirs(folder, exist_ok=True)
    building = posixpath.join(folder, f"{_BUILDING}{uuid.uuid4().hex}")
    descriptor = os.open(building, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except BaseException:
        os.unlink(building)
        raise
    return building


def flush(path: str) -> None:
    """Makes a local file's content, or the names in a local folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
