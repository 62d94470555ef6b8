"""Where a run's results are kept: one object for each unit, published whole; the object is the mark that it is done.

run.json                 fingerprint, configuration, roots, noise floor, versions
plan.parquet             the frozen units
unigrams-<digest>.parquet  how often tokens come in a sample of the corpus: see `unigrams`
scores/<unit>.parquet    see `schema`
"""

import functools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from attention_influence.errors import StoreError
from attention_influence.storage.atomic_files import with_retries, write_atomically
from attention_influence.storage.errors import refused
from attention_influence.storage.exclusive_files import create_exclusively
from attention_influence.storage.filesystems import open_filesystem
from attention_influence.storage.strict_json import strict_json
from attention_influence.store.plan import Unit, plan_from_bytes, plan_to_bytes
from attention_influence.store.unigrams import Unigrams, digest, unigrams_from_bytes
from attention_influence.store.unit_files import UnitFiles

# Time between a plan and its record, at most, in a run that is alive (seconds).
_RECORD_FOLLOWS = 1.0


@dataclass(frozen=True)
class RunStore:
    """A score store that a run writes to."""

    url: str
    run: Mapping[str, Any]
    units: tuple[Unit, ...]

    def unigrams(self) -> Unigrams | None:
        """The token counts that the run began with, None when it has none. Raises StoreError when they are damaged."""
        if (expected := self.run.get("unigrams")) is None:
            return None
        url = unigrams_url(self.url, expected)
        try:
            filesystem, path = open_filesystem(url)
            content = with_retries(lambda: filesystem.cat_file(path), f"read {url}")
            if digest(content) != expected:
                raise ValueError("its content is not what the run began with")
            return unigrams_from_bytes(content)
        except (ValueError, KeyError, pa.ArrowException, StoreError) as error:
            raise StoreError(f"{url} cannot be read ({error}); restore it, or use a new --out") from error

    @functools.cached_property
    def scores(self) -> UnitFiles:
        """The files of its units."""
        return scores_in(self.url)

    def published(self) -> set[str]:
        """Names of the units that are done."""
        return self.scores.names() & self._names

    @functools.cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(unit.name for unit in self.units)

    def publish(self, unit: Unit, scores: pa.Table, about: Mapping[str, Any]) -> None:
        """Makes a unit's scores visible, whole; `about` is recorded with them."""
        self.scores.publish(unit.name, scores, about)

    def records(self) -> dict[str, dict[str, Any]]:
        """Unit → what was recorded with its scores, for the units that are done."""
        return self.scores.records(self.published())

    def is_published(self, unit: Unit) -> bool:
        """Whether the unit is done."""
        return self.scores.has(unit.name)


def scores_in(url: str) -> UnitFiles:
    """The files with the scores of a store's units."""
    return UnitFiles(f"{url}/scores", "resume scoring")


def create(url: str, run: Mapping[str, Any], units: list[Unit], unigrams: Unigrams | None = None) -> RunStore:
    """A new store with its run record and plan; the record comes last, and makes it a store.

    When several runs begin one store at the same moment, all get the plan and the record of the first. The token counts
    are named by their content, so that those of another run are never confused with them.
    """
    url = url.rstrip("/")
    plan = plan_to_bytes(units)
    counts = None if unigrams is None else unigrams.to_bytes()
    if counts is not None:
        run = {**run, "unigrams": digest(counts)}
    record = (strict_json(dict(run), indent=1) + "\n").encode()

    def write() -> None:
        if counts is not None:
            write_atomically(unigrams_url(url, digest(counts)), counts)
        if not create_exclusively(f"{url}/plan.parquet", plan):
            # Another run's that is about to write its record, or left by one that was stopped before it.
            time.sleep(_RECORD_FOLLOWS)
            if open_run(url) is None:
                write_atomically(f"{url}/plan.parquet", plan)
        create_exclusively(f"{url}/run.json", record)

    with_retries(write, f"write {url}")
    store = open_run(url)
    assert store is not None
    return store


def differing_fields(one: Mapping[str, Any] | None, two: Mapping[str, Any] | None) -> list[str]:
    """The fields in which two fingerprints (weights, heads, window …) differ."""
    one, two = one or {}, two or {}
    return [name for name in {**one, **two} if one.get(name) != two.get(name)]


def unigrams_url(url: str, digest_of_content: str) -> str:
    """Where a store's token counts are."""
    return f"{url}/unigrams-{digest_of_content[:16]}.parquet"


def existing_run(url: str) -> RunStore:
    """The store at a path or URL. Raises StoreError where there is none, or it is damaged."""
    if (run := open_run(url)) is None:
        raise StoreError(f"{url}: no run.json, so not a score store. Give the folder that `score --out` made.")
    return run


def open_run(url: str) -> RunStore | None:
    """The store at a path or URL, None if there is none yet. Raises StoreError when it is damaged."""
    url = url.rstrip("/")
    filesystem, path = open_filesystem(url)
    filesystem.invalidate_cache()
    if not filesystem.exists(f"{path}/run.json"):
        return None
    try:
        run = json.loads(filesystem.cat_file(f"{path}/run.json"))
        units = plan_from_bytes(filesystem.cat_file(f"{path}/plan.parquet"))
    except (ValueError, KeyError, OSError, pa.ArrowException) as error:
        raise refused(f"read {url}", error) or StoreError(
            f"{url}: run.json or plan.parquet cannot be read ({error}); restore it, or use a new --out"
        ) from error
    return RunStore(url, run, tuple(units))
