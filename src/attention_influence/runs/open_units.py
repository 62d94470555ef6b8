"""Which units are still to do, as one worker sees it: few listings, whatever the number of units and workers."""

import random
import time
from collections import deque
from collections.abc import Iterable, Sequence

from attention_influence.storage.atomic_files import with_retries
from attention_influence.store.failures import quarantined_units
from attention_influence.store.leases import Lease, Leases
from attention_influence.store.plan import Unit
from attention_influence.store.run import RunStore

# Of a worker's time, that listings may take.
_LISTING_SHARE = 0.05
# Names that an object store lists with one request.
_LISTED_AT_ONCE = 1000
# Leases that a worker without work reads at a time: a thousand workers that read each other's would read a million.
_WATCHED = 32


class OpenUnits:
    """Units to attempt: the worker's own in their order, then those that nobody holds, in random order.

    The store is listed when a unit turned out to be another worker's, seldom enough that listing costs little. Random
    order keeps workers apart that steal at the same time.
    """

    def __init__(self, store: RunStore, leases: Leases, mine: Iterable[Unit]) -> None:
        self._store = store
        self._leases = leases
        self._own = {unit.name: unit for unit in mine}
        self._waiting: deque[Unit] = deque()
        self._others: list[Unit] = []
        """Free units of others, in no order yet: a long list is shuffled when it is needed."""
        self._is_contended = False
        self._missed = False
        self._last = 0.0
        self._cost = 0.0
        self._watched: list[str] = []
        self._left: Sequence[Unit] = store.units
        """What was not published when it was looked at last."""
        self.held: dict[str, Unit] = {}
        """What was still to do, and had a lease, when the store was listed last."""
        self.refresh()

    def refresh(self) -> bool:
        """Lists the store again; whether any unit is free."""
        began = time.monotonic()
        free, leased = with_retries(self._listed, f"read {self._store.url}")
        self.held = {name: free.pop(name) for name in leased if name in free}
        own = [free.pop(name) for name in self._own if name in free]
        if self._is_contended:
            random.shuffle(own)
        self._waiting, self._others = deque(own), list(free.values())
        self._missed = False
        self._last = time.monotonic()
        self._cost = self._last - began
        return bool(self._waiting or self._others)

    def next(self) -> Unit | None:
        """The next unit to attempt; None when all were handed out since the store was listed last."""
        if self._missed and time.monotonic() - self._last > self.pause(0):
            self.refresh()
        if not self._waiting:
            random.shuffle(self._others)
            self._waiting, self._others = deque(self._others), []
        return self._waiting.popleft() if self._waiting else None

    def upcoming(self) -> Unit | None:
        """What `next` gives unless the store is listed before; None where that is not known yet."""
        return self._waiting[0] if self._waiting else None

    def missed(self, unit: Unit) -> None:
        """The unit was another worker's."""
        self._missed = True
        if not self._is_contended and unit.name in self._own:
            self._is_contended = True  # others walk in the same order: no longer one behind the other
            own = list(self._waiting)
            random.shuffle(own)
            self._waiting = deque(own)

    def pause(self, seconds: float) -> float:
        """At least so long, and so long that listing costs a small share of the time."""
        return max(seconds, self._cost / _LISTING_SHARE)

    def add(self, names: Iterable[str]) -> None:
        """Hands these out, too: their leases are dead."""
        self._waiting.extend(self.held[name] for name in names)

    def watched(self) -> dict[str, Lease | None]:
        """The leases on what is held, or on some of it if that is much; on the same ones for as long as they are held.

        Who works last sees all that is left, so nothing stays undone because nobody watched it.
        """
        self._watched = [name for name in self._watched if name in self.held]
        others = sorted(self.held.keys() - set(self._watched))
        self._watched += random.sample(others, min(len(others), _WATCHED - len(self._watched)))
        standing = with_retries(lambda: self._leases.standing(self._watched), f"read {self._store.url}")
        return {name: standing.get(name) for name in self._watched}

    def _listed(self) -> tuple[dict[str, Unit], set[str]]:
        held = self._leases.names()  # before the units: a lease ends after its unit was published
        self._left = self._unpublished(held)
        quarantined = quarantined_units(self._store.url)
        return {unit.name: unit for unit in self._left if unit.name not in quarantined}, held

    def _unpublished(self, held: set[str]) -> list[Unit]:
        """Those of `_left` that still are; one whose lease stands is taken to be.

        Near a run's end many workers without work look often, and nearly all that is left is held: then each of the
        others is asked for, which takes fewer requests than to list what is done.
        """
        unknown = [unit for unit in self._left if unit.name not in held]
        if len(unknown) * _LISTED_AT_ONCE < len(self._store.units) - len(self._left):
            done = {unit.name for unit in unknown if self._store.is_published(unit)}
        else:
            done = self._store.published()
        return [unit for unit in self._left if unit.name not in done]
