"""Where a run's results are kept: one object for each unit, published whole; the object is the mark that it is done.

run.json                 fingerprint, configuration, roots, noise floor, versions
plan.parquet             the frozen units
scores/<unit>.parquet    see `schema`
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.corpus.filesystems import open_filesystem
from attention_influence.corpus.whole_files import write_whole
from attention_influence.errors import StoreError
from attention_influence.scoring.plan import Unit, plan_from_bytes, plan_to_bytes


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
        return {name.removesuffix(".parquet") for name in names if name.endswith(".parquet") and name[0] not in "._"}

    def publish(self, unit: Unit, scores: pa.Table, about: Mapping[str, Any]) -> None:
        """Makes a unit's scores visible, whole; `about` goes into the object's metadata."""
        sink = io.BytesIO()
        metadata = {b"attention_influence": json.dumps(dict(about)).encode()}
        pq.write_table(scores.replace_schema_metadata(metadata), sink, compression="zstd")
        write_whole(f"{self.url}/scores/{unit.name}.parquet", sink.getvalue())


def create(url: str, run: Mapping[str, Any], units: list[Unit]) -> RunStore:
    """A new store with its run record and plan; the record is written last, and makes it a store."""
    url = url.rstrip("/")
    write_whole(f"{url}/plan.parquet", plan_to_bytes(units))
    write_whole(f"{url}/run.json", (json.dumps(dict(run), indent=1) + "\n").encode())
    return RunStore(url, run, tuple(units))


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


def check_fingerprint(store: RunStore, fingerprint: Mapping[str, Any]) -> None:
    """Raises StoreError naming the first field in which a run differs from the one that began the store."""
    began = store.run["fingerprint"]
    for field in fingerprint | began:
        if fingerprint.get(field) != began.get(field):
            raise StoreError(
                f"{store.url} was begun with another {field} ({began.get(field)!r}, now {fingerprint.get(field)!r}): "
                "scores would not be comparable. Use the same, or a new --out"
            )
