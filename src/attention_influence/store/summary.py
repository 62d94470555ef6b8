"""Counts and means of a score store by domain, in one pass: memory grows with the domains, not with the rows."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.store.reader import ScoreStore

_COLUMNS = ("domain", "n_tokens", "influence", "reason", "flag")
# Rows that are held before those of a domain are put together.
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

    def counted() -> Iterator[pa.Table]:
        for batch in store.batches(_COLUMNS):
            influence = batch.column("influence").cast(pa.float64())
            ranked = pc.fill_null(pc.is_finite(influence), False)
            without = batch.filter(pc.invert(ranked))
            why = pc.coalesce(without.column("reason"), without.column("flag"), pa.scalar("no finite influence"))
            reasons.update({one["values"]: one["counts"] for one in pc.value_counts(why).to_pylist()})
            yield pa.table(
                {
                    "domain": batch.column("domain"),
                    "documents": pa.repeat(pa.scalar(1, pa.int64()), batch.num_rows),
                    "ranked": ranked.cast(pa.int64()),
                    "tokens": pc.fill_null(batch.column("n_tokens"), 0),
                    "influence": pc.if_else(ranked, influence, 0.0),
                }
            )

    totals = total_by_domain(counted(), dict.fromkeys(("documents", "ranked", "tokens", "influence"), "sum"))
    domains = (
        DomainSummary(**of_domain, mean_influence=influence / of_domain["ranked"] if of_domain["ranked"] else None)
        for of_domain, influence in ((of_domain, of_domain.pop("influence")) for of_domain in totals)
    )
    return Summary(tuple(domains), dict(sorted(reasons.items(), key=lambda reason: (-reason[1], reason[0]))))


def total_by_domain(tables: Iterable[pa.Table], how: Mapping[str, str]) -> list[dict[str, Any]]:
    """A record for each domain, by name: of the rows of all tables, each column put together by sum, min or max.

    `how`: column → function.
    """
    gathered: list[pa.Table] = []
    most = _HELD_ROWS

    def put_together() -> pa.Table:
        by_domain = pa.concat_tables(gathered).group_by("domain", use_threads=False)
        columns = {f"{name}_{function}": name for name, function in how.items()}
        return by_domain.aggregate(list(how.items())).rename_columns({"domain": "domain", **columns})

    for table in tables:
        gathered.append(table)
        if sum(map(len, gathered)) > most:
            gathered = [put_together()]
            most = max(_HELD_ROWS, 2 * len(gathered[0]))
    return put_together().sort_by("domain").to_pylist() if gathered else []
