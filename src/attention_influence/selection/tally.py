"""One pass over the store: how many documents can be ranked, where their values lie, and why the others cannot."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.errors import StoreError
from attention_influence.scoring.score_store import ScoreStore
from attention_influence.selection.groups import Groups, Numbers
from attention_influence.selection.histogram import Histogram
from attention_influence.selection.passes import over_units
from attention_influence.selection.ranking import Ranking


class Tally:
    """The groups of a store, the histogram of their ranked documents, and the counts of the others."""

    def __init__(self, by_length: bool) -> None:
        self.groups = Groups(by_length)
        self.histogram = Histogram()
        self.unranked: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Domain → reason → documents that have no finite score."""
        self._lock = threading.Lock()

    def add(self, batch: pa.RecordBatch, ranking: Ranking) -> None:
        """Counts the rows of a batch; threads may do so at the same time."""
        values = ranking.values(batch)
        ranked = ranking.ranked(batch, values)
        tokens = tokens_of(batch)
        groups = self.groups.of(batch.column("domain"), tokens)
        buckets = ranking.buckets(values)
        reasons = _reasons(batch, values, ~ranked)
        with self._lock:
            self.histogram.add(groups[ranked], buckets[ranked], tokens[ranked])
            for domain, reason, count in reasons:
                self.unranked[domain][reason] += count


def take_tally(store: ScoreStore, ranking: Ranking, by_length: bool) -> Tally:
    """The tally of a store. Raises StoreError, with the reasons there are, when no document at all can be ranked."""
    tally = Tally(by_length)

    def count(batches: Iterator[pa.RecordBatch]) -> None:
        for batch in batches:
            tally.add(batch, ranking)

    columns = ["domain", "n_tokens", "influence", "flag", "reason", *ranking.columns]
    for _ in over_units(store, columns, count):
        pass
    if tally.histogram.is_empty:
        reasons = sum(tally.unranked.values(), Counter[str]())
        listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "it has no rows"
        raise StoreError(
            f"{store.url}: no document has a finite score ({listed}). Look at the reasons, then score again."
        )
    return tally


def tokens_of(batch: pa.RecordBatch) -> Numbers:
    """Each row's tokens, 0 where they are not known."""
    return np.asarray(batch.column("n_tokens").fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _reasons(batch: pa.RecordBatch, values: pa.Array, rows: npt.NDArray[np.bool_]) -> list[tuple[str, str, int]]:
    """(domain, why, how many) of those rows, which are not ranked."""
    mask = pa.array(rows)
    reason, flag, domain = (batch.column(name).filter(mask).cast(pa.string()) for name in ("reason", "flag", "domain"))
    known = pc.or_(batch.column("influence").filter(mask).is_valid(), values.filter(mask).is_valid())
    why = pc.coalesce(reason, flag, pc.if_else(known, pa.scalar("not_finite"), pa.scalar("null")))
    counts = pa.table({"domain": domain, "why": why}).group_by(["domain", "why"]).aggregate([([], "count_all")])
    return [(row["domain"], row["why"], row["count_all"]) for row in counts.to_pylist()]
