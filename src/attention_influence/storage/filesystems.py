"""The filesystem behind a URL, found once per URL; every byte of a corpus is read through it."""

import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

import fsspec
import pyarrow as pa
from fsspec.archive import AbstractArchiveFileSystem
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from attention_influence.errors import UsageError

# Large enough that a sequential read of a remote file is bound by bandwidth, not by round trips.
BLOCK_BYTES = 8 << 20

_LOCAL = ("file", "local")
_PROTOCOL = re.compile(r"(?P<first>[A-Za-z0-9+._-]+)(?P<rest>(?:::[A-Za-z0-9+._-]+)*)://")
_ESCAPED = re.compile(r"\\(\\|x[89a-f][0-9a-f])")

# What object stores call the identity of a file's content, the strongest first.
_CONTENT_TAGS = ("ETag", "etag", "md5Hash", "blob_id", "version_id")


def open_filesystem(url: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The filesystem and the path within it that a path or fsspec URL names.

    What has no protocol is a local path, whatever characters its names have. Raises UsageError when the protocol is
    unknown or its driver is not installed.
    """
    protocol = _PROTOCOL.match(url)
    if protocol is None:
        return fsspec.filesystem("file"), _absolute(url)
    if protocol["first"] in _LOCAL:
        return fsspec.filesystem("file"), _absolute(_ESCAPED.sub(_unescaped, url[protocol.end() :]))
    try:
        kind = fsspec.get_filesystem_class(protocol["first"])
        if protocol["rest"] or "://" in url[protocol.end() :] or issubclass(kind, AbstractArchiveFileSystem):
            filesystem, path = url_to_fs(url)
        else:  # not a chain, so "::" belongs to the name
            filesystem = fsspec.filesystem(protocol["first"], **kind._get_kwargs_from_urls(url))
            path = kind._strip_protocol(url)
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"No filesystem for {url!r}: {error}. Install the driver of its protocol "
            "(s3://: pip install 'attention-influence[s3]', gs://: [gcs]) or give a local path."
        ) from error
    return filesystem, str(path)


def url_of(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    """The URL from which `open_filesystem` gives that path: valid Unicode, different for different paths.

    In local paths a byte that is not UTF-8 is written \\xe9, and a backslash twice.
    """
    if not isinstance(filesystem, LocalFileSystem):
        return str(filesystem.unstrip_protocol(path))
    return f"file://{storable(path)}"


def storable(path: str) -> str:
    """A local path, or a part of one, as valid Unicode."""
    return os.fsencode(path.replace("\\", "\\\\")).decode("utf-8", "backslashreplace")


def names_in(folder_url: str, ending: str) -> list[str]:
    """The names, without the ending, of a folder's files that have it and are not hidden; none without the folder."""
    filesystem, path = open_filesystem(folder_url)
    filesystem.invalidate_cache()
    try:
        paths = filesystem.ls(path, detail=False)
    except FileNotFoundError:
        return []
    names = [path[path.rfind("/") + 1 : -len(ending)] for path in paths if path.endswith(ending)]
    return [name for name in names if not name.startswith(".")]


def size_and_version(
    filesystem: fsspec.AbstractFileSystem, path: str, info: Mapping[str, Any] | None = None
) -> tuple[int, str]:
    """A file's bytes and its content tag, else its modification time, else an empty string; of a link, the target's.

    Raises FileNotFoundError when it is not there.
    """
    if isinstance(filesystem, LocalFileSystem):
        status = os.stat(path)
        return status.st_size, datetime.fromtimestamp(status.st_mtime, tz=UTC).isoformat()
    info = filesystem.info(path) if info is None else info
    return int(info["size"] or 0), _version(filesystem, path, info)


def open_bytes(filesystem: fsspec.AbstractFileSystem, path: str, *, sequential: bool = True) -> BinaryIO:
    """The open file; `sequential` reads ahead, otherwise only what is asked for is fetched."""
    if sequential:
        return cast(BinaryIO, filesystem.open(path, "rb", block_size=BLOCK_BYTES))
    if isinstance(filesystem, LocalFileSystem):
        return cast(BinaryIO, pa.OSFile(os.fsencode(path)))  # lets other threads run while Arrow reads it
    return cast(BinaryIO, filesystem.open(path, "rb", block_size=BLOCK_BYTES, cache_type="none"))


def read_file(url: str) -> bytes:
    """The content of a whole file. Raises OSError, and what its filesystem raises."""
    filesystem, path = open_filesystem(url)
    return bytes(filesystem.cat_file(path))


def _version(filesystem: fsspec.AbstractFileSystem, path: str, info: Mapping[str, Any]) -> str:
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


def _absolute(path: str) -> str:
    # As Python holds the bytes of a name here: in a locale of ASCII alone, not as the letters that they are in UTF-8.
    path = os.fsdecode(path.encode("utf-8", "surrogateescape"))
    if path.startswith("~") and not os.path.lexists(path):
        path = os.path.expanduser(path)
    if not path.startswith("/"):
        path = os.path.join(os.getcwd(), "" if path == "." else path.removeprefix("./"))
    return path.rstrip("/") or "/"


def _unescaped(match: re.Match[str]) -> str:
    """A backslash, or a byte that is not UTF-8 as Python holds it in a path."""
    code = match[1]
    return "\\" if code == "\\" else chr(0xDC00 + int(code[1:], 16))
