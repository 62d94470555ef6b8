"""First pass over the store: how many documents can be ranked, where their values lie, and why the others cannot."""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.errors import StoreError
from attention_influence.selection.cutting.histogram import Histogram, Integers
from attention_influence.selection.ranking.ranking import Ranking
from attention_influence.store.reader import ScoreStore
from attention_influence.store.row_hashes import coded


@dataclass(frozen=True)
class Counts:
    """The domains of a store, the histogram of their ranked documents, and the counts of the others."""

    domains: tuple[str, ...]
    """Names, sorted; a domain's place is its number in the histogram and everywhere else."""
    histogram: Histogram
    unranked: Mapping[str, Mapping[str, int]]
    """Domain → reason → documents that have no finite score."""


def count(store: ScoreStore, ranking: Ranking) -> Counts:
    """The counts of a store. Raises StoreError, with the reasons there are, when no document at all can be ranked."""
    numbers: dict[str, int] = {}
    histogram = Histogram()
    unranked: defaultdict[str, Counter[str]] = defaultdict(Counter)
    lock = threading.Lock()

    def add(batches: Iterator[pa.RecordBatch]) -> None:
        for batch in batches:
            values = ranking.values(batch)
            ranked = ranking.ranked(batch, values)
            buckets, tokens = ranking.buckets(values), tokens_of(batch)
            reasons = _reasons(batch, values, ~ranked)
            names, codes = coded(batch.column("domain"))
            with lock:
                domains = np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
                domain = domains[codes]
                histogram.add(domain[ranked], buckets[ranked], tokens[ranked])
                for name, reason, documents in reasons:
                    unranked[name][reason] += documents

    columns = ["domain", "n_tokens", "influence", "flag", "reason", *ranking.columns]
    for _ in store.over_units(columns, add):
        pass
    if histogram.is_empty:
        reasons = sum(unranked.values(), Counter[str]())
        listed = ", ".join(f"{documents:,} {reason}" for reason, documents in reasons.most_common())
        raise StoreError(
            f"{store.url}: no document has a finite score ({listed or 'it has no rows'}). Look at the reasons, then "
            "score again."
        )
    domains = sorted(numbers)
    histogram.reorder([numbers[name] for name in domains])
    return Counts(tuple(domains), histogram, unranked)


def tokens_of(batch: pa.RecordBatch) -> Integers:
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
