"""A folder that holds one Parquet file for each unit, published whole; its metadata says what is recorded with it."""

import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from attention_influence.concurrency import in_threads
from attention_influence.errors import StoreError
from attention_influence.storage.atomic_files import remove, with_retries, write_atomically
from attention_influence.storage.errors import refused
from attention_influence.storage.filesystems import names_in, open_bytes, open_filesystem
from attention_influence.storage.strict_json import strict_json

_METADATA = b"attention_influence"
# The footer of a unit's file is smaller, but for thousands of failed files.
_FOOTER_BYTES = 1 << 16
# Parts of a record that are held once in memory for all units.
_EQUAL_IN_MOST = {"fingerprint", "versions"}


@dataclass(frozen=True)
class OpenUnitFile:
    """A unit's rows."""

    path: str
    file: pq.ParquetFile
    threads: bool
    """Whether Arrow's threads may read it. Not through a Python object: a thread that still holds one when the
    interpreter ends aborts the process."""

    @property
    def rows(self) -> int:
        return int(self.file.metadata.num_rows)

    def batches(self, columns: Sequence[str], batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Those columns, some rows at a time."""
        yield from self.file.iter_batches(batch_rows, columns=list(columns), use_threads=self.threads)

    def read(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Those columns of all rows, or all columns."""
        return self.file.read(None if columns is None else list(columns), use_threads=self.threads)


@dataclass(frozen=True)
class UnitFiles:
    """The files in a folder."""

    folder: str
    redo: str
    """What to do when one is damaged and was deleted."""

    def names(self) -> set[str]:
        """The units that are there."""
        return set(names_in(self.folder, ".parquet"))

    def has(self, unit: str) -> bool:
        """Whether a unit is there."""
        filesystem, path = open_filesystem(self._url(unit))
        filesystem.invalidate_cache()
        return bool(filesystem.exists(path))

    def publish(self, unit: str, rows: pa.Table, about: Mapping[str, Any]) -> None:
        """Makes a unit's rows visible, whole; `about` is recorded with them."""
        sink = io.BytesIO()
        metadata = {_METADATA: strict_json(dict(about)).encode()}
        pq.write_table(rows.replace_schema_metadata(metadata), sink, compression="zstd")
        with_retries(lambda: write_atomically(self._url(unit), sink.getvalue()), f"write unit {unit} in {self.folder}")

    @contextmanager
    def open(self, unit: str, **how: Any) -> Iterator[OpenUnitFile]:
        """A unit's rows, as pyarrow's ParquetFile reads them with those options.

        Raises StoreError naming the file that cannot be read.
        """
        filesystem, path = open_filesystem(self._url(unit))
        with self._errors_named(path), _opened(filesystem, path) as raw:
            threads = isinstance(raw, pa.OSFile)
            yield OpenUnitFile(path, pq.ParquetFile(raw, pre_buffer=threads, **how), threads)

    def records(self, units: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Unit → what was recorded with its rows. Raises StoreError naming a file that cannot be read."""

        def record(unit: str) -> dict[str, Any]:
            filesystem, path = open_filesystem(self._url(unit))
            with self._errors_named(path):
                return self._about(path, _footer(filesystem, path).metadata)

        ordered = sorted(units)
        records: dict[str, dict[str, Any]] = {}
        equal: dict[str, Any] = {}
        for unit, about in zip(ordered, in_threads(record, ordered, threads=16), strict=True):
            for name in _EQUAL_IN_MOST.intersection(about):
                about[name] = equal.setdefault(json.dumps(about[name]), about[name])
            records[unit] = about
        return records

    def about(self, unit_file: OpenUnitFile) -> dict[str, Any]:
        """What was recorded with the rows of an open file."""
        return self._about(unit_file.path, unit_file.file.schema_arrow.metadata)

    def _about(self, path: str, metadata: Mapping[bytes, bytes] | None) -> dict[str, Any]:
        try:
            return dict(json.loads((metadata or {})[_METADATA]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._damaged(path, error) from error

    def remove(self, unit: str) -> None:
        """Removes a unit's file."""
        with_retries(lambda: remove(self._url(unit)), f"remove unit {unit} in {self.folder}")

    def _url(self, unit: str) -> str:
        return f"{self.folder}/{unit}.parquet"

    @contextmanager
    def _errors_named(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise StoreError(f"{path} is gone. To have it again, {self.redo}.") from error
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(path, error) from error

    def _damaged(self, path: str, error: Exception) -> StoreError:
        return refused(f"read {path}", error) or StoreError(
            f"{path}: this unit cannot be read ({error}). Delete it and {self.redo}: only what it holds is done again."
        )


def _opened(filesystem: fsspec.AbstractFileSystem, path: str) -> Any:
    """A unit's file: open on a disk, else fetched whole, with one request."""
    if isinstance(filesystem, LocalFileSystem):
        return open_bytes(filesystem, path, sequential=False)
    return pa.BufferReader(filesystem.cat_file(path))


def _footer(filesystem: fsspec.AbstractFileSystem, path: str) -> pq.FileMetaData:
    """The footer of a unit's file, with one request."""
    if isinstance(filesystem, LocalFileSystem):
        with open_bytes(filesystem, path, sequential=False) as raw:
            return pq.read_metadata(raw)
    tail = filesystem.cat_file(path, start=-_FOOTER_BYTES)
    size = int.from_bytes(tail[-8:-4], "little") + 8
    if size > len(tail):
        tail = filesystem.cat_file(path, start=-size)
    return pq.read_metadata(pa.BufferReader(tail))
