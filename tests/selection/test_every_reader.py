"""A selection is one table, whatever the mix of its inputs: read back by what people read datasets with."""

import gzip
import json
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from datasets import load_dataset
from store_files import scored_store

from attention_influence.selection import select

ROWS = 6


def texts(number: int) -> list[str]:
    return [f"file {number} row {row} {row / 10}" for row in range(ROWS)]


def frame(number: int, rows: int = ROWS) -> pd.DataFrame:
    """As pandas writes it, its index described in the schema."""
    return pd.DataFrame({"text": texts(number)[:rows], "n": range(rows)})


def table(number: int, *fields: pa.Field, order: int = 1, **columns: object) -> pa.Table:
    found = pa.table({"text": texts(number), **columns})
    for field in fields:
        place = found.schema.get_field_index(field.name)
        found = found.set_column(place, field, found.column(place).cast(field.type))
    return found.select(found.column_names[::order])


def lines(number: int, **more: object) -> bytes:
    rows = [{"text": text, "n": row} | more for row, text in enumerate(texts(number))]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


N = list(range(ROWS))
MIXES: dict[str, list[object]] = {
    "rows in pandas metadata": [frame(0), frame(1, 5), frame(2, 4)],
    "kinds of strings": [
        table(number, pa.field("text", type_), n=N)
        for number, type_ in enumerate(
            [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()), pa.binary()]
        )
    ],
    "nullable or not, order": [
        table(0, n=N),
        table(1, pa.field("text", pa.string(), False), pa.field("n", pa.int64(), False), n=N),
        table(2, n=N, order=-1),
        table(3),
        table(4, n=pa.nulls(ROWS)),
    ],
    "widths of numbers": [
        table(number, pa.field("n", type_), n=N)
        for number, type_ in enumerate([pa.int8(), pa.uint32(), pa.int64(), pa.float32(), pa.int16()])
    ],
    "nested": [
        table(0, m=[{"a": 1, "tags": ["x"]}] * ROWS),
        table(1, m=pa.array([{"b": "y", "a": 1}] * ROWS, pa.struct([("b", pa.large_string()), ("a", pa.int8())]))),
        table(2, m=pa.array([{"tags": ["z"]}] * ROWS, pa.struct([("tags", pa.list_(pa.string_view()))]))),
        table(3, m=pa.array([{"tags": []}] * ROWS, pa.struct([("tags", pa.list_(pa.null()))]))),
    ],
    "times": [
        table(number, t=pa.array([number] * ROWS, pa.timestamp(unit)))
        for number, unit in enumerate(["ms", "us", "ms", "us"])
    ],
    "categories of many values": [table(k, c=pa.array([f"{k} {n}" for n in N]).dictionary_encode()) for k in range(60)],
    "Parquet and lines": [table(0, n=N), lines(1), gzip.compress(lines(2, more={"k": [1]})), lines(3, more={})],
    "lines": [lines(0), gzip.compress(lines(1)), zstandard.compress(lines(2)), lines(3, x=1.5)],
    "an empty object": [lines(0, meta={}, list=[{}]), lines(1, meta={}, list=[])],
}


def write_corpus(folder: Path, mix: list[object]) -> list[str]:
    """Every text that was written."""
    folder.mkdir()
    for number, content in enumerate(mix):
        path = folder / f"{number:03d}"
        if isinstance(content, pd.DataFrame):
            content.to_parquet(f"{path}.parquet")
        elif isinstance(content, pa.Table):
            pq.write_table(content, f"{path}.parquet")
        else:
            assert isinstance(content, bytes)
            ending = {b"\x1f": ".gz", b"\x28": ".zst"}.get(content[:1], "")
            Path(f"{path}.jsonl{ending}").write_bytes(content)
    counts = [len(content) if isinstance(content, pd.DataFrame) else ROWS for content in mix]
    return sorted(text for number, count in enumerate(counts) for text in texts(number)[:count])


def by_reader(out: Path, files: tuple[str, ...]) -> dict[str, list[str]]:
    """Reader → the texts that it finds in the folder."""
    where = f"{out}/data/*"
    if files[0].endswith(".parquet"):
        by_name = f"read_parquet('{where}')", pl.scan_parquet(where), [pd.read_parquet(out / name) for name in files]
    else:
        by_name = (
            f"read_json('{where}')",
            pl.scan_ndjson(where, infer_schema_length=None),
            [pd.read_json(out / name, lines=True) for name in files],
        )
    called, scanned, read = by_name
    rows = load_dataset(str(out), split="train", cache_dir=str(out.parent / "cache"))
    assert {"influence", "influence_rank"} <= {*rows.column_names}
    return {
        "datasets": rows["text"][:],
        "DuckDB": [text for (text,) in duckdb.sql(f"SELECT text FROM {called} WHERE influence >= 0").fetchall()],
        "polars": scanned.collect()["text"].to_list(),
        "pandas": pd.concat(read)["text"].to_list(),
    }


@pytest.mark.parametrize("format", [None, "parquet", "jsonl"])
@pytest.mark.parametrize("name", MIXES)
def test_every_reader_finds_every_row(tmp_path: Path, name: str, format: str | None) -> None:
    written = write_corpus(tmp_path / "web", MIXES[name])
    store = scored_store(tmp_path / "store", tmp_path / "web")
    selection = select(store, out=tmp_path / "out", top=1.0, format=format, shard_bytes=2000)  # type: ignore[arg-type]
    assert {file.partition("/")[0] for file in selection.files} == {"data"}
    assert len({file.partition(".")[2].partition(".")[0] for file in selection.files}) == 1
    for reader, found in by_reader(tmp_path / "out", selection.files).items():
        assert sorted(found) == written, reader
