"""The score store as its readers see it: what its run recorded, and the rows of its finished units as a stream."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from attention_influence.corpus.filesystems import open_bytes, open_filesystem
from attention_influence.corpus.sources import Source
from attention_influence.errors import StoreError
from attention_influence.scoring.run_store import open_run
from attention_influence.scoring.side_columns import SideColumn, side_columns

_BATCH_ROWS = 1 << 16


@dataclass(frozen=True)
class ScoreStore:
    """A store's run record and the units that were finished when it was opened."""

    url: str
    filesystem: fsspec.AbstractFileSystem
    run: Mapping[str, Any]
    units: tuple[str, ...]
    """Paths of the finished units."""
    n_planned: int
    """Units of the plan."""
    sources: dict[str, Source]
    """By name, those of the plan."""
    schema: pa.Schema
    """Of the rows, side columns included."""
    side: Mapping[str, SideColumn] = field(default_factory=dict)
    """Side columns by name."""

    @property
    def is_complete(self) -> bool:
        return len(self.units) == self.n_planned

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Those columns of every row, some ten thousand rows at a time, unit after unit.

        Raises StoreError naming the unit that cannot be read, or a side column that not all finished units have.
        """
        self.check_side_columns(columns)
        for unit in self.units:
            yield from self.unit_batches(unit, columns)

    def check_side_columns(self, columns: Sequence[str]) -> None:
        """Raises StoreError naming a side column among those that not all finished units have."""
        for column in (self.side[name] for name in columns if name in self.side):
            if missing := column.missing(map(_name_of, self.units)):
                raise StoreError(
                    f"{column.folder}: {len(missing):,} of {len(self.units):,} finished units do not have this column "
                    f"yet. Complete it with `annotate {self.url} {column.name}`."
                )

    def unit_batches(
        self, unit: str, columns: Sequence[str], batch_rows: int = _BATCH_ROWS, encoded: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """Those columns of a unit's rows; the `encoded` ones as dictionaries, which is how they lie on disk."""
        beside = [self.side[name] for name in columns if name in self.side]
        own = [name for name in columns if name not in self.side]
        with self._open(unit) as raw:
            try:
                file = pq.ParquetFile(raw, read_dictionary=[name for name in own if name in encoded])
                missing = [name for name in own if name not in file.schema_arrow.names]
                if missing:
                    raise StoreError(f"{unit}: no column {missing[0]!r}, which other units have. Score it again.")
                # One number for each row of a unit is little, beside the batches of the others.
                rows = file.metadata.num_rows
                values = {column.field: column.values(_name_of(unit), rows) for column in beside}
                first = 0
                for batch in file.iter_batches(batch_size=batch_rows, columns=own):
                    for added, numbers in values.items():
                        batch = batch.append_column(added, numbers.slice(first, batch.num_rows))
                    first += batch.num_rows
                    yield batch
            except (pa.ArrowException, OSError) as error:
                raise StoreError(
                    f"{unit}: this unit of the score store cannot be read ({error}). "
                    "Delete it and resume scoring: only this unit is done again."
                ) from error

    def _open(self, unit: str) -> Any:
        # Arrow's own file lets other threads run while it reads.
        if isinstance(self.filesystem, LocalFileSystem):
            return pa.OSFile(unit)
        return open_bytes(self.filesystem, unit, sequential=False)


def _name_of(unit: str) -> str:
    return unit.rpartition("/")[2].removesuffix(".parquet")


def open_store(url: str) -> ScoreStore:
    """The store at a path or fsspec URL, its list of units frozen.

    Raises StoreError when there is no run record or no finished unit.
    """
    run = open_run(url)
    if run is None:
        raise StoreError(f"{url}: no run.json, so not a score store. Give the folder that `score --out` made.")
    done = run.published()
    if not done:
        raise StoreError(f"{url}: no unit is finished yet. Run `score` (or resume it) before reading its scores.")
    filesystem, path = open_filesystem(f"{run.url}/scores")
    units = tuple(f"{path}/{unit.name}.parquet" for unit in run.units if unit.name in done)
    sources = {part.source.name: part.source for unit in run.units for part in unit.slices}
    with open_bytes(filesystem, units[0], sequential=False) as raw:
        try:
            schema = pq.read_schema(raw)
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{units[0]}: not a Parquet file ({error}). Delete it and resume scoring.") from error
    side = side_columns(run.url)
    for column in side.values():
        schema = schema.append(column.field)
    return ScoreStore(run.url, filesystem, run.run, units, len(run.units), sources, schema, side)
