"""One row of a score store, by its key or by its id."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.corpus.formats import format_of
from attention_influence.errors import UsageError, did_you_mean
from attention_influence.store.reader import ScoreStore
from attention_influence.store.run import open_run
from attention_influence.store.schema import SCORE_SCHEMA, STEP_COLUMNS

Key = tuple[str, int]
"""(source, row) of a document."""

_MOST_NAMED = 5


def find_row(store: ScoreStore, key: Key) -> dict[str, Any]:
    """Column → value of the row with that key, added columns left out.

    Only units that may hold it are read. Raises UsageError naming what does not exist: the source, or the row in it.
    """
    source, row = key
    if source not in store.sources:
        some = ", ".join(sorted(store.sources)[:_MOST_NAMED])
        hint = did_you_mean(source, store.sources, f"of its {len(store.sources):,} there are {some}.")
        raise UsageError(f"{store.url} has no source {source!r}; {hint} A key is SOURCE:ROW")
    run = open_run(store.url)
    assert run is not None
    planned = {unit.name for unit in run.units for part in unit.slices if part.source.name == source and part.has(row)}
    done = [unit for unit in store.units if unit in planned]
    nearest: list[int] = []
    own = [name for name in (*SCORE_SCHEMA.names, *STEP_COLUMNS) if name in store.schema.names]
    for unit in done:
        for batch in store.unit_batches(unit, own):
            of_source = batch.filter(pc.equal(batch["source"], source))
            matching = of_source.filter(pc.equal(of_source["row"], row))
            if matching.num_rows:
                return dict(matching.to_pylist()[0])
            nearest += of_source["row"].to_pylist()
    if not done and planned:
        raise UsageError(f"{source}:{row} is in a unit of {store.url} that is not scored yet. Resume `score` first")
    nearest = sorted(sorted(nearest, key=lambda other: abs(other - row))[:2])
    known = f"; the nearest are {' and '.join(map(str, nearest))}" if nearest else ""
    raise UsageError(f"{store.url} has no row {row} of {source}{known}. ROW is {format_of(store.sources[source]).KEY}")


def keys_with_id(store: ScoreStore, identity: str) -> list[Key]:
    """The keys of all rows with that id, of which every unit is searched. Raises UsageError if there is none."""

    def found_in(batches: Iterator[pa.RecordBatch]) -> tuple[list[Key], list[str]]:
        """Of a unit: the keys, and some ids that there are."""
        of_unit: list[Key] = []
        some: list[str] = []
        for batch in batches:
            matching = batch.filter(pc.equal(batch["id"], identity))
            of_unit += zip(matching["source"].to_pylist(), matching["row"].to_pylist(), strict=True)
            some += [] if some else batch["id"].drop_null().slice(0, _MOST_NAMED).to_pylist()
        return of_unit, some

    keys: list[Key] = []
    known: list[str] = []
    for of_unit, some in store.over_units(["source", "row", "id"], found_in):
        keys += of_unit
        known += some[: _MOST_NAMED - len(known)]
    if keys:
        return keys
    if not known:
        raise UsageError(f"{store.url} holds no ids: it was scored without --id-column. Name a document by its key")
    raise UsageError(
        f"{store.url} has no document with the id {identity!r}; ids are such as {', '.join(map(repr, known))}. List "
        f'them: python -c "from attention_influence import read_scores; print(*read_scores({store.url!r}, '
        "['id'])['id'].to_pylist(), sep='\\n')\""
    )
