"""The filesystem behind a URL, found once per URL; every byte of a corpus is read through it."""

import errno
from collections.abc import Mapping
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow as pa
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from attention_influence.errors import UsageError

# Large enough that a sequential read of a remote file is bound by bandwidth, not by round trips.
BLOCK_BYTES = 8 << 20

# Errors that no waiting mends.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_WRONG_PATH = (errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.ENAMETOOLONG)
# Their errors are not OSErrors.
_REMOTE_CLIENTS = ("aiohttp", "aiobotocore", "botocore", "gcsfs", "requests", "s3fs", "urllib3")

# What object stores call the identity of a file's content, the strongest first.
_CONTENT_TAGS = ("ETag", "etag", "md5Hash", "blob_id", "version_id")


def open_filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem and the path within it that a path or fsspec URL names.

    Raises UsageError when the protocol is unknown or its driver is not installed.
    """
    try:
        filesystem, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"No filesystem for {url!r}: {error}. Install the driver of its protocol "
            "(s3://: pip install 'attention-influence[s3]', gs://: [gcs]) or give a local path."
        ) from error
    return filesystem, str(path)


def open_bytes(filesystem: fsspec.AbstractFileSystem, path: str, *, sequential: bool = True) -> BinaryIO:
    """The open file; `sequential` reads ahead, otherwise only what is asked for is fetched."""
    if sequential:
        return cast(BinaryIO, filesystem.open(path, "rb", block_size=BLOCK_BYTES))
    if isinstance(filesystem, LocalFileSystem):
        return cast(BinaryIO, pa.OSFile(path))  # lets other threads run while Arrow reads it
    return cast(BinaryIO, filesystem.open(path, "rb", block_size=BLOCK_BYTES, cache_type="none"))


def version_of(filesystem: fsspec.AbstractFileSystem, path: str, info: Mapping[str, Any]) -> str:
    """The content tag of a file, else its modification time, else an empty string."""
    for key in _CONTENT_TAGS:
        if info.get(key):
            return str(info[key]).strip('"')
    for key in ("LastModified", "last_modified", "updated"):
        if info.get(key):
            return str(info[key])
    try:
        return str(filesystem.modified(path).isoformat())
    except (NotImplementedError, AttributeError):
        return ""


def is_transient(error: BaseException) -> bool:
    """Whether the same call may well succeed in a moment: a network's or an object store's error, not the file's."""
    if isinstance(error, OSError):
        return error.errno not in (*_NO_ROOM, *_FORBIDDEN, *_WRONG_PATH) and not isinstance(
            error, FileNotFoundError | PermissionError
        )
    return type(error).__module__.partition(".")[0] in _REMOTE_CLIENTS
