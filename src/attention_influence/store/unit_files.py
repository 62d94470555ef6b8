"""A folder that holds one object for each unit, published whole; `compact` puts many of them into few files.

<unit>.parquet          the unit's rows; its metadata says what is recorded with them
packs/<name>.parquet    the rows of many units, each unit's in row groups of its own; its metadata lists the units

A pack is written before the objects that it replaces are removed, so at any moment a unit's rows are in one of the two
or, the same, in both.
"""

import functools
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from attention_influence.corpus.atomic_files import remove, with_retries, write_atomically
from attention_influence.corpus.filesystems import open_bytes, open_filesystem
from attention_influence.errors import StoreError
from attention_influence.storage_errors import refused
from attention_influence.strict_json import strict_json

_METADATA = b"attention_influence"
_UNITS = b"attention_influence_units"
# Of a pack: it is made, and its footer kept, in memory.
_PACK_BYTES = 64 << 20
_ROW_GROUP_ROWS = 1 << 20
# The footer of a unit's object is smaller, but for thousands of failed files.
_FOOTER_BYTES = 1 << 16
_ASKED_AT_ONCE = 4096
# Parts of a record that are held once in memory for all units.
_EQUAL_IN_MOST = {"fingerprint", "versions"}


@dataclass(frozen=True)
class Packed:
    """Where a unit lies in a pack, and what is recorded with it."""

    path: str
    footer: pq.FileMetaData
    """Of the pack: with thousands of row groups it takes longer to parse than a unit to read."""
    row_groups: tuple[int, ...]
    about: Mapping[str, Any]


