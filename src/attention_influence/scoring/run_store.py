"""Where a run's results are kept: one object for each unit, published whole; the object is the mark that it is done.

run.json                 fingerprint, configuration, roots, noise floor, versions
plan.parquet             the frozen units
scores/<unit>.parquet    see `schema`
selected/<unit>…         rows that were chosen as they were scored, if that was asked for
"""

import io
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.corpus.filesystems import open_bytes, open_filesystem
from attention_influence.corpus.whole_files import create_whole, patiently, remove, write_whole
from attention_influence.errors import StoreError
from attention_influence.scoring.plan import Unit, plan_from_bytes, plan_to_bytes

# Time between a plan and its record, at most, in a run that is alive (seconds).
_RECORD_FOLLOWS = 1.0


@dataclass(frozen=True)
class RunStore:
    """A score store that a run writes to."""

    url: str
    run: Mapping[str, Any]
    units: tuple[Unit, ...]

    def published(self) -> set[str]:
        """Names of the units that are done."""
        filesystem, path = open_filesystem(f"{self.url}/scores")
        filesystem.invalidate_cache()
        if not filesystem.isdir(path):
            return set()
        names = (name.rpartition("/")[2] for name in filesystem.ls(path, detail=False))
        return {name.removesuffix(".parquet") for name in names} & {unit.name for unit in self.units}

    def publish(self, unit: Unit, scores: pa.Table, about: Mapping[str, Any]) -> None:
        """Makes a unit's scores visible, whole; `about` goes into the object's metadata."""
        sink = io.BytesIO()
        metadata = {b"attention_influence": json.dumps(dict(about)).encode()}
        pq.write_table(scores.replace_schema_metadata(metadata), sink, compression="zstd")
        patiently(lambda: write_whole(self._object(unit), sink.getvalue()), f"write unit {unit.name} in {self.url}")

    def publish_selected(self, unit: Unit, files: Mapping[str, bytes]) -> None:
        """Writes the rows that were chosen of a unit, each file whole, in place of any that were; before its scores."""
        folder = f"{self.url}/selected"
        filesystem, path = open_filesystem(folder)

        def write() -> None:
            for end, content in files.items():
                write_whole(f"{folder}/{unit.name}{end}", content)
            filesystem.invalidate_cache()
            there = filesystem.ls(path, detail=False) if filesystem.isdir(path) else []
            for name in (file.rpartition("/")[2] for file in there):
                if name.startswith(unit.name) and name.removeprefix(unit.name) not in files:
                    remove(f"{folder}/{name}")

        patiently(write, f"write the chosen rows of unit {unit.name} in {self.url}")

    def records(self) -> dict[str, dict[str, Any]]:
        """Unit → what was recorded with its scores, for the units that are done."""
        filesystem, path = open_filesystem(f"{self.url}/scores")

        def record(unit: str) -> dict[str, Any]:
            with open_bytes(filesystem, f"{path}/{unit}.parquet", sequential=False) as raw:
                try:
                    metadata = pq.read_metadata(raw).metadata
                    return json.loads(metadata[b"attention_influence"])  # type: ignore[no-any-return]
                except (pa.ArrowException, KeyError, TypeError, ValueError) as error:
                    raise StoreError(
                        f"{path}/{unit}.parquet: this unit of the score store cannot be read ({error}). "
                        "Delete it and resume scoring: only this unit is done again."
                    ) from error

        done = sorted(self.published())
        with ThreadPoolExecutor(16) as pool:
            return dict(zip(done, pool.map(record, done), strict=True))

    def is_published(self, unit: Unit) -> bool:
        """Whether the unit is done."""
        filesystem, path = open_filesystem(self._object(unit))
        filesystem.invalidate_cache()
        return bool(filesystem.exists(path))

    def _object(self, unit: Unit) -> str:
        return f"{self.url}/scores/{unit.name}.parquet"


def create(url: str, run: Mapping[str, Any], units: list[Unit]) -> RunStore:
    """A new store with its run record and plan; the record comes last, and makes it a store.

    When several runs begin one store at the same moment, all get the plan and the record of the first.
    """
    url = url.rstrip("/")
    plan = plan_to_bytes(units)
    record = (json.dumps(dict(run), indent=1) + "\n").encode()

    def write() -> None:
        if not create_whole(f"{url}/plan.parquet", plan):
            # Another run's that is about to write its record, or left by one that was stopped before it.
            time.sleep(_RECORD_FOLLOWS)
            if open_run(url) is None:
                write_whole(f"{url}/plan.parquet", plan)
        create_whole(f"{url}/run.json", record)

    patiently(write, f"write {url}")
    store = open_run(url)
    assert store is not None
    return store


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
        raise StoreError(
            f"{url}: run.json or plan.parquet cannot be read ({error}); restore it, or use a new --out"
        ) from error
    return RunStore(url, run, tuple(units))
