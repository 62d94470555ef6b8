"""Work on the next item while this one is used."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_END = object()


def ahead(items: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The same items, up to `depth` of them made in advance by a thread; its error is raised where it was met."""
    made: queue.Queue[object] = queue.Queue(depth)
    abandoned = threading.Event()

    def put(thing: object) -> bool:
        while not abandoned.is_set():
            try:
                made.put(thing, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def make() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(_END)
        except BaseException as error:  # handed to the consumer, who raises it
            put(_Raised(error))

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    try:
        while (thing := made.get()) is not _END:
            if isinstance(thing, _Raised):
                raise thing.error
            yield thing  # type: ignore[misc]
    finally:
        abandoned.set()
        thread.join()


class _Raised:
    def __init__(self, error: BaseException) -> None:
        self.error = error
