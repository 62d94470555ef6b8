"""What went wrong with a unit, one small object for each time; after three the unit is parked."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from attention_influence.corpus.atomic_files import remove, write_atomically
from attention_influence.corpus.filesystems import open_filesystem

PARK_AFTER = 3


@dataclass(frozen=True)
class Failure:
    """One failed attempt."""

    unit: str
    worker: str
    error: str
    at: float
    """Seconds since the epoch."""
    final: bool = False
    """Trying again cannot help: parked at once."""


def record_failure(store_url: str, failure: Failure) -> None:
    """Adds a failed attempt to the store's log."""
    name = f"{failure.unit}.{uuid.uuid4().hex[:12]}.json"
    write_atomically(f"{store_url}/log/{name}", json.dumps(asdict(failure)).encode())


def read_failures(store_url: str) -> dict[str, list[Failure]]:
    """Unit → its failed attempts, oldest first."""
    filesystem, path = open_filesystem(f"{store_url}/log")
    filesystem.invalidate_cache()
    if not filesystem.isdir(path):
        return {}
    failures: dict[str, list[Failure]] = {}
    for file in filesystem.ls(path, detail=False):
        if file.endswith(".json") and not file.rpartition("/")[2].startswith("."):
            try:
                failure = Failure(**json.loads(filesystem.cat_file(file)))
            except (FileNotFoundError, ValueError, TypeError):
                continue  # forgotten a moment ago, or damaged: nothing to tell
            failures.setdefault(failure.unit, []).append(failure)
    return {unit: sorted(attempts, key=lambda attempt: attempt.at) for unit, attempts in failures.items()}


def parked(failures: Mapping[str, list[Failure]]) -> dict[str, str]:
    """Unit → its last error, for the units that are not tried again."""
    return {
        unit: attempts[-1].error
        for unit, attempts in failures.items()
        if len(attempts) >= PARK_AFTER or any(attempt.final for attempt in attempts)
    }


def forget_failures(store_url: str, unit: str) -> None:
    """Lets a parked unit be tried again."""
    filesystem, path = open_filesystem(f"{store_url}/log")
    for file in filesystem.glob(f"{path}/{unit}.*.json"):
        remove(filesystem.unstrip_protocol(file))
