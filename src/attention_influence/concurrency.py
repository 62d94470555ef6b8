"""Work done by several at once, or in advance, its results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, repeat
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_THREADS = 8
_END = object()


def in_order(start: Callable[[Item], Callable[[], Result]], items: Iterable[Item], at_once: int) -> Iterator[Result]:
    """What calls give, in the order of their items, of which at most `at_once` are at work while a result is used.

    `start` begins a call and gives what waits for its result.
    """
    waiting: deque[Callable[[], Result]] = deque()
    for item in items:
        waiting.append(start(item))
        if len(waiting) > at_once:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def in_threads(do: Callable[[Item], Result], items: Iterable[Item], threads: int | None = None) -> Iterator[Result]:
    """What `do` makes of each item, in their order; by default by as many threads as there are cores."""
    threads = threads or min(os.cpu_count() or 1, _MOST_THREADS)
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield from in_order(lambda item: pool.submit(do, item).result, items, threads)
        finally:
            pool.shutdown(cancel_futures=True)


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, the next ones made by a thread while one is used; errors come in the place of their items."""
    source = iter(items)
    for item in in_threads(lambda _: next(source, _END), repeat(None), threads=1):
        if item is _END:
            return
        yield item  # type: ignore[misc]


class Begun(Generic[Item]):
    """Items as `ahead` gives them, the first of which a thread makes already; an error comes in its item's place."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = iter(items)
        pool = ThreadPoolExecutor(1)
        self._first = pool.submit(next, self._items, _END)
        pool.shutdown(wait=False)

    def __iter__(self) -> Iterator[Item]:
        first = self._first.result()
        return iter(()) if first is _END else ahead(chain([first], self._items))  # type: ignore[list-item]
