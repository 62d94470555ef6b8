"""Writing a file so that it is there whole, or not at all."""

import os
import posixpath
import tempfile

from fsspec.implementations.local import LocalFileSystem

from attention_influence.corpus.filesystems import open_filesystem


def write_whole(url: str, content: bytes) -> None:
    """Publishes `content` under `url`, replacing what was there; a reader sees the old bytes or all of the new.

    Local: a temporary name in the same folder, fsync, rename, fsync of the folder. Elsewhere: one put, which object
    stores show only when it is complete.
    """
    filesystem, path = open_filesystem(url)
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, content)
        return
    folder = posixpath.dirname(path)
    os.makedirs(folder, exist_ok=True)
    descriptor, building = tempfile.mkstemp(prefix=".building-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(building, 0o666 & ~_umask())
        os.replace(building, path)
    except BaseException:
        os.unlink(building)
        raise
    sync_folder(folder)


def sync_folder(folder: str) -> None:
    """Makes the names in a local folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