@dataclass(frozen=True)
class UnitFile:
    """An open file with a unit's rows."""

    path: str
    file: pq.ParquetFile
    row_groups: tuple[int, ...]
    packed: Packed | None
    threads: bool
    """Whether Arrow's threads may read it. Not through a Python object: a thread that still holds one when the
    interpreter ends aborts the process."""

    @property
    def rows(self) -> int:
        return sum(self.file.metadata.row_group(group).num_rows for group in self.row_groups)

    def batches(self, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Those columns, some rows at a time."""
        if self.row_groups:
            groups = list(self.row_groups)
            yield from self.file.iter_batches(batch_rows, groups, list(columns), use_threads=self.threads)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Those columns of all rows, or all columns."""
        names = list(columns or self.file.schema_arrow.names)
        if not self.row_groups:
            return self.file.schema_arrow.empty_table().select(names)
        return self.file.read_row_groups(list(self.row_groups), columns=names, use_threads=self.threads)


class UnitObjects:
    """The objects in a folder; `redo` says what to do when one is damaged and was deleted."""

    def __init__(self, folder: str, redo: str) -> None:
        self.folder = folder
        self._redo = redo
        self._packs: dict[str, Packed] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return UnitObjects, (self.folder, self._redo)

    def names(self) -> set[str]:
        """The units that are there."""
        own = {name for name, _ in _listed(self.folder, sizes=False)}
        return own | self._packed(afresh=True).keys()

    def has(self, unit: str) -> bool:
        """Whether a unit is there: its own object, or in a pack that was there when packs were listed last."""
        filesystem, path = open_filesystem(self._object(unit))
        filesystem.invalidate_cache()
        return bool(filesystem.exists(path)) or unit in self._packed()

    def publish(self, unit: str, rows: pa.Table, about: Mapping[str, Any]) -> None:
        """Makes a unit's rows visible, whole; `about` is recorded with them."""
        sink = io.BytesIO()
        metadata = {_METADATA: strict_json(dict(about)).encode()}
        pq.write_table(rows.replace_schema_metadata(metadata), sink, compression="zstd")
        with_retries(
            lambda: write_atomically(self._object(unit), sink.getvalue()), f"write unit {unit} in {self.folder}"
        )

    @contextmanager
    def open(self, unit: str, **how: Any) -> Iterator[UnitFile]:
        """A unit's rows, as pyarrow's ParquetFile reads them with those options.

        Raises StoreError naming the file that cannot be read.
        """
        filesystem, path = open_filesystem(self._object(unit))
        packed = (self._packs or {}).get(unit)
        try:
            raw = (
                _own_bytes(filesystem, path)
                if packed is None
                else open_bytes(filesystem, packed.path, sequential=False)
            )
        except FileNotFoundError as error:  # put into a pack, maybe since this last looked
            packed = self._packed(afresh=True).get(unit)
            if packed is None:
                raise StoreError(f"{path} is gone. To have it again, {self._redo}.") from error
            raw = open_bytes(filesystem, packed.path, sequential=False)
        path = path if packed is None else packed.path
        threads = isinstance(raw, pa.OSFile)
        with raw:
            try:
                footer = None if packed is None else packed.footer
                file = pq.ParquetFile(raw, metadata=footer, pre_buffer=threads, **how)
                groups = tuple(range(file.metadata.num_row_groups)) if packed is None else packed.row_groups
                yield UnitFile(path, file, groups, packed, threads)
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(path, error) from error

    def records(self, units: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Unit → what was recorded with its rows. Raises StoreError naming a file that cannot be read."""
        packed = self._packed()

        def record(unit: str) -> dict[str, Any]:
            if unit in packed:
                return dict(packed[unit].about)
            filesystem, path = open_filesystem(self._object(unit))
            try:
                return self._about(path, _footer(filesystem, path).metadata)
            except FileNotFoundError:  # put into a pack meanwhile
                with self.open(unit) as found:
                    return self.about(found)
            except (pa.ArrowException, OSError) as error:
                raise self._damaged(path, error) from error

        ordered = sorted(units)
        records: dict[str, dict[str, Any]] = {}
        equal: dict[str, Any] = {}
        with ThreadPoolExecutor(16) as pool:
            for first in range(0, len(ordered), _ASKED_AT_ONCE):
                some = ordered[first : first + _ASKED_AT_ONCE]
                for unit, about in zip(some, pool.map(record, some), strict=True):
                    for name in _EQUAL_IN_MOST.intersection(about):
                        about[name] = equal.setdefault(json.dumps(about[name]), about[name])
                    records[unit] = about
        return records

    def about(self, found: UnitFile) -> dict[str, Any]:
        """What was recorded with the rows of an open file."""
        if found.packed is not None:
            return dict(found.packed.about)
        return self._about(found.path, found.file.schema_arrow.metadata)

    def _about(self, path: str, metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
        try:
            return dict(json.loads((metadata or {})[_METADATA]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(path, error) from error

    def remove(self, unit: str) -> None:
        """Removes a unit's own object; in a pack it stays, and nobody asks for it."""
        with_retries(lambda: remove(self._object(unit)), f"remove unit {unit} in {self.folder}")

    def compact(self, units: Iterable[str]) -> tuple[int, int]:
        """Puts those of the units that have objects of their own into packs; how many, and into how many packs."""
        own, packed = self._own(), self._packed(afresh=True)
        for unit in own.keys() & packed.keys():  # a run that was stopped before it removed them
            self.remove(unit)
        left = own.keys() - packed.keys()
        groups = list(self._groups([unit for unit in units if unit in left], own))
        for group in groups:
            name = f"{group[0]}-{len(group)}-{hashlib.sha256(' '.join(group).encode()).hexdigest()[:8]}"
            content = self._pack(group)
            url = f"{self.folder}/packs/{name}.parquet"
            with_retries(lambda url=url, content=content: write_atomically(url, content), f"write {url}")  # type: ignore[misc]
            for unit in group:
                self.remove(unit)
        return sum(map(len, groups)), len(groups)

    def _groups(self, units: Sequence[str], sizes: Mapping[str, int]) -> Iterator[list[str]]:
        """Units that share a pack; one alone stays as it is."""
        group: list[str] = []
        room = _PACK_BYTES
        for unit in units:
            if group and sizes[unit] > room:
                if len(group) > 1:
                    yield group
                group, room = [], _PACK_BYTES
            group.append(unit)
            room -= sizes[unit]
        if len(group) > 1:
            yield group

    def _pack(self, units: Sequence[str]) -> bytes:
        abouts = self.records(units)
        tables = []
        for unit in units:
            with self.open(unit) as found:
                tables.append(found.read())
        listed, first = [], 0
        for unit, table in zip(units, tables, strict=True):
            groups = -(-len(table) // _ROW_GROUP_ROWS)
            listed.append({"unit": unit, "row_groups": [first, first + groups], "about": abouts[unit]})
            first += groups
        sink = io.BytesIO()
        # The list is in the footer alone: as part of Arrow's schema it would be decoded for each unit that is read.
        with pq.ParquetWriter(sink, tables[0].schema.remove_metadata(), compression="zstd") as writer:
            for table in tables:
                if len(table):
                    writer.write_table(table.replace_schema_metadata(None), row_group_size=_ROW_GROUP_ROWS)
            writer.add_key_value_metadata({_UNITS: json.dumps(listed).encode()})
        return sink.getvalue()

    def _own(self) -> dict[str, int]:
        """Unit → size of its own object."""
        return dict(_listed(self.folder))

    def _packed(self, afresh: bool = False) -> dict[str, Packed]:
        """Unit → where it lies, of those that lie in packs; as it was when this last looked, or `afresh`."""
        if self._packs is not None and not afresh:
            return self._packs
        found: dict[str, Packed] = {}
        for name, size in _listed(f"{self.folder}/packs"):
            try:
                found |= _units_of(f"{self.folder}/packs/{name}.parquet", size)
            except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
                raise self._damaged(f"{self.folder}/packs/{name}.parquet", error) from error
        self._packs = found
        return found

    def _object(self, unit: str) -> str:
        return f"{self.folder}/{unit}.parquet"

    def _damaged(self, path: str, error: Exception) -> StoreError:
        what = "these units" if path.split("/")[-2] == "packs" else "this unit"
        return refused(f"read {path}", error) or StoreError(
            f"{path}: {what} cannot be read ({error}). Delete it and {self._redo}: only what it holds is done again."
        )


def _own_bytes(filesystem: fsspec.AbstractFileSystem, path: str) -> Any:
    """A unit's own object: open on a disk, else fetched whole, with one request."""
    if isinstance(filesystem, LocalFileSystem):
        return open_bytes(filesystem, path, sequential=False)
    return pa.BufferReader(filesystem.cat_file(path))


def _footer(filesystem: fsspec.AbstractFileSystem, path: str) -> pq.FileMetaData:
    """The footer of a unit's own object, with one request."""
    if isinstance(filesystem, LocalFileSystem):
        with open_bytes(filesystem, path, sequential=False) as raw:
            return pq.read_metadata(raw)
    tail = filesystem.cat_file(path, start=-_FOOTER_BYTES)
    size = int.from_bytes(tail[-8:-4], "little") + 8
    if size > len(tail):
        tail = filesystem.cat_file(path, start=-size)
    return pq.read_metadata(pa.BufferReader(tail))


def _listed(folder: str, sizes: bool = True) -> Iterator[tuple[str, int]]:
    """Name without ending, and size, of the whole Parquet files in a folder; on a disk each size takes time."""
    filesystem, path = open_filesystem(folder)
    filesystem.invalidate_cache()
    try:
        found = filesystem.ls(path, detail=sizes)
    except FileNotFoundError:
        return
    for info in found:
        name = (info["name"] if sizes else info).rpartition("/")[2]
        if name.endswith(".parquet") and not name.startswith("."):
            yield name.removesuffix(".parquet"), int((sizes and info["size"]) or 0)


@functools.lru_cache(maxsize=4096)
def _units_of(url: str, size: int) -> Mapping[str, Packed]:
    """The units of a pack, from its footer; what has a pack's name and size is that pack."""
    filesystem, path = open_filesystem(url)
    with open_bytes(filesystem, path, sequential=False) as raw:
        footer = pq.read_metadata(raw)
    return {
        unit["unit"]: Packed(path, footer, tuple(range(*unit["row_groups"])), unit["about"])
        for unit in json.loads(footer.metadata[_UNITS])
    }
