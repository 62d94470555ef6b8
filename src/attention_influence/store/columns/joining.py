"""Numbers for the rows of a store out of other files: joined on disk, in memory that does not grow with either."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa

from attention_influence.progress import progress
from attention_influence.storage.disk_tables import disk_tables, fill
from attention_influence.store.columns.corpus_values import MISSING, NO_TEXT, UnitNumbers, unit_keys
from attention_influence.store.columns.number_files import NUMBERS, NumberFiles, read_numbers
from attention_influence.store.plan import Unit

NO_ID, AMBIGUOUS = "no_id", "ambiguous"
"""Why a row of the store has no number: it has no id to join by; the files give its id or key different numbers."""

_DOCUMENTS = pa.schema(
    [
        ("unit", pa.int64()),
        ("nth", pa.int64()),
        ("name", pa.string()),
        ("place", pa.int64()),
        ("has_text", pa.bool_()),
    ]
)


@contextmanager
def joined(store: str, units: Sequence[Unit], files: NumberFiles) -> Iterator[Callable[[Unit], UnitNumbers]]:
    """The numbers of each of the units, which are scored; the join lies on disk until the block ends.

    Documents that share an id share its number. Raises what `read_numbers` does, StoreError when a unit cannot be read.
    """
    numbered = {unit.name: number for number, unit in enumerate(units)}
    with disk_tables() as database:
        with progress("reading", len(files.sources), "files") as advance:
            for source in files.sources:
                fill(database, "given", NUMBERS, read_numbers(files, source))
                advance(1)
        fill(database, "documents", _DOCUMENTS, (_rows(store, unit, numbered[unit.name], files.on) for unit in units))
        database.execute(
            f"""CREATE TABLE numbers AS SELECT name, place, min(number) AS number,
            CASE WHEN min(number) <> max(number) THEN '{AMBIGUOUS}' WHEN count(number) = 0 THEN max(why) END AS why
            FROM given GROUP BY name, place"""
        )
        database.execute(
            f"""CREATE TABLE result AS SELECT unit, nth, number,
            CASE WHEN NOT has_text THEN '{NO_TEXT}' WHEN documents.name IS NULL THEN '{NO_ID}'
            WHEN numbers.name IS NULL THEN '{MISSING}' ELSE numbers.why END AS why
            FROM documents LEFT JOIN numbers
            ON documents.name = numbers.name AND documents.place = numbers.place ORDER BY unit, nth"""
        )

        def of_unit(unit: Unit) -> UnitNumbers:
            asked = (
                "SELECT CASE WHEN why IS NULL THEN number END AS number, why FROM result WHERE unit = ? ORDER BY nth"
            )
            numbers = database.sql(asked, params=[numbered[unit.name]]).to_arrow_table()
            reasons = Counter(why for why in numbers.column("why").to_pylist() if why is not None)
            return UnitNumbers(numbers.column("number").combine_chunks(), reasons)

        yield of_unit


def _rows(store: str, unit: Unit, number: int, on: str) -> pa.Table:
    keys = unit_keys(store, unit, ["source", "row", "id", "n_chars"])
    rows = len(keys)
    name, place = (keys["id"], pa.array([0] * rows, pa.int64())) if on == "id" else (keys["source"], keys["row"])
    return pa.table(
        [
            pa.array([number] * rows, pa.int64()),
            pa.array(range(rows), pa.int64()),
            name,
            place,
            keys["n_chars"].is_valid(),
        ],
        schema=_DOCUMENTS,
    )
