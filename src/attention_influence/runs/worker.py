"""A worker takes a free unit, scores it and publishes it, until none is left."""

import random
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Any

import torch

from attention_influence.errors import StoreError, TooManyBadRows
from attention_influence.runs.canary import BrokenDevice, check_canaries
from attention_influence.runs.open_units import OpenUnits
from attention_influence.scoring.score_unit import Progress, Reading, UnitScores, UnitTexts, score_unit
from attention_influence.scoring.scorer import Scorer
from attention_influence.storage.atomic_files import with_retries
from attention_influence.storage.errors import is_transient
from attention_influence.store.failures import Failure, record_failure
from attention_influence.store.leases import EXPIRY, Lease, Leases, worker_name
from attention_influence.store.plan import Unit
from attention_influence.store.run import RunStore

# Waits before another attempt when storage or network failed (seconds).
_BACKOFF = (1.0, 4.0, 16.0)
# Rows before the share of bad ones is judged.
_JUDGED_AFTER = 1000
# Between looks at what other workers hold: short at first, then half as often as leases are renewed.
_POLL_SECONDS, _LONGEST_POLL_SECONDS = 2.0, EXPIRY / 2


@dataclass
class Worker:
    """Scores units of one store with one scorer; any number of them may work on a store."""

    store: RunStore
    scorer: Scorer
    reading: Reading
    max_bad_rate: float = 1.0
    progress: Progress = lambda rows, bad, tokens: None
    name: str = field(default_factory=worker_name)
    _rows: int = 0
    _bad: int = 0
    _upcoming: Unit | None = None
    _begun: UnitTexts | None = None
    """Of the unit that was upcoming: its first texts are read while the one before is scored and published."""

    def work(self, mine: Iterable[Unit]) -> None:
        """Publishes the units of `mine` that are not done, then steals what nobody else works on.

        Returns when every unit is published, quarantined, or held by a worker that has shown to be alive.
        """
        leases = Leases(self.store.url, self.name)
        units = OpenUnits(self.store, leases, mine)
        seen: dict[str, Lease] = {}
        waiting_since, poll = time.monotonic(), _POLL_SECONDS
        while True:
            worked = False
            while unit := units.next():
                self._upcoming = units.upcoming()
                try:
                    is_mine = self._attempt(unit, leases)
                except BaseException:  # Ctrl-C may come between any two steps of taking and giving back
                    leases.give_up(unit.name)
                    raise
                if is_mine:
                    worked = True
                else:
                    units.missed(unit)
            if worked:
                seen, waiting_since, poll = {}, time.monotonic(), _POLL_SECONDS
            elif units.held:
                time.sleep(units.pause(poll * random.uniform(0.5, 1)))
                poll = min(2 * poll, _LONGEST_POLL_SECONDS)
            if units.refresh():
                continue
            watched = units.watched()
            # A lease that changes is alive, whatever clocks say.
            if all(lease is not None and seen.setdefault(name, lease) != lease for name, lease in watched.items()):
                return
            if time.monotonic() - waiting_since > 2 * EXPIRY:
                return
            units.add(name for name, lease in watched.items() if lease is None or not lease.is_live())

    def _attempt(self, unit: Unit, leases: Leases) -> bool:
        """Whether the unit was this worker's to do, whatever came of it."""
        where = f"{self.store.url}, unit {unit.name}"
        if not with_retries(lambda: leases.take(unit.name), f"lease {where}"):
            return False
        with leases.kept(unit.name):
            if with_retries(lambda: self.store.is_published(unit), f"read {where}"):
                return False  # by its last holder, a moment ago
            # Before the unit, and none of its failures: a device that computes wrong would quarantine all of them.
            self._check_device()
            try:
                began = time.monotonic()
                scores = self._score(unit)
                about = {**scores.about(), **self._circumstances(time.monotonic() - began)}
            except (TooManyBadRows, StoreError):
                raise
            except Exception as error:  # whatever it is, it is this unit's; the others continue
                failure = Failure(unit.name, self.name, f"{type(error).__name__}: {error}", time.time())
                with_retries(lambda: record_failure(self.store.url, failure), f"write the failure of {where} ({error})")
            else:
                self.store.publish(unit, scores.table, about)
        return True

    def _check_device(self) -> None:
        """Raises BrokenDevice when fixed texts do not get the losses that the run began with."""
        try:
            check_canaries(self.scorer, self.store.run["canaries"], self.store.run["fingerprint"]["precision"])
        except RuntimeError as error:  # CUDA's errors stay for as long as the process lives
            raise BrokenDevice(
                f"{self.scorer.model.device} fails on a fixed text ({error}). Start again, on another device if this "
                "one keeps failing"
            ) from error

    def _score(self, unit: Unit) -> UnitScores:
        """The unit's scores, tried again when storage fails."""
        waits = iter(_BACKOFF)
        begun, self._begun = self._begun, None
        if self._upcoming:
            self._begun = UnitTexts(self.scorer, self._upcoming, self.reading)
        while True:
            counted = [0, 0, 0]
            texts = begun if begun and begun.unit.name == unit.name else UnitTexts(self.scorer, unit, self.reading)
            begun = None

            def count(*more: int, counted: list[int] = counted) -> None:
                counted[:] = map(add, counted, more)
                self._count(*more)

            try:
                return score_unit(self.scorer, texts, count)
            except Exception as error:
                self._count(*(-number for number in counted))  # the unit is done again, now or later
                if is_transient(error) and (pause := next(waits, None)):
                    time.sleep(pause)
                else:
                    raise

    def _count(self, rows: int, bad: int, tokens: int) -> None:
        self._rows += rows
        self._bad += bad
        self.progress(rows, bad, tokens)
        if self._rows >= _JUDGED_AFTER and self._bad > self.max_bad_rate * self._rows:
            raise TooManyBadRows(
                f"{self._bad:,} of {self._rows:,} rows could not be scored, more than --max-bad-rate "
                f"{self.max_bad_rate}. With --max-bad-rate 1 they are kept, and `attention-influence status` lists the "
                "reasons"
            )

    def _circumstances(self, seconds: float) -> Mapping[str, Any]:
        return {
            "worker": self.name,
            "seconds": round(seconds, 3),
            "finished": time.time(),
            "pack_tokens": self.scorer.pack_tokens,
            "device": str(self.scorer.model.device),
            "threads": torch.get_num_threads(),
            "fingerprint": self.store.run["fingerprint"],
            "versions": self.store.run["versions"],
        }
