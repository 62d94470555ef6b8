"""Counts and means of a score store by domain, in one pass: memory grows with the domains, not with the rows."""

from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.store.reader import ScoreStore

_COLUMNS = ("domain", "n_tokens", "influence", "reason", "flag")
_SUMMED = ("documents", "ranked", "tokens", "influence")
# Rows that are held before they are added up.
_HELD_ROWS = 1 << 20


@dataclass(frozen=True)
class DomainSummary:
    """One domain of the finished units."""

    domain: str
    documents: int
    ranked: int
    """Documents with a finite influence."""
    tokens: int
    mean_influence: float | None
    """Of the ranked ones, summed in float64."""


@dataclass(frozen=True)
class Summary:
    """Domains in order of their names, and rows without influence by reason, the most frequent first."""

    domains: tuple[DomainSummary, ...]
    reasons: dict[str, int]


def summarise(store: ScoreStore) -> Summary:
    """The summary of the finished units of `store`. Raises StoreError naming a unit that cannot be read."""
    reasons: Counter[str] = Counter()
    held: list[pa.Table] = []
    rows, most = 0, _HELD_ROWS
    for batch in store.batches(_COLUMNS):
        counted, without = _counted(batch)
        reasons.update(without)
        held.append(counted)
        rows += len(counted)
        if rows > most:
            held = [_added_up(held)]
            rows = len(held[0])
            most = max(_HELD_ROWS, 2 * rows)
    domains = _added_up(held).sort_by("domain").to_pylist() if held else []
    return Summary(
        tuple(
            DomainSummary(
                domain["domain"],
                domain["documents"],
                domain["ranked"],
                domain["tokens"],
                domain["influence"] / domain["ranked"] if domain["ranked"] else None,
            )
            for domain in domains
        ),
        dict(sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))),
    )


def _counted(batch: pa.RecordBatch) -> tuple[pa.Table, Counter[str]]:
    """What each row adds to its domain, and the reasons of rows without influence."""
    influence = batch.column("influence").cast(pa.float64())
    ranked = pc.fill_null(pc.is_finite(influence), False)
    counted = pa.table(
        {
            "domain": batch.column("domain"),
            "documents": pa.repeat(pa.scalar(1, pa.int64()), batch.num_rows),
            "ranked": ranked.cast(pa.int64()),
            "tokens": pc.fill_null(batch.column("n_tokens"), 0),
            "influence": pc.if_else(ranked, influence, 0.0),
        }
    )
    without = batch.filter(pc.invert(ranked))
    why = pc.coalesce(without.column("reason"), without.column("flag"), pa.scalar("no finite influence"))
    counts = pc.value_counts(why).to_pylist()
    return counted, Counter({one["values"]: one["counts"] for one in counts})


def _added_up(tables: list[pa.Table]) -> pa.Table:
    together = pa.concat_tables(tables).group_by("domain", use_threads=False)
    sums = together.aggregate([(name, "sum") for name in _SUMMED])
    return sums.rename_columns([name.removesuffix("_sum") for name in sums.column_names])
