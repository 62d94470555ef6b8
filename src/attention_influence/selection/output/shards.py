"""Files of a given size that together hold a stream of rows: Parquet, or lines."""

import gzip
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from attention_influence.corpus.kinds import Compression
from attention_influence.selection.output.staging import StagedFolder

_ROW_GROUP_BYTES = 64 << 20
_ENDINGS: dict[Compression | None, str] = {None: ".jsonl", "gzip": ".jsonl.gz", "zstd": ".jsonl.zst"}


class ParquetShards:
    """Parquet files of one schema, named 00000.parquet and on; a new one once the last has `shard_bytes` on disk."""

    def __init__(self, folder: StagedFolder, prefix: str, schema: pa.Schema, shard_bytes: int) -> None:
        self.files: list[str] = []
        self._folder = folder
        self._prefix = prefix
        self._schema = schema
        self._shard_bytes = shard_bytes
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._sink: BinaryIO | None = None
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Adds rows; small tables are gathered into row groups of a useful size."""
        self._held.append(table)
        self._held_bytes += table.nbytes
        if self._held_bytes >= min(_ROW_GROUP_BYTES, self._shard_bytes):
            self._write_row_group()

    def close(self) -> None:
        if self._held:
            self._write_row_group()
        self._finish_file()

    def _write_row_group(self) -> None:
        if self._sink is None:
            self.files.append(f"{self._prefix}/{len(self.files):05d}.parquet")
            self._sink = self._folder.open(self.files[-1])
            self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        assert self._writer is not None
        rows = pa.concat_tables([table.replace_schema_metadata(self._schema.metadata) for table in self._held])
        self._writer.write_table(rows)
        self._held, self._held_bytes = [], 0
        if self._sink.tell() >= self._shard_bytes:
            self._finish_file()

    def _finish_file(self) -> None:
        if self._sink is not None:
            assert self._writer is not None
            self._writer.close()
            self._sink.close()
            self._sink = self._writer = None


class LineShards:
    """Files of lines, plain or compressed; a new one once the last holds `shard_bytes` of lines."""

    def __init__(self, folder: StagedFolder, prefix: str, compression: Compression | None, shard_bytes: int) -> None:
        self.files: list[str] = []
        self._folder = folder
        self._prefix = prefix
        self._compression = compression
        self._shard_bytes = shard_bytes
        self._written = 0
        self._sink: BinaryIO | None = None
        self._lines: Any = None

    def write(self, lines: Sequence[bytes]) -> None:
        """Adds lines, given without their ends."""
        for line in lines:
            if self._sink is None:
                self.files.append(f"{self._prefix}/{len(self.files):05d}{_ENDINGS[self._compression]}")
                self._sink = self._folder.open(self.files[-1])
                self._lines = self._compressor(self._sink)
            self._written += self._lines.write(line + b"\n")
            if self._written >= self._shard_bytes:
                self.close()

    def close(self) -> None:
        if self._sink is not None:
            if self._lines is not self._sink:
                self._lines.close()
            self._sink.close()
            self._sink = self._lines = None
            self._written = 0

    def _compressor(self, sink: BinaryIO) -> BinaryIO:
        if self._compression == "gzip":
            # No time and no name in the header: equal selections give equal bytes.
            return cast(BinaryIO, gzip.GzipFile("", "wb", 6, sink, mtime=0))
        if self._compression == "zstd":
            return cast(BinaryIO, zstandard.ZstdCompressor().stream_writer(sink, closefd=False))
        return sink
