"""Hand-made score stores of real corpus files, cut into small units, for tests of added columns."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from attention_influence.corpus import Columns, Source, list_sources, read_rows
from attention_influence.corpus.slices import Slice
from attention_influence.store.plan import Unit, make_plan
from attention_influence.store.run import RunStore, create
from attention_influence.store.schema import SCORE_SCHEMA

COLUMNS = Columns()


def rows_of(parts: Sequence[Slice], columns: Columns = COLUMNS) -> list[dict[str, object]]:
    """The rows of a store, without losses; influence is a function of the text."""
    return [
        {
            "source": part.source.name,
            "row": row.row,
            "id": row.id,
            "domain": row.domain,
            "n_chars": None if row.text is None else len(row.text),
            "n_tokens": None if row.text is None else len(row.text.split()),
            "influence": None if row.text is None else len(row.text) / 100,
            "reason": row.reason,
        }
        for part in parts
        for rows in read_rows(part.source, columns, part.start, part.end)
        for row in rows
    ]


def publish(store: RunStore, units: Sequence[Unit]) -> None:
    columns = Columns.from_json(store.run["columns"])
    for unit in units:
        table = pa.Table.from_pylist(rows_of(unit.slices, columns), schema=SCORE_SCHEMA)
        about = {"rows": len(table), "tokens": 0, "reasons": {}, "failed_files": {}, "duplicate_ids": 0}
        store.publish(unit, table, about | {"seconds": 1.0, "finished": 1.0})


def annotated_store(
    folder: Path, corpus: Path, unit_tokens: int = 20, done: int | None = None, columns: Columns = COLUMNS
) -> RunStore:
    """A store of the corpus of which the first `done` units are finished (default: all)."""
    sources: tuple[Source, ...] = list_sources([str(corpus)]).sources
    record = {"fingerprint": {"weights": "ab"}, "columns": columns.to_json()}
    store = create(str(folder), record, make_plan(sources, unit_tokens))
    publish(store, store.units[:done])
    return store


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    """JSON lines; a row that is bytes stands as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path
