"""Small score stores to report on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from attention_influence.corpus import Source
from attention_influence.store.schema import SCORE_SCHEMA
from plan_files import write_plan


def scored(row: int, influence: float | None, domain: str = "web", **columns: Any) -> dict[str, Any]:
    """A row of 100 tokens with base loss 2."""
    values = {"source": f"{domain}.jsonl", "row": row, "id": f"{domain}-{row}", "domain": domain, "n_chars": 400}
    values |= {"n_tokens": 100, "n_scored": 100, "n_windows": 1, "loss_base": 2.0, "influence": influence}
    values |= {"loss_ref": None if influence is None else 2.0 * (1 + influence)}
    return values | {"copy_share": 0.125, "repeat_share": 0.0625, "compression": 0.5, **columns}


def unscored(row: int, reason: str, domain: str = "web") -> dict[str, Any]:
    """A row that could not be scored."""
    return {"source": f"{domain}.jsonl", "row": row, "domain": domain, "reason": reason}


def write_store(
    store: Path,
    *units: list[dict[str, Any]],
    sources: Sequence[Source] = (),
    complete: bool = True,
    **run: Any,
) -> Path:
    """A store with one score file for each unit, and `run` recorded."""
    (store / "scores").mkdir(parents=True, exist_ok=True)
    (store / "run.json").write_text(json.dumps({"fingerprint": {"window": 2048}} | run))
    for number, rows in enumerate(units):
        about = {"rows": len(rows), "tokens": sum(row.get("n_tokens") or 0 for row in rows), "failed_files": {}}
        about |= {"seconds": 2.0, "finished": 1e9 + 2 * number, "device": "cpu", "threads": 2}
        metadata = {"attention_influence": json.dumps(about)}
        table = pa.Table.from_pylist(rows, schema=SCORE_SCHEMA).replace_schema_metadata(metadata)
        pq.write_table(table, store / "scores" / f"unit-{number}.parquet")
    write_plan(store, [f"unit-{number}" for number in range(len(units))], sources, complete)
    return store
