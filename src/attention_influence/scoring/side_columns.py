"""Columns that were added to a score store after scoring: one more number for each row, one object for each unit.

columns/<name>/column.json     what the numbers are, and how further units get theirs
columns/<name>/<unit>.parquet  the unit's numbers in the order of its scores; the object is the mark that they are there

An object belongs to scores/<unit>.parquet row by row: both are written from the same unit, which the metadata names.
"""

import io
import json
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.corpus.filesystems import open_bytes, open_filesystem
from attention_influence.corpus.whole_files import patiently, remove, write_whole
from attention_influence.errors import StoreError, UsageError
from attention_influence.scoring.schema import SCORE_SCHEMA

_DEFINITION = "column.json"
_METADATA = b"attention_influence"


@dataclass(frozen=True)
class SideColumn:
    """A side column of a store, and the units that had it when it was opened."""

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

    def publish(self, unit: str, values: pa.Array, about: Mapping[str, Any]) -> None:
        """Makes a unit's numbers visible, whole; `about` goes into the object's metadata."""
        metadata = {_METADATA: json.dumps({"unit": unit, **about}).encode()}
        sink = io.BytesIO()
        pq.write_table(pa.table([values], pa.schema([self.field], metadata)), sink, compression="zstd")
        patiently(lambda: write_whole(self._object(unit), sink.getvalue()), f"write unit {unit} of {self.folder}")

    def values(self, unit: str, rows: int) -> pa.Array:
        """The unit's numbers, one for each of the `rows` of its scores. Raises StoreError naming what does not fit."""
        table, about = self._read(unit)
        if about.get("unit") != unit or table.num_rows != rows or table.schema.names != [self.name]:
            raise StoreError(
                f"{self._object(unit)} does not belong to the {rows:,} rows of scores/{unit}.parquet. Delete it and "
                f"run `annotate {self.store} {self.name}`: only this unit is done again."
            )
        return table.column(0).combine_chunks()

    def records(self) -> dict[str, dict[str, Any]]:
        """Unit → what was recorded with its numbers."""
        units = sorted(self.units)
        with ThreadPoolExecutor(16) as pool:
            return dict(zip(units, pool.map(lambda unit: self._read(unit)[1], units), strict=True))

    def missing(self, units: Iterable[str]) -> list[str]:
        """Those of the units that do not have the column yet."""
        return [unit for unit in units if unit not in self.units]

    def _read(self, unit: str) -> tuple[pa.Table, dict[str, Any]]:
        filesystem, path = open_filesystem(self._object(unit))
        with open_bytes(filesystem, path, sequential=False) as raw:
            try:
                table = pq.read_table(raw)
                return table, json.loads(table.schema.metadata[_METADATA])
            except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
                raise StoreError(
                    f"{path}: this unit of a side column cannot be read ({error}). Delete it and run "
                    f"`annotate {self.store} {self.name}`: only this unit is done again."
                ) from error

    def _object(self, unit: str) -> str:
        return f"{self.folder}/{unit}.parquet"


def side_field(name: str) -> pa.Field:
    """The type of every side column."""
    return pa.field(name, pa.float64())


def check_name(name: str, reserved: Iterable[str] = ()) -> None:
    """Raises UsageError when a side column cannot have the name: it must be a word, and mean nothing else."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise UsageError(f"{name!r} cannot name a column: use letters, digits and underscores, a letter first.")
    if name in {*SCORE_SCHEMA.names, *reserved}:
        raise UsageError(f"{name!r} is a column or ranking of every score store. Choose another name.")


def define(store: str, name: str, definition: Mapping[str, Any]) -> SideColumn:
    """The new side column of that name, without units yet."""
    content = (json.dumps(dict(definition), indent=1) + "\n").encode()
    url = f"{store}/columns/{name}/{_DEFINITION}"
    patiently(lambda: write_whole(url, content), f"write {url}")
    return SideColumn(store, name, definition, frozenset())


def drop(column: SideColumn) -> None:
    """Removes a side column: its definition last, so that none of its numbers can pass for those of another."""
    filesystem, path = open_filesystem(column.folder)
    filesystem.invalidate_cache()
    files = sorted(filesystem.ls(path, detail=False), key=lambda file: file.endswith(f"/{_DEFINITION}"))
    for file in files:
        url = filesystem.unstrip_protocol(file)
        patiently(lambda url=url: remove(url), f"remove {url}")  # type: ignore[misc]


def side_columns(store: str) -> dict[str, SideColumn]:
    """The side columns of a store, by name. Raises StoreError when a definition is damaged."""
    filesystem, root = open_filesystem(f"{store}/columns")
    filesystem.invalidate_cache()
    files: dict[str, set[str]] = {}
    for file in filesystem.find(root) if filesystem.isdir(root) else []:
        folder, _, name = file.rpartition("/")
        files.setdefault(folder.rpartition("/")[2], set()).add(name)
    return {
        name: SideColumn(
            store,
            name,
            _definition(filesystem, f"{root}/{name}/{_DEFINITION}"),
            frozenset(file.removesuffix(".parquet") for file in of_column if _is_unit(file)),
        )
        for name, of_column in sorted(files.items())
        if _DEFINITION in of_column
    }


def _is_unit(file: str) -> bool:
    return file.endswith(".parquet") and not file.startswith(".")


def _definition(filesystem: fsspec.AbstractFileSystem, path: str) -> dict[str, Any]:
    try:
        return dict(json.loads(filesystem.cat_file(path)))
    except (ValueError, TypeError, OSError) as error:
        raise StoreError(f"{path} cannot be read ({error}). Delete its folder and run `annotate` again.") from error
