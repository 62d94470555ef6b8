"""One forward pass at a time on a model."""

from threading import RLock
from types import TracebackType


class PassLock:
    """A reentrant lock that pickles and copies as a new one, because it guards what is copied along with it.

    A pass changes its network for as long as it lasts: hooks at the fork, the attention that is called, the LM head's
    input. So passes of several threads follow one another; what needs no pass (tokenizing) need not wait.
    """

    def __init__(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type["PassLock"], tuple[()]]:
        return PassLock, ()
