"""Small corpus files on disk, for tests."""

import gzip
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from attention_influence.corpus import Columns, Row, Source, list_sources, read_rows

TEXT = Columns()
ENDINGS = {None: "", "gzip": ".gz", "zstd": ".zst"}


def encode(data: bytes, compression: str | None, parts: int = 1) -> bytes:
    """The data compressed as `parts` members or frames."""
    if compression is None:
        return data
    one = gzip.compress if compression == "gzip" else zstandard.ZstdCompressor().compress
    bounds = [len(data) * i // parts for i in range(parts + 1)]
    return b"".join(one(data[a:b]) for a, b in pairwise(bounds))


def lines_file(folder: Path, data: bytes, compression: str | None = None, parts: int = 1) -> Source:
    path = folder / f"part.jsonl{ENDINGS[compression]}"
    path.write_bytes(encode(data, compression, parts))
    return list_sources([str(path)]).sources[0]


def parquet_file(path: Path, columns: dict[str, Any], row_group_size: int = 4) -> Source:
    pq.write_table(pa.table(columns), path, row_group_size=row_group_size)
    return list_sources([str(path)]).sources[0]


def json_lines(records: Sequence[object]) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def rows(source: Source, columns: Columns = TEXT, start: int = 0, end: int | None = None) -> list[Row]:
    return [row for batch in read_rows(source, columns, start, end) for row in batch]


def read_into(seen: list[Row], source: Source) -> None:
    """Appends rows as they come, so that those before an error are there after it."""
    for batch in read_rows(source, TEXT):
        seen += batch
