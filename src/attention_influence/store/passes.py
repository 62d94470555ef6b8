"""Passes over a whole score store, several units at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

from attention_influence.store.reader import ScoreStore

Item = TypeVar("Item")
Result = TypeVar("Result")

# Large enough that Python's own time vanishes, small enough for a processor's cache.
_BATCH_ROWS = 1 << 17
# Columns of few different strings, which lie as dictionaries on disk: decoding them would take most of a pass.
_ENCODED = ("source", "domain", "flag", "reason")
_MOST_THREADS = 8


def over_units(
    store: ScoreStore, columns: Sequence[str], work: Callable[[Iterator[pa.RecordBatch]], Result]
) -> Iterator[Result]:
    """What `work` makes of each unit's batches, in the order of the units; `source`, `domain`, `flag` and `reason` come
    as dictionaries.
    """
    names = list(dict.fromkeys(columns))
    store.check_added_columns(names)
    return in_threads(lambda unit: work(store.unit_batches(unit, names, _BATCH_ROWS, _ENCODED)), store.units)


def in_threads(do: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """What `do` makes of each item, in their order, by as many threads as there are cores; few results wait."""
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(do, item))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
