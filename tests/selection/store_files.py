"""Small score stores on disk, for tests."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.corpus import Columns, Source, list_sources, read_rows
from attention_influence.store.schema import SCORE_SCHEMA
from plan_files import write_plan


def score_row(source: str, row: int, influence: float | None, **fields: Any) -> dict[str, Any]:
    return {"source": source, "row": row, "domain": "web", "influence": influence, "n_tokens": 10} | fields


def write_store(
    folder: Path,
    units: Sequence[Sequence[dict[str, Any]]],
    sources: Sequence[Source] = (),
    complete: bool = True,
    **run: Any,
) -> Path:
    (folder / "scores").mkdir(parents=True, exist_ok=True)
    for number, rows in enumerate(units):
        table = pa.Table.from_pylist(list(rows), schema=SCORE_SCHEMA)
        pq.write_table(table, folder / "scores" / f"{number:03d}.parquet")
    write_plan(folder, [f"{number:03d}" for number in range(len(units))], sources, complete)
    record = {"fingerprint": {"model": "tiny"}}
    (folder / "run.json").write_text(json.dumps(record | run))
    return folder


def scored_store(folder: Path, corpus: Path, **run: Any) -> Path:
    """A store of the corpus in which a row's influence is the number that ends its text."""
    listing = list_sources([str(corpus)])
    units = [
        [
            score_row(source.name, row.row, float((row.text or "").split()[-1]))
            for batch in read_rows(source, Columns())
            for row in batch
        ]
        for source in listing.sources
    ]
    return write_store(folder, units, listing.sources, **run)
