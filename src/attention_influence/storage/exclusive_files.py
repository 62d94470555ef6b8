"""Creating a file unless it is there already, by one of several writers, on whatever storage there is."""

import errno
import functools
import os
import posixpath
import time
import uuid
from contextlib import suppress

import fsspec
from fsspec.implementations.local import LocalFileSystem

from attention_influence.storage.atomic_files import flush, written_beside
from attention_influence.storage.filesystems import open_filesystem

# What os.link says where a file system has no hard links (FUSE, FAT, network drives).
_NO_LINKS = {
    *(errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EINVAL, errno.EMLINK),
    *(errno.EXDEV, errno.ENOTTY),
}
# Seconds after which an unchanged lock is stale: a live writer holds it for milliseconds.
_DEAD_LOCK = 10.0
# Seconds after which the last of several writers has written, on a store without conditional puts.
_SETTLED = 0.5


def create_exclusively(url: str, content: bytes) -> bool:
    """Publishes `content`, whole or not at all, unless there is something under `url` already; whether it did.

    Exactly one of several writers is told True on a local disk and on object stores that know conditional puts. On
    other object stores the last of those that write within half a second is.
    """
    filesystem, path = open_filesystem(url)
    if isinstance(filesystem, LocalFileSystem):
        return _create_local(path, content)
    if _knows_conditional_puts(filesystem, posixpath.dirname(path)):
        return _put_new(filesystem, path, content)
    filesystem.invalidate_cache()
    if filesystem.exists(path):
        return False
    filesystem.pipe_file(path, content)
    time.sleep(_SETTLED)
    return bool(filesystem.cat_file(path) == content)


def has_exclusive_creation(folder_url: str) -> bool:
    """Whether exactly one of several writers can create a file in a folder; tried with a file that is removed again."""
    filesystem, path = open_filesystem(folder_url)
    return isinstance(filesystem, LocalFileSystem) or _knows_conditional_puts(filesystem, path)


@functools.cache
def _knows_conditional_puts(filesystem: fsspec.AbstractFileSystem, folder: str) -> bool:
    """Several stores that speak S3 take the condition and overwrite all the same; some drivers do not pass it on."""
    probe = f"{folder}/.probe-{uuid.uuid4().hex}"
    try:
        try:
            filesystem.pipe_file(probe, b"first", mode="create")
        except Exception:  # no such option, whatever the driver or the store calls that, unless nothing can be written
            filesystem.pipe_file(probe, b"first")
            return False
        try:
            filesystem.pipe_file(probe, b"second", mode="create")
        except Exception:  # it exists: stores have several words for it
            return True
        return False
    finally:
        with suppress(Exception):
            filesystem.rm_file(probe)


def _put_new(filesystem: fsspec.AbstractFileSystem, path: str, content: bytes) -> bool:
    try:
        filesystem.pipe_file(path, content, mode="create")
    except OSError:
        # Stores have several words for "it exists".
        filesystem.invalidate_cache()
        if not filesystem.exists(path):
            raise
        return False
    return True


def _create_local(path: str, content: bytes) -> bool:
    building = written_beside(path, content)
    try:
        os.link(building, path)
        created = True
    except FileExistsError:
        created = os.stat(building).st_nlink > 1  # by this very call, whose answer a network drive lost
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        created = _rename_new(building, path)
    finally:
        with suppress(OSError):
            os.unlink(building)
    if created:
        flush(posixpath.dirname(path))
    return created


def _rename_new(building: str, path: str) -> bool:
    """Renames a file unless the new name is taken, under a lock: of itself a rename replaces what is there."""
    folder, name = posixpath.split(path)
    lock = posixpath.join(folder, f".lock-{name}")
    seen: tuple[int, int] | None = None
    while not os.path.exists(path):
        try:
            os.close(os.open(lock, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            with suppress(FileNotFoundError):  # given up a moment ago
                status = os.stat(lock)
                if seen != (now := (status.st_ino, status.st_mtime_ns)):
                    seen, since = now, time.monotonic()
                elif time.monotonic() - since > _DEAD_LOCK:
                    os.unlink(lock)
            time.sleep(0.05)
            continue
        try:
            if os.path.exists(path):
                return False
            os.rename(building, path)
            return True
        finally:
            os.unlink(lock)
    return False
