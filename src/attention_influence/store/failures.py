"""What went wrong with a unit, one small object for each time; after three the unit is quarantined."""

import json
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from attention_influence.storage.atomic_files import remove, write_atomically
from attention_influence.storage.filesystems import names_in, open_filesystem, url_of

QUARANTINE_AFTER = 3


@dataclass(frozen=True)
class Failure:
    """One failed attempt."""

    unit: str
    worker: str
    error: str
    at: float
    """Seconds since the epoch."""


def record_failure(store_url: str, failure: Failure) -> None:
    """Adds a failed attempt to the store's log."""
    name = f"{failure.unit}.{uuid.uuid4().hex[:12]}.json"
    write_atomically(f"{store_url}/log/{name}", json.dumps(asdict(failure)).encode())


def read_failures(store_url: str) -> dict[str, list[Failure]]:
    """Unit → its failed attempts, oldest first."""
    filesystem, folder = open_filesystem(f"{store_url}/log")
    failures: dict[str, list[Failure]] = {}
    for name in names_in(f"{store_url}/log", ".json"):
        try:
            record = json.loads(filesystem.cat_file(f"{folder}/{name}.json"))
            failure = Failure(**{field.name: record[field.name] for field in fields(Failure)})
        except (FileNotFoundError, KeyError, ValueError, TypeError):
            continue  # forgotten a moment ago, or damaged: nothing to tell
        failures.setdefault(failure.unit, []).append(failure)
    return {unit: sorted(attempts, key=lambda attempt: attempt.at) for unit, attempts in failures.items()}


def quarantined(failures: Mapping[str, list[Failure]]) -> dict[str, str]:
    """Unit → its last error, for the units that are not tried again."""
    return {unit: attempts[-1].error for unit, attempts in failures.items() if len(attempts) >= QUARANTINE_AFTER}


def quarantined_units(store_url: str) -> set[str]:
    """The units that are not tried again; with one listing."""
    attempts = Counter(name.partition(".")[0] for name in names_in(f"{store_url}/log", ".json"))
    return {unit for unit, times in attempts.items() if times >= QUARANTINE_AFTER}


def forget_quarantined(store_url: str) -> None:
    """Lets the quarantined units be tried again."""
    filesystem, path = open_filesystem(f"{store_url}/log")
    for unit in quarantined_units(store_url):
        for file in filesystem.glob(f"{path}/{unit}.*.json"):
            remove(url_of(filesystem, file))
