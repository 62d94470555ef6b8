"""Passes over a whole score store, several units at a time."""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa

from attention_influence.scoring.score_store import ScoreStore

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

    Units are worked on in threads, as many as there are cores; what waits to be taken is no more than that.
    """
    names = list(dict.fromkeys(columns))
    store.check_side_columns(names)
    threads = min(os.cpu_count() or 1, _MOST_THREADS)

    def of_unit(unit: str) -> Result:
        return work(store.unit_batches(unit, names, _BATCH_ROWS, _ENCODED))

    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for unit in store.units:
                waiting.append(pool.submit(of_unit, unit))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
