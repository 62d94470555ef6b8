"""Whether something can be written where it is wanted, found out before any work is done for it."""

import os
import posixpath
import tempfile
import uuid

from fsspec.implementations.local import LocalFileSystem

from attention_influence.errors import StorageError
from attention_influence.storage.atomic_files import remove, with_retries, write_atomically
from attention_influence.storage.errors import advice
from attention_influence.storage.filesystems import open_filesystem, url_of

# Enough that a file system with no room at all says so.
_PROBE_BYTES = 4096


def check_writable_folder(url: str, named: str | None = None) -> None:
    """Raises StorageError, about `named` or else the folder, when no file can be made in a folder.

    The folder need not exist yet.
    """
    named = named or url
    filesystem, path = open_filesystem(url)
    if not isinstance(filesystem, LocalFileSystem):
        probe = f"{url.rstrip('/')}/.probe-{uuid.uuid4().hex}"
        with_retries(lambda: write_atomically(probe, b""), f"write {named}")
        with_retries(lambda: remove(probe), f"remove {probe}")
        return
    there = os.path.realpath(path)
    while not os.path.lexists(there):
        there = posixpath.dirname(there)
    if not os.path.isdir(there):
        raise StorageError(f"cannot write {named}: {there} is a file, not a folder. Use another path")
    try:
        with tempfile.TemporaryFile(dir=there) as probing:
            probing.write(bytes(_PROBE_BYTES))
    except OSError as error:
        raise StorageError(f"cannot write {named}: {there}: {error.strerror}. {advice(error)}") from error


def check_writable_file(url: str) -> None:
    """Raises StorageError when a file cannot be written under `url`, whose folder need not exist yet."""
    filesystem, path = open_filesystem(url)
    if filesystem.isdir(path):
        raise StorageError(f"cannot write {url}: it is a folder. Give the name of a file")
    check_writable_folder(url_of(filesystem, posixpath.dirname(path)), named=url)
