"""A folder that appears whole or not at all."""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from attention_influence.corpus.filesystems import open_filesystem
from attention_influence.corpus.whole_files import flush
from attention_influence.errors import UsageError

# The last file to be published where folders cannot be renamed, and the mark of a folder that may be replaced.
DONE_MARK = "selection.json"


@dataclass(frozen=True)
class StagedFolder:
    """A hidden folder to write into."""

    filesystem: fsspec.AbstractFileSystem
    path: str

    def open(self, name: str) -> BinaryIO:
        """A new file, '/' in its name making folders."""
        path = f"{self.path}/{name}"
        self.filesystem.makedirs(path.rpartition("/")[0], exist_ok=True)
        return cast(BinaryIO, self.filesystem.open(path, "wb"))


def check_target(out: str, overwrite: bool) -> None:
    """Raises UsageError when a selection may not be written to `out`."""
    filesystem, path = open_filesystem(out)
    path = path.rstrip("/")
    if filesystem.isfile(path):
        raise UsageError(f"{out}: a file is in the way. Give --out a folder that does not exist yet.")
    if not filesystem.isdir(path) or not filesystem.ls(path, detail=False):
        return
    if not overwrite:
        raise UsageError(f"{out}: the folder is not empty. Give another --out, or --overwrite to replace a selection.")
    if not filesystem.exists(f"{path}/{DONE_MARK}"):
        raise UsageError(f"{out}: not replaced, for it holds no {DONE_MARK}, so no selection. Give another --out.")


@contextmanager
def published_folder(out: str, overwrite: bool = False) -> Iterator[StagedFolder]:
    """A hidden sibling of `out`, which takes its place when the block ends without an error.

    On a local disk that is one rename, everything in it flushed first. Object stores have none: there the files are
    moved one by one, and `selection.json` last.
    """
    filesystem, path = open_filesystem(out)
    path = path.rstrip("/")
    parent, _, name = path.rpartition("/")
    staged = StagedFolder(filesystem, f"{parent}/.{name}.{uuid.uuid4().hex[:12]}.part")
    filesystem.makedirs(staged.path, exist_ok=True)
    try:
        yield staged
        check_target(out, overwrite)
        if isinstance(filesystem, LocalFileSystem):
            _rename(staged.path, path, parent)
        else:
            _move(filesystem, staged.path, path)
    finally:
        with suppress(FileNotFoundError):
            filesystem.rm(staged.path, recursive=True)


def _rename(staged: str, path: str, parent: str) -> None:
    for folder, _, files in os.walk(staged):
        for name in files:
            flush(os.path.join(folder, name))
        flush(folder)
    if os.path.isdir(path) and os.listdir(path):
        replaced = f"{staged}.old"
        os.rename(path, replaced)
        os.rename(staged, path)
        flush(parent)
        shutil.rmtree(replaced)
    else:
        os.rename(staged, path)
        flush(parent)


def _move(filesystem: fsspec.AbstractFileSystem, staged: str, path: str) -> None:
    if filesystem.isdir(path):
        with suppress(FileNotFoundError):
            filesystem.rm(f"{path}/{DONE_MARK}")
        with suppress(FileNotFoundError):
            filesystem.rm(path, recursive=True)
    for file in sorted(filesystem.find(staged), key=lambda file: (file.endswith(f"/{DONE_MARK}"), file)):
        target = path + file[len(staged) :]
        filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        filesystem.mv(file, target)
