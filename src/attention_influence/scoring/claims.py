"""Who works on which unit: small objects that expire, so that a dead worker's unit is taken by another.

A claim only saves work. Units are idempotent, so two workers on one unit cost time and nothing else.
"""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from attention_influence.corpus.filesystems import open_filesystem
from attention_influence.corpus.whole_files import create_whole, remove, write_whole

# A claim that was not renewed for so long is dead (seconds); renewed four times as often.
EXPIRY = 120.0


@dataclass(frozen=True)
class Claim:
    """One worker's hold on one unit."""

    worker: str
    host: str
    pid: int
    renewed: float
    """Seconds since the epoch, by the worker's clock."""

    def is_live(self) -> bool:
        """Whether its worker may still be at work."""
        if self.host == socket.gethostname() and not _runs(self.pid):
            return False
        return time.time() - self.renewed < EXPIRY


def worker_name() -> str:
    """A name that no other worker has: host, process and chance."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


class Claims:
    """The claims of one store, as one worker sees and makes them."""

    def __init__(self, store_url: str, worker: str) -> None:
        self._folder = f"{store_url}/claims"
        self.worker = worker

    def read(self, unit: str) -> Claim | None:
        """The claim on a unit, live or not."""
        return read_claim(f"{self._folder}/{unit}.json")

    def take(self, unit: str) -> bool:
        """Whether the unit is this worker's now: it was free, or its claim was dead."""
        if create_whole(self._url(unit), self._mine()):
            return True
        standing = self.read(unit)
        if standing is not None and standing.worker != self.worker and standing.is_live():
            return False
        write_whole(self._url(unit), self._mine())
        now = self.read(unit)
        return now is not None and now.worker == self.worker

    @contextmanager
    def kept(self, unit: str) -> Iterator[None]:
        """Renews the claim from a thread for as long as the context lasts, and removes it at the end."""
        finished = threading.Event()

        def renew() -> None:
            while not finished.wait(EXPIRY / 4):
                write_whole(self._url(unit), self._mine())

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
            remove(self._url(unit))

    def _url(self, unit: str) -> str:
        return f"{self._folder}/{unit}.json"

    def _mine(self) -> bytes:
        claim = Claim(self.worker, socket.gethostname(), os.getpid(), time.time())
        return json.dumps(asdict(claim)).encode()


def read_claim(url: str) -> Claim | None:
    """The claim in a file, None if there is none that can be read."""
    filesystem, path = open_filesystem(url)
    try:
        record: dict[str, Any] = json.loads(filesystem.cat_file(path))
        return Claim(**record)
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
