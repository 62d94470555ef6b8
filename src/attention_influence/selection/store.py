"""The score store as a selection sees it: what its run recorded, and its rows as a stream of batches."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.corpus.filesystems import open_bytes, open_filesystem
from attention_influence.corpus.sources import Source
from attention_influence.errors import StoreError

_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class ScoreStore:
    """A store's run record and the units that were finished when it was opened."""

    url: str
    filesystem: fsspec.AbstractFileSystem
    run: Mapping[str, Any]
    units: tuple[str, ...]
    schema: pa.Schema

    @property
    def is_complete(self) -> bool:
        return bool(self.run.get("complete", True))

    def sources(self) -> dict[str, Source]:
        """The recorded sources by name."""
        records = self.run.get("sources", [])
        return {record["name"]: Source.from_json(record) for record in records}

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Those columns of every row, some ten thousand rows at a time, unit after unit.

        Raises StoreError naming the unit that cannot be read.
        """
        for unit in self.units:
            with open_bytes(self.filesystem, unit, sequential=False) as raw:
                try:
                    file = pq.ParquetFile(raw)
                    missing = [name for name in columns if name not in file.schema_arrow.names]
                    if missing:
                        raise StoreError(f"{unit}: no column {missing[0]!r}, which other units have. Score it again.")
                    yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns))
                except (pa.ArrowException, OSError) as error:
                    raise StoreError(
                        f"{unit}: this unit of the score store cannot be read ({error}). "
                        "Delete it and resume scoring: only this unit is done again."
                    ) from error


def open_store(url: str) -> ScoreStore:
    """The store at a path or fsspec URL, its list of units frozen.

    Raises StoreError when there is no run record or no finished unit.
    """
    filesystem, path = open_filesystem(url)
    path = path.rstrip("/")
    try:
        run = json.loads(filesystem.cat_file(f"{path}/run.json"))
    except FileNotFoundError as error:
        raise StoreError(
            f"{url}: no run.json, so not a score store. Give the folder that `score --out` made."
        ) from error
    except ValueError as error:
        raise StoreError(
            f"{url}/run.json: not valid JSON ({error}). Restore it, or score into a new folder."
        ) from error
    filesystem.invalidate_cache()
    found = filesystem.find(f"{path}/scores") if filesystem.isdir(f"{path}/scores") else []
    units = sorted(unit for unit in found if _is_finished(unit.rpartition("/")[2]))
    if not units:
        raise StoreError(f"{url}: no unit is finished yet. Run `score` (or resume it) before selecting.")
    with open_bytes(filesystem, units[0], sequential=False) as raw:
        try:
            schema = pq.read_schema(raw)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{units[0]}: not a Parquet file ({error}). Delete it and resume scoring.") from error
    return ScoreStore(url, filesystem, run, tuple(units), schema)


def _is_finished(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith((".", "_"))
