"""Files that need not outlive a command, in the system's temporary folder (TMPDIR)."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

from attention_influence.errors import StorageError
from attention_influence.storage.errors import in_words

_PREFIX = "attention-influence-"
_LOCK = "lock"
# A folder is locked sooner than this after it was made (seconds).
_LOCKED_BY_THEN = 60.0


@contextmanager
def temporary_folder(parent: Path | None = None) -> Iterator[Path]:
    """A new folder in `parent`, by default in TMPDIR; removed when the block ends.

    It is locked for as long as its process lives, and folders whose process was killed are removed first.
    Raises StorageError when it cannot be made in TMPDIR, OSError when it cannot be made in `parent`.
    """
    with temporary_room() if parent is None else nullcontext():
        root = parent or Path(tempfile.gettempdir())
        _remove_abandoned(root)
        made = tempfile.TemporaryDirectory(prefix=_PREFIX, dir=root, ignore_cleanup_errors=True)
    with made as name, (Path(name) / _LOCK).open("wb") as lock:
        _lock(lock)
        yield Path(name)


@contextmanager
def temporary_room() -> Iterator[None]:
    """For a block that writes temporary files: raises StorageError when there is no room or no right to."""
    try:
        yield
    except OSError as error:
        raise no_room(in_words(error)) from error


def no_room(why: str) -> StorageError:
    """The error of a command that could not write a temporary file."""
    return StorageError(
        f"cannot write temporary files: {why}. Set TMPDIR to a folder with more room. Nothing is lost: run the same "
        "command again"
    )


def _lock(file: BinaryIO) -> bool:
    """Whether the file is locked by this process now; where there are no locks it never is."""
    try:
        import fcntl

        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return False
    return True


def _remove_abandoned(root: Path) -> None:
    for path in root.glob(f"{_PREFIX}*/{_LOCK}"):
        with suppress(OSError):  # of another user, or gone
            if time.time() - path.stat().st_mtime > _LOCKED_BY_THEN:
                with path.open("r+b") as lock:
                    if _lock(lock):
                        shutil.rmtree(path.parent, ignore_errors=True)
