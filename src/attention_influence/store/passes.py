"""Passes over a whole score store, several units at a time."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import pyarrow as pa

from attention_influence.concurrency import in_threads
from attention_influence.store.reader import ScoreStore

Result = TypeVar("Result")

# Large enough that Python's own time vanishes, small enough for a processor's cache.
_BATCH_ROWS = 1 << 17
# Columns of few different strings, which lie as dictionaries on disk: decoding them would take most of a pass.
_ENCODED = ("source", "domain", "flag", "reason")


def over_units(
    store: ScoreStore, columns: Sequence[str], work: Callable[[Iterator[pa.RecordBatch]], Result]
) -> Iterator[Result]:
    """What `work` makes of each unit's batches, in the order of the units; `source`, `domain`, `flag` and `reason` come
    as dictionaries.
    """
    names = list(dict.fromkeys(columns))
    store.check_added_columns(names)
    return in_threads(lambda unit: work(store.unit_batches(unit, names, _BATCH_ROWS, _ENCODED)), store.units)
