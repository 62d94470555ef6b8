"""The score store as its readers see it: what its run recorded, and the rows of its finished units as a stream."""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa

from attention_influence.concurrency import in_threads
from attention_influence.corpus.sources import Source
from attention_influence.errors import StoreError
from attention_influence.store.columns.added import AddedColumn, added_columns
from attention_influence.store.run import existing_run, scores_in
from attention_influence.store.unit_files import UnitFiles

_BATCH_ROWS = 1 << 16
# Of a pass by several threads: Python's own time vanishes, and a batch fits a processor's cache.
_LARGE_BATCH_ROWS = 1 << 17
# Columns of few different strings, which lie as dictionaries on disk: decoding them would take most of a pass.
_ENCODED = ("source", "domain", "flag", "reason")

Result = TypeVar("Result")


@dataclass(frozen=True)
class ScoreStore:
    """A store's run record and the units that were finished when it was opened."""

    url: str
    run: Mapping[str, Any]
    units: tuple[str, ...]
    """Names of the finished units, in the order of the plan."""
    n_planned: int
    """Units of the plan."""
    sources: dict[str, Source]
    """By name, those of the plan."""
    schema: pa.Schema
    """Of the rows, added columns included."""
    added: Mapping[str, AddedColumn] = field(default_factory=dict)
    """Added columns by name."""

    @functools.cached_property
    def scores(self) -> UnitFiles:
        """The files of its units."""
        return scores_in(self.url)

    @property
    def is_complete(self) -> bool:
        return len(self.units) == self.n_planned

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Those columns of every row, some ten thousand rows at a time, unit after unit.

        Raises StoreError naming the unit that cannot be read, or an added column that not all finished units have.
        """
        self.check_added_columns(columns)
        for unit in self.units:
            yield from self.unit_batches(unit, columns)

    def over_units(
        self, columns: Sequence[str], work: Callable[[Iterator[pa.RecordBatch]], Result]
    ) -> Iterator[Result]:
        """What `work` makes of each unit's batches, several units at a time, in the order of the units.

        `source`, `domain`, `flag` and `reason` come as dictionaries. Errors are those of `batches`.
        """
        names = list(dict.fromkeys(columns))
        self.check_added_columns(names)
        return in_threads(lambda unit: work(self.unit_batches(unit, names, _LARGE_BATCH_ROWS, _ENCODED)), self.units)

    def check_added_columns(self, columns: Sequence[str]) -> None:
        """Raises StoreError naming an added column among those that not all finished units have."""
        for column in (self.added[name] for name in columns if name in self.added):
            if missing := column.missing(self.units):
                raise StoreError(
                    f"{column.folder}: {len(missing):,} of {len(self.units):,} finished units do not have this column "
                    f"yet. Complete it with `annotate {self.url} {column.name}`."
                )

    def unit_batches(
        self, unit: str, columns: Sequence[str], batch_rows: int = _BATCH_ROWS, encoded: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """Those columns of a unit's rows; the `encoded` ones as dictionaries, which is how they lie on disk."""
        beside = [self.added[name] for name in columns if name in self.added]
        own = [name for name in columns if name not in self.added]
        as_dictionaries = [name for name in own if name in encoded]
        with self.scores.open(unit, read_dictionary=as_dictionaries) as file:
            missing = [name for name in own if name not in file.file.schema_arrow.names]
            if missing:
                raise StoreError(f"{file.path}: no column {missing[0]!r}, which other units have. Score it again.")
            # A unit's numbers are held whole: they are small compared with its batches.
            values = {column.field: column.values(unit, file.rows) for column in beside}
            first = 0
            for batch in file.batches(own, batch_rows):
                for added, numbers in values.items():
                    batch = batch.append_column(added, numbers.slice(first, batch.num_rows))
                first += batch.num_rows
                yield batch


def open_store(url: str) -> ScoreStore:
    """The store at a path or fsspec URL, its list of units frozen.

    Raises StoreError when there is no run record or no finished unit.
    """
    run = existing_run(url)
    done = run.published()
    if not done:
        raise StoreError(f"{url}: no unit is finished yet. Run `score` (or resume it) before reading its scores.")
    units = tuple(unit.name for unit in run.units if unit.name in done)
    sources = {part.source.name: part.source for unit in run.units for part in unit.slices}
    with run.scores.open(units[0]) as first:
        schema = first.file.schema_arrow.remove_metadata()
    added = added_columns(run.url)
    for column in added.values():
        schema = schema.append(column.field)
    return ScoreStore(run.url, run.run, units, len(run.units), sources, schema, added)


def read_scores(store: str | os.PathLike[str], columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a store's finished units, in the order of its plan: those columns, or all, added ones included.

    One row for each row of the corpus that was scored, those without a score too, with the `reason`. The whole table is
    in memory; `open_store(...).batches(columns)` streams it. Raises StoreError where there is no store, a column is
    unknown, or an added column is not complete.
    """
    opened = open_store(os.fspath(store))
    names = list(opened.schema.names if columns is None else columns)
    if unknown := [name for name in names if name not in opened.schema.names]:
        raise StoreError(
            f"{opened.url}: no column {unknown[0]!r}; it has {', '.join(opened.schema.names)}. Choose among these."
        )
    return pa.Table.from_batches(opened.batches(names), pa.schema([opened.schema.field(name) for name in names]))
