"""A folder that appears whole or not at all, and which is resumed after a kill.

It is made in a hidden folder beside it, or inside where it is a mount point or its parent cannot be written:

.<name>.part/leases/     who is at work on it
.<name>.part/parts/      see `parts`
.<name>.part/whole-*/    what takes the folder's place in the end, on a local disk
"""

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import fsspec
from fsspec.implementations.local import LocalFileSystem

from attention_influence.errors import StorageError, UsageError
from attention_influence.storage.atomic_files import flush, with_retries
from attention_influence.storage.errors import in_words
from attention_influence.storage.filesystems import open_filesystem, url_of
from attention_influence.storage.preflight import check_writable_folder
from attention_influence.store.leases import Leases, worker_name

# The last file to be published where folders cannot be renamed, and the mark of a folder that may be replaced.
DONE_MARK = "selection.json"
# In the staging folder, where folders cannot be renamed: files are being moved to their place.
_MOVING = "moving"
_LEASE = "select"


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

    def flush(self) -> None:
        """Makes its files survive a power cut, on a local disk."""
        if isinstance(self.filesystem, LocalFileSystem):
            for folder, _, files in os.walk(self.path):
                for name in files:
                    flush(os.path.join(folder, name))
                flush(folder)


@dataclass(frozen=True)
class Staging:
    """The hidden folder in which a folder is made."""

    out: str
    filesystem: fsspec.AbstractFileSystem
    path: str
    target: str
    """Path of the folder that is made."""

    @property
    def parts(self) -> str:
        """URL of the folder of the parts."""
        return f"{url_of(self.filesystem, self.path)}/parts"

    def whole(self, moved: Mapping[str, str]) -> StagedFolder:
        """For the files beside those that are moved out of the parts; another folder when others are moved."""
        return StagedFolder(self.filesystem, f"{self.path}/whole-{_digest(moved)}")

    def publish(self, moved: Mapping[str, str], overwrite: bool) -> None:
        """Puts everything into its place: what is in `whole`, and files of the parts, by their names there.

        On a local disk that is one rename, everything flushed first. Object stores have none, and a mount point cannot
        be renamed to: there the files are moved one by one, and `selection.json` last. Goes on where an earlier call
        was cut off.
        """
        check_target(self.out, overwrite)
        whole = self.whole(moved)
        if isinstance(self.filesystem, LocalFileSystem) and not self.path.startswith(f"{self.target}/"):
            self._move_parts(moved, whole.path)
            whole.flush()
            _rename(whole.path, self.target)
            return
        if _moving(self.filesystem, self.target) != _digest(moved):
            _clear(self.filesystem, self.target)
            self.filesystem.pipe_file(f"{self.path}/{_MOVING}", _digest(moved).encode())
        self._move_parts(moved, self.target)
        whole.flush()
        for file in sorted(self.filesystem.find(whole.path), key=lambda file: (file.endswith(f"/{DONE_MARK}"), file)):
            _move(self.filesystem, file, self.target + file[len(whole.path) :])

    def _move_parts(self, moved: Mapping[str, str], target: str) -> None:
        for name, new_name in moved.items():
            _move(self.filesystem, f"{self.path}/parts/{name}", f"{target}/{new_name}")


def check_target(out: str, overwrite: bool) -> None:
    """Raises UsageError when a selection may not be written to `out`."""
    filesystem, path = _target(out)
    if filesystem.isfile(path):
        raise UsageError(f"{out}: a file is in the way. Give --out a folder that does not exist yet.")
    if not filesystem.isdir(path) or not _content(filesystem, path):
        return
    done = filesystem.exists(f"{path}/{DONE_MARK}")
    if not done and _moving(filesystem, path):
        return  # files that a command that was cut off had moved there
    if not overwrite:
        raise UsageError(f"{out}: the folder is not empty. Give another --out, or --overwrite to replace a selection.")
    if not done:
        raise UsageError(f"{out}: not replaced, for it holds no {DONE_MARK}, so no selection. Give another --out.")


