"""Who works on which unit: small objects that expire, so that a dead worker's unit is taken by another.

A lease only saves work. Units are idempotent, so two workers on one unit cost time and nothing else.
"""

import functools
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from attention_influence.storage.atomic_files import remove, write_atomically
from attention_influence.storage.exclusive_files import create_exclusively
from attention_influence.storage.filesystems import names_in, open_filesystem

# Seconds without renewal after which a lease is dead; it is renewed four times as often.
EXPIRY = 120.0
# Seconds after which the last of several workers that found a lease dead at the same moment has written.
_SETTLED = 0.5


@dataclass(frozen=True)
class Lease:
    """One worker's hold on one unit."""

    worker: str
    host: str
    pid: int
    renewed: float
    """Seconds since the epoch, by the worker's clock."""

    def is_live(self) -> bool:
        """Whether its worker may still be running."""
        if self.host == _this_host() and not _runs(self.pid):
            return False
        return time.time() - self.renewed < EXPIRY


def worker_name() -> str:
    """A name that no other worker has: host, process and a random part."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"


class Leases:
    """The leases of one store, as one worker sees and makes them."""

    def __init__(self, store_url: str, worker: str) -> None:
        self._folder = f"{store_url}/leases"
        self.worker = worker

    def read(self, unit: str) -> Lease | None:
        """The lease on a unit, live or not; None if there is none that can be read."""
        filesystem, path = open_filesystem(self._url(unit))
        try:
            return Lease(**json.loads(filesystem.cat_file(path)))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def take(self, unit: str) -> bool:
        """Whether the unit is this worker's now: it was free, or its lease was dead."""
        for _ in range(2):
            if create_exclusively(self._url(unit), self._mine()):
                return True
            standing = self.read(unit)
            if standing is not None:
                break  # else it was given up between the two calls, or cannot be read
        if standing is not None and standing.worker == self.worker:
            return True
        if standing is not None and standing.is_live():
            return False
        write_atomically(self._url(unit), self._mine())
        time.sleep(_SETTLED)
        now = self.read(unit)
        return now is not None and now.worker == self.worker

    def names(self) -> set[str]:
        """The units that have a lease, live or not."""
        return set(names_in(self._folder, ".json"))

    def standing(self, units: Container[str] | None = None) -> dict[str, Lease]:
        """Unit → its lease, live or not, for those of the units, or for all, that have one."""
        leased = sorted(unit for unit in self.names() if units is None or unit in units)
        return {unit: lease for unit in leased if (lease := self.read(unit)) is not None}

    @contextmanager
    def kept(self, unit: str) -> Iterator[None]:
        """Renews the lease from a thread for as long as the context lasts, and removes it at the end.

        Failures of storage are ignored: a lease that cannot be renewed or removed expires.
        """
        finished = threading.Event()

        def renew() -> None:
            while not finished.wait(EXPIRY / 4):
                with suppress(Exception):
                    write_atomically(self._url(unit), self._mine())

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            finished.set()
            thread.join()
            with suppress(Exception):
                remove(self._url(unit))

    def give_up(self, unit: str) -> None:
        """Removes the lease if it is this worker's; one that cannot be removed expires."""
        with suppress(Exception):
            standing = self.read(unit)
            if standing is not None and standing.worker == self.worker:
                remove(self._url(unit))

    def _url(self, unit: str) -> str:
        return f"{self._folder}/{unit}.json"

    def _mine(self) -> bytes:
        lease = Lease(self.worker, _this_host(), os.getpid(), time.time())
        return json.dumps(asdict(lease)).encode()


@functools.cache
def _this_host() -> str:
    """Names what process ids are unique in: on Linux the boot and the container, for hosts may share a name."""
    name = socket.gethostname()
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        name = f"{name} {boot} {os.readlink('/proc/self/ns/pid')}"
    return name


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
