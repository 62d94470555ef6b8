"""A worker's life: take a unit that nobody has, score it, publish it, until none is left."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from attention_influence.corpus.filesystems import is_passing
from attention_influence.errors import StoreError, TooManyBadRows
from attention_influence.scoring.canary import check_canaries
from attention_influence.scoring.claims import EXPIRY, Claims, worker_name
from attention_influence.scoring.failures import Failure, parked, read_failures, record_failure
from attention_influence.scoring.plan import Unit
from attention_influence.scoring.run_store import RunStore
from attention_influence.scoring.scorer import Scorer
from attention_influence.scoring.worker import Progress, Reading, UnitScores, score_unit

# Waits before another attempt when storage or network failed (seconds).
_BACKOFF = (1.0, 4.0, 16.0)
# Rows before the share of bad ones is judged.
_JUDGED_AFTER = 1000
_POLL_SECONDS = 2.0
# Tokens a pack below which too little memory is an error.
_SMALLEST_PACK = 256


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

    def work(self, mine: Iterable[Unit]) -> None:
        """Publishes the units of `mine` that are not done, then steals what nobody else is at work on.

        Returns when every unit is published, parked, or held by a worker that has shown to be alive.
        """
        claims = Claims(self.store.url, self.name)
        first = list(mine)
        names = {unit.name for unit in first}
        order = first + [unit for unit in self.store.units if unit.name not in names]
        waiting_since = time.time()
        while True:
            done = self.store.published() | set(parked(read_failures(self.store.url)))
            left = [unit for unit in order if unit.name not in done]
            taken = [unit for unit in left if self._attempt(unit, claims)]
            if taken:
                waiting_since = time.time()
                continue
            standing = [claims.read(unit.name) for unit in left]
            if all(claim is not None and claim.renewed > waiting_since for claim in standing):
                return
            if time.time() - waiting_since > 2 * EXPIRY:
                return
            time.sleep(_POLL_SECONDS)

    def _attempt(self, unit: Unit, claims: Claims) -> bool:
        """Whether the unit was this worker's to do, whatever came of it."""
        if self.store.is_published(unit) or not claims.take(unit.name):
            return False
        with claims.kept(unit.name):
            try:
                began = time.monotonic()
                check_canaries(self.scorer, self.store.run["canaries"], self.store.run["fingerprint"]["precision"])
                scores = self._score(unit)
                about = {**scores.about(), **self._circumstances(time.monotonic() - began)}
            except (TooManyBadRows, StoreError):
                raise
            except Exception as error:  # whatever it is, it is this unit's; the others go on
                failure = Failure(unit.name, self.name, f"{type(error).__name__}: {error}", time.time())
                record_failure(self.store.url, failure)
            else:
                self.store.publish(unit, scores.table, about)
        return True

    def _score(self, unit: Unit) -> UnitScores:
        """The unit's scores, tried again when storage fails, and with half the packing budget when memory does."""
        waits = iter(_BACKOFF)
        while True:
            try:
                return score_unit(self.scorer, unit, self.reading, self._count)
            except Exception as error:
                if is_passing(error) and (pause := next(waits, None)):
                    time.sleep(pause)
                elif _is_out_of_memory(error) and self.scorer.pack_tokens > _SMALLEST_PACK:
                    self.scorer.pack_tokens //= 2
                    torch.cuda.empty_cache()
                else:
                    raise

    def _count(self, rows: int, bad: int, tokens: int) -> None:
        self._rows += rows
        self._bad += bad
        self.progress(rows, bad, tokens)
        if self._rows >= _JUDGED_AFTER and self._bad > self.max_bad_rate * self._rows:
            raise TooManyBadRows(
                f"{self._bad:,} of {self._rows:,} rows could not be scored, more than --max-bad-rate "
                f"{self.max_bad_rate}; `attention-influence status {self.store.url}` lists the reasons"
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


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
