"""Files of a given size that together hold a stream of rows: Parquet, or lines."""

import gzip
from collections.abc import Sequence
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from attention_influence.corpus.kinds import Compression
from attention_influence.selection.output.staging import StagedFolder

_ROW_GROUP_BYTES = 64 << 20
_ENDINGS: dict[Compression | None, str] = {None: ".jsonl", "gzip": ".jsonl.gz", "zstd": ".jsonl.zst"}


class _Shards:
    """Files in a folder under a prefix, named 00000 and on."""

    def __init__(self, folder: StagedFolder, prefix: str, shard_bytes: int) -> None:
        self.files: list[str] = []
        self._folder = folder
        self._prefix = prefix
        self._shard_bytes = shard_bytes

    def _open(self, ending: str) -> BinaryIO:
        """The next file."""
        self.files.append(f"{self._prefix}/{len(self.files):05d}{ending}")
        return self._folder.open(self.files[-1])


class ParquetShards(_Shards):
    """Parquet files of one schema; a new one once the last has `shard_bytes` on disk."""

    def __init__(self, folder: StagedFolder, prefix: str, shard_bytes: int, schema: pa.Schema) -> None:
        super().__init__(folder, prefix, shard_bytes)
        self._schema = schema
        self._held: list[pa.Table] = []
        self._held_bytes = 0
        self._file: tuple[BinaryIO, pq.ParquetWriter] | None = None

    def write(self, table: pa.Table) -> None:
        """Adds rows; small tables are gathered into row groups of a useful size."""
        self._held.append(table.replace_schema_metadata(self._schema.metadata))
        self._held_bytes += table.nbytes
        if self._held_bytes >= min(_ROW_GROUP_BYTES, self._shard_bytes):
            self._write_row_group()

    def close(self) -> None:
        if self._held:
            self._write_row_group()
        self._finish_file()

    def _write_row_group(self) -> None:
        if self._file is None:
            sink = self._open(".parquet")
            self._file = sink, pq.ParquetWriter(sink, self._schema, compression="zstd")
        sink, writer = self._file
        writer.write_table(pa.concat_tables(self._held))
        self._held, self._held_bytes = [], 0
        if sink.tell() >= self._shard_bytes:
            self._finish_file()

    def _finish_file(self) -> None:
        if self._file is not None:
            sink, writer = self._file
            writer.close()
            sink.close()
            self._file = None


class LineShards(_Shards):
    """Files of lines, plain or compressed; a new one once the last holds `shard_bytes` of lines."""

    def __init__(self, folder: StagedFolder, prefix: str, shard_bytes: int, compression: Compression | None) -> None:
        super().__init__(folder, prefix, shard_bytes)
        self._compression = compression
        self._written = 0
        self._file: tuple[BinaryIO, BinaryIO] | None = None
        """The file, and what writes lines into it."""

    def write(self, lines: Sequence[bytes]) -> None:
        """Adds lines, given without their ends."""
        for line in lines:
            if self._file is None:
                sink = self._open(_ENDINGS[self._compression])
                self._file = sink, self._compressor(sink)
            self._written += self._file[1].write(line + b"\n")
            if self._written >= self._shard_bytes:
                self.close()

    def close(self) -> None:
        if self._file is not None:
            sink, compressor = self._file
            compressor.close()
            sink.close()  # for plain lines a second time, which does no harm
            self._file, self._written = None, 0

    def _compressor(self, sink: BinaryIO) -> BinaryIO:
        if self._compression == "gzip":
            # No time and no name in the header: equal selections give equal bytes.
            return cast(BinaryIO, gzip.GzipFile("", "wb", 6, sink, mtime=0))
        if self._compression == "zstd":
            return cast(BinaryIO, zstandard.ZstdCompressor().stream_writer(sink, closefd=False))
        return sink
