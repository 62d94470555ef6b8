"""Columns that were added to a score store after scoring: one more number for each row, one object for each unit.

columns/<name>/column.json     what the numbers are, and how further units get theirs
columns/<name>/<unit>.parquet  the unit's numbers in the order of its scores; the object is the mark that they are there

They belong to the unit's scores row by row: both are written from the same unit, which the metadata names.
"""

import functools
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa

from attention_influence.errors import StoreError, UsageError
from attention_influence.storage.atomic_files import remove, with_retries, write_json
from attention_influence.storage.errors import refused
from attention_influence.storage.filesystems import open_filesystem, url_of
from attention_influence.store.schema import SCORE_SCHEMA, STEP_COLUMNS
from attention_influence.store.unit_files import UnitFiles

_DEFINITION = "column.json"


@dataclass(frozen=True)
class AddedColumn:
    """An added column of a store, and the units that had it when it was opened."""

    store: str
    name: str
    definition: Mapping[str, Any]
    """Where its numbers come from."""
    units: frozenset[str]

    @property
    def folder(self) -> str:
        return f"{self.store}/columns/{self.name}"

    @property
    def field(self) -> pa.Field:
        return side_field(self.name)

    @functools.cached_property
    def files(self) -> UnitFiles:
        """Its numbers by unit."""
        return _unit_files(self.store, self.name)

    def publish(self, unit: str, values: pa.Array, about: Mapping[str, Any]) -> None:
        """Makes a unit's numbers visible, whole; `about` is recorded with them."""
        self.files.publish(unit, pa.table([values], pa.schema([self.field])), {"unit": unit, **about})

    def values(self, unit: str, rows: int) -> pa.Array:
        """The unit's numbers, one for each of the `rows` of its scores. Raises StoreError naming what does not fit."""
        with self.files.open(unit) as file:
            table, path, about = file.read(), file.path, self.files.about(file)
        if about.get("unit") != unit or table.num_rows != rows or table.schema.names != [self.name]:
            raise StoreError(
                f"{path} does not belong to the {rows:,} rows of unit {unit}. Delete it and run "
                f"`annotate {self.store} {self.name}`: only what it holds is done again."
            )
        return table.column(0).combine_chunks()

    def records(self) -> dict[str, dict[str, Any]]:
        """Unit → what was recorded with its numbers."""
        return self.files.records(self.units)

    def missing(self, units: Iterable[str]) -> list[str]:
        """Those of the units that do not have the column yet."""
        return [unit for unit in units if unit not in self.units]


def side_field(name: str) -> pa.Field:
    """The type of every added column."""
    return pa.field(name, pa.float64())


def check_name(name: str, reserved: Iterable[str] = ()) -> None:
    """Raises UsageError when an added column cannot have the name: it must be a word, and mean nothing else."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UsageError(f"{name!r} cannot name a column: use letters, digits and underscores, a letter first.")
    if name in {*SCORE_SCHEMA.names, *STEP_COLUMNS, *reserved}:
        raise UsageError(f"{name!r} is a column or ranking of score stores. Choose another name.")


def define(store: str, name: str, definition: Mapping[str, Any]) -> AddedColumn:
    """The new added column of that name, without units yet."""
    write_json(f"{store}/columns/{name}/{_DEFINITION}", definition)
    return AddedColumn(store, name, definition, frozenset())


def drop(column: AddedColumn) -> None:
    """Removes an added column: its definition last, so that none of its numbers can pass for those of another."""
    filesystem, path = open_filesystem(column.folder)
    filesystem.invalidate_cache()
    files = sorted(filesystem.find(path), key=lambda file: file.endswith(f"/{_DEFINITION}"))
    for file in files:
        url = url_of(filesystem, file)
        with_retries(lambda url=url: remove(url), f"remove {url}")  # type: ignore[misc]


def added_columns(store: str) -> dict[str, AddedColumn]:
    """The added columns of a store, by name. Raises StoreError when a definition is damaged."""
    filesystem, root = open_filesystem(f"{store}/columns")
    filesystem.invalidate_cache()
    names = (
        [folder.rpartition("/")[2] for folder in filesystem.ls(root, detail=False)] if filesystem.isdir(root) else []
    )
    return {
        name: AddedColumn(
            store,
            name,
            _definition(filesystem, f"{root}/{name}/{_DEFINITION}"),
            frozenset(_unit_files(store, name).names()),
        )
        for name in sorted(names)
        if filesystem.exists(f"{root}/{name}/{_DEFINITION}")
    }


def _unit_files(store: str, name: str) -> UnitFiles:
    return UnitFiles(f"{store}/columns/{name}", f"run `annotate {store} {name}`")


def _definition(filesystem: fsspec.AbstractFileSystem, path: str) -> dict[str, Any]:
    try:
        return dict(json.loads(filesystem.cat_file(path)))
    except (ValueError, TypeError, OSError) as error:
        raise refused(f"read {path}", error) or StoreError(
            f"{path} cannot be read ({error}). Delete its folder and run `annotate` again."
        ) from error
