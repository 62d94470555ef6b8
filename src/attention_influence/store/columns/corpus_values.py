"""Numbers for the rows of a unit that is scored, out of its corpus files: joined by key, in the order of its scores."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.corpus.formats import format_of, read_rows
from attention_influence.corpus.rows import Columns
from attention_influence.corpus.slices import Slice
from attention_influence.corpus.values import values_of
from attention_influence.errors import CorpusError
from attention_influence.store.plan import Unit, must_be_unchanged
from attention_influence.store.run import scores_in

Rows = npt.NDArray[np.int64]
NumbersOf = Callable[[Slice, Rows], Iterator[tuple[Sequence[int], Sequence[float | str]]]]
"""From a slice and the ascending keys of some of its rows: some of those keys at a time, and for each a number, or the
reason why there is none."""

NO_TEXT, MISSING, NOT_A_NUMBER = "no_text", "missing", "not_a_number"


@dataclass
class UnitNumbers:
    """One number for each row of a unit's scores, null where there is none."""

    values: pa.Array
    reasons: Counter[str] = field(default_factory=Counter)
    """Why rows have none."""


def annotate_unit(store: str, unit: Unit, numbers_of: NumbersOf) -> UnitNumbers:
    """The numbers of the unit's rows. A row without a text has none.

    Raises CorpusError when a file changed since it was planned, or its rows are not those that were scored, StoreError
    when the unit's scores cannot be read.
    """
    keys = unit_keys(store, unit, ["source", "row", "n_chars"])
    row = keys["row"].to_numpy()
    values = np.zeros(len(row))
    reasons = np.full(len(row), NO_TEXT, dtype=object)
    for part in unit.slices:
        in_part = pc.and_(pc.equal(keys["source"], part.source.name), pc.is_valid(keys["n_chars"])).to_numpy()
        places = np.flatnonzero(in_part & part.has(row))
        if not len(places):
            continue
        must_be_unchanged(part)
        wanted, joined = row[places], 0
        for rows, numbers in numbers_of(part, wanted):
            at = np.searchsorted(wanted, rows)
            for place, number in zip(places[at].tolist(), numbers, strict=True):
                if isinstance(number, str):
                    reasons[place] = number
                else:
                    values[place], reasons[place] = number, None
            joined += len(rows)
        must_be_unchanged(part)
        if joined != len(wanted):
            raise CorpusError(
                f"{part.source.url}: {len(wanted) - joined:,} rows that were scored are not in it. Score it again: "
                "--rescore-changed"
            )
    null = reasons != None  # noqa: E711  (element by element)
    return UnitNumbers(pa.array(values, pa.float64(), mask=null), Counter(reasons[null].tolist()))


def column_numbers(column: str) -> NumbersOf:
    """What a column (or JSON key) of the corpus holds: integers, floats and decimals; null for anything else."""

    def numbers(part: Slice, rows: Rows) -> Iterator[tuple[Sequence[int], Sequence[float | str]]]:
        for keys, values in format_of(part.source).values_at(part.source, rows, column, "number"):
            yield keys, [number_in(value) for value in values]

    return numbers


def text_numbers(columns: Columns, numbers_of_texts: Callable[[list[str]], Sequence[float]]) -> NumbersOf:
    """What a function makes of the texts, some at a time."""

    def numbers(part: Slice, rows: Rows) -> Iterator[tuple[Sequence[int], Sequence[float | str]]]:
        for batch in read_rows(part.source, columns, part.start, part.end):
            at = np.searchsorted(rows, [row.row for row in batch])
            asked = rows[np.minimum(at, len(rows) - 1)] == [row.row for row in batch]
            texts = {row.row: row.text for row, is_asked in zip(batch, asked, strict=True) if is_asked and row.text}
            if texts:
                yield list(texts), numbers_of_texts(list(texts.values()))

    return numbers


def numbers_in(column: pa.ChunkedArray) -> list[float | str]:
    """`number_in` of each value of a Parquet column."""
    return [number_in(value) for value in values_of(column.combine_chunks(), "number")]


def number_in(value: Any) -> float | str:
    """What is stored of a value, or the reason why it is no number."""
    if value is None:
        return MISSING
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return NOT_A_NUMBER
    try:
        number = float(value)
    except OverflowError:
        return NOT_A_NUMBER
    return number if math.isfinite(number) else NOT_A_NUMBER


def unit_keys(store: str, unit: Unit, columns: Sequence[str]) -> pa.Table:
    """Those columns of a unit's scores. Raises StoreError when they cannot be read."""
    with scores_in(store).open(unit.name) as file:
        return file.read(columns).combine_chunks()