@contextmanager
def staged(out: str) -> Iterator[Staging]:
    """Where a folder is made; removed at the end, unless it holds finished parts that an error kept from being used.

    Raises UsageError when another process is at work on it, StorageError when it cannot be written.
    """
    filesystem, path = _target(out)
    staging = Staging(out, filesystem, _staging_path(filesystem, path), path)
    url = url_of(filesystem, staging.path)
    check_writable_folder(url, named=out)
    leases = Leases(url, worker_name())
    if not with_retries(lambda: leases.take(_LEASE), f"write {out}"):
        holder = leases.read(_LEASE)
        raise UsageError(
            f"{out}: another `select` is writing it{f' ({holder.worker})' if holder else ''}. Wait for it, or give "
            "another --out; the lease of one that was killed on another machine expires after two minutes."
        )
    published = False
    with leases.kept(_LEASE):
        try:
            yield staging
            published = True
        except OSError as error:
            raise StorageError(
                f"{out} is not written: {in_words(error)}, and run the same command again: what is finished is kept"
            ) from error
        finally:
            if published or not filesystem.glob(f"{staging.path}/parts/*.json"):
                with suppress(FileNotFoundError):
                    filesystem.rm(staging.path, recursive=True)


def _target(out: str) -> tuple[fsspec.AbstractFileSystem, str]:
    """The folder that is made; what a link names, for a link cannot be replaced by a folder."""
    filesystem, path = open_filesystem(out)
    return filesystem, os.path.realpath(path) if isinstance(filesystem, LocalFileSystem) else path.rstrip("/")


def _staging_path(filesystem: fsspec.AbstractFileSystem, path: str) -> str:
    parent, _, name = path.rpartition("/")
    stays = isinstance(filesystem, LocalFileSystem) and os.path.isdir(path)
    if stays and (_is_mount_point(path) or not os.access(parent or "/", os.W_OK)):
        return f"{path}/.{name}.part"
    return f"{parent}/.{name}.part"


def _is_mount_point(path: str) -> bool:
    if os.path.ismount(path):
        return True
    with suppress(OSError):  # a folder that is mounted from the same disk shows only there
        mounts = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
        fields = (re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), line.split()[4]) for line in mounts)
        return path in fields
    return False


def _content(filesystem: fsspec.AbstractFileSystem, path: str) -> list[str]:
    """What lies in a folder, other than what file systems and this module put there."""
    staging = _staging_path(filesystem, path)
    names = filesystem.ls(path, detail=False)
    return [name for name in names if name.rstrip("/") != staging and not name.endswith("/lost+found")]


def _digest(moved: Mapping[str, str]) -> str:
    return hashlib.blake2b(json.dumps([*moved.items()]).encode(), digest_size=8).hexdigest()


def _moving(filesystem: fsspec.AbstractFileSystem, path: str) -> str | None:
    """The digest of what is being moved to a folder, if anything is."""
    try:
        return str(filesystem.cat_file(f"{_staging_path(filesystem, path)}/{_MOVING}").decode())
    except FileNotFoundError:
        return None


def _rename(whole: str, path: str) -> None:
    replaced = f"{whole}.old"
    if os.path.isdir(path) and os.listdir(path):
        try:
            os.rename(path, replaced)
        except OSError as error:
            if error.errno != errno.EXDEV:  # a folder of a container's image
                raise
            shutil.rmtree(path)
    os.rename(whole, path)
    flush(os.path.dirname(path))
    shutil.rmtree(replaced, ignore_errors=True)


def _clear(filesystem: fsspec.AbstractFileSystem, path: str) -> None:
    if filesystem.isdir(path):
        with suppress(FileNotFoundError):
            filesystem.rm(f"{path}/{DONE_MARK}")
        if content := _content(filesystem, path):
            with suppress(FileNotFoundError):
                filesystem.rm(content, recursive=True)


def _move(filesystem: fsspec.AbstractFileSystem, file: str, target: str) -> None:
    """Moves a file, unless that was done before."""
    if filesystem.exists(file) or not filesystem.exists(target):
        filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        filesystem.mv(file, target)
