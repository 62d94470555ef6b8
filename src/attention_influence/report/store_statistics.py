"""What a report says of a score store: statistics by domain, and the documents at both ends. Nothing is read whole.

Influence is compared within one domain only, and null or non-finite influence is counted and never ranked.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa

from attention_influence.errors import StoreError
from attention_influence.storage.disk_tables import disk_tables, fill
from attention_influence.store.reader import ScoreStore
from attention_influence.store.schema import SCORE_SCHEMA

EXAMPLES = 5
DETAILED = 100
"""Domains with a histogram and documents, the largest; of the others there are counts and means."""
# Histograms are counted in steps of 1e-4 between these bounds and merged into bars later, so their size does not grow
# with the store.
_STEPS = 10_000
_BOUNDS = (-2 * _STEPS, 10 * _STEPS)
_WIDTHS = [mantissa * 10**power for power in range(6) for mantissa in (1, 2, 5)]
# Few documents in many bars would show noise.
_MOST_BARS = 48

_DOCUMENT = "source, row, id, influence, loss_base, n_tokens, copy_share, repeat_share, compression, flag"
_COLUMNS = [*_DOCUMENT.split(", "), "domain", "reason"]


@dataclass(frozen=True)
class Document:
    """One scored row; the fields but the last are the store's columns of the same name."""

    source: str
    row: int
    id: str | None
    influence: float
    loss_base: float | None
    n_tokens: int | None
    copy_share: float | None
    repeat_share: float | None
    compression: float | None
    flag: str | None
    kept: bool | None = None
    """Whether it was chosen; None where that is not known."""


@dataclass(frozen=True)
class Histogram:
    """Documents by influence, in bars of equal width; what lies beyond the ends is counted in the outermost bars."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    beyond: int
    """Documents that lie outside the edges."""


@dataclass(frozen=True)
class Domain:
    """One domain of the store."""

    name: str
    documents: int
    tokens: int
    ranked: int
    """Documents with a finite influence."""
    mean: float | None
    mean_kept: float | None
    """Mean influence of the chosen documents; None without a selection. Also `mean_dropped`."""
    mean_dropped: float | None
    histogram: Histogram | None
    highest: tuple[Document, ...]
    lowest: tuple[Document, ...]
    """Lowest first; none of them is in `highest`."""


@dataclass(frozen=True)
class StoreStatistics:
    """All domains in order of their names, and how many rows of each have no score, or are flagged, and why."""

    domains: tuple[Domain, ...]
    unscored: tuple[tuple[str, str, int], ...]
    """(domain, reason, rows), the most frequent first."""
    flagged: tuple[tuple[str, str, int], ...]
    """(domain, flag, rows); a row with two flags counts under each."""


def read_store(store: ScoreStore, cuts: Mapping[str, tuple[float, int]]) -> StoreStatistics:
    """The statistics of the finished units of `store`.

    `cuts` holds, for domains with a selection, the lowest chosen influence and the number of chosen documents.
    Raises StoreError when a unit is not readable as scores.
    """
    import duckdb  # here: see disk_tables

    try:
        with disk_tables() as database:
            schema = pa.schema([SCORE_SCHEMA.field(name) for name in _COLUMNS])
            fill(database, "scores", schema, (pa.Table.from_batches([rows]) for rows in store.batches(_COLUMNS)))
            database.execute("CREATE VIEW ranked AS SELECT * FROM scores WHERE isfinite(influence)")
            totals = _totals(database, cuts)
            largest = sorted((-total["ranked"], name) for name, total in totals.items() if total["ranked"])[:DETAILED]
            database.register("shown", pa.table({"domain": pa.array([name for _, name in largest], pa.string())}))
            histograms = _histograms(database, cuts)
            highest = _documents(database, "max", ">=", "DESC", EXAMPLES)
            lowest = _documents(database, "min", "<=", "ASC", 2 * EXAMPLES)
            domains = tuple(
                _domain(total, histograms.get(name), highest.get(name, ()), lowest.get(name, ()))
                for name, total in totals.items()
            )
            unscored = database.execute(
                "SELECT domain, coalesce(reason, flag, 'no finite influence') AS why, count(*) AS rows FROM scores"
                " WHERE influence IS NULL OR NOT isfinite(influence) GROUP BY ALL ORDER BY rows DESC, domain, why"
            ).fetchall()
            flagged = database.execute(
                "SELECT domain, why, count(*) AS rows FROM"
                " (SELECT domain, trim(unnest(string_split(flag, ','))) AS why FROM ranked)"
                " GROUP BY ALL ORDER BY rows DESC, domain, why"
            ).fetchall()
    except (duckdb.Error, pa.ArrowException) as error:
        raise StoreError(
            f"{store.url}: a unit of the score store cannot be read ({error}). Delete it and resume scoring."
        ) from error
    return StoreStatistics(domains, tuple(unscored), tuple(flagged))


def _totals(database: Any, cuts: Mapping[str, tuple[float, int]]) -> dict[str, dict[str, Any]]:
    """Name → counts and means of each domain, as in `Domain`."""
    table = {
        "domain": pa.array(cuts, pa.string()),
        "threshold": pa.array([threshold for threshold, _ in cuts.values()], pa.float32()),
        "chosen": pa.array([chosen for _, chosen in cuts.values()], pa.int64()),
    }
    database.register("cuts", pa.table(table))
    # Of several documents exactly at the threshold only some may be chosen; all of them have the same influence.
    rows = database.sql(
        "WITH totals AS (SELECT domain, count(*) AS documents, coalesce(sum(n_tokens), 0)::BIGINT AS tokens,"
        " count(*) FILTER (isfinite(influence)) AS ranked, sum(influence) FILTER (isfinite(influence)) AS summed,"
        " count(*) FILTER (isfinite(influence) AND influence > threshold) AS above,"
        " coalesce(sum(influence) FILTER (isfinite(influence) AND influence > threshold), 0.0) AS summed_above,"
        " threshold::DOUBLE AS threshold, chosen FROM scores LEFT JOIN cuts USING (domain) GROUP BY ALL)"
        " SELECT domain AS name, documents, tokens, ranked, summed / nullif(ranked, 0) AS mean,"
        " kept / nullif(chosen, 0) AS mean_kept,"
        " CASE WHEN ranked > chosen THEN (summed - kept) / (ranked - chosen) END AS mean_dropped"
        " FROM (SELECT *, summed_above + (chosen - above) * threshold AS kept FROM totals) ORDER BY domain"
    )
    return {row["name"]: row for row in rows.to_arrow_table().to_pylist()}


def _histograms(database: Any, cuts: Mapping[str, tuple[float, int]]) -> dict[str, Histogram]:
    """Of the domains that are shown."""
    steps: dict[str, list[tuple[int, int]]] = {}
    low, high = _BOUNDS
    for name, step, count in database.execute(
        f"SELECT domain, least(greatest(floor(influence::DOUBLE * {_STEPS}), {low}), {high})::INTEGER AS step, count(*)"
        " FROM ranked SEMI JOIN shown USING (domain) GROUP BY domain, step ORDER BY domain, step"
    ).fetchall():
        steps.setdefault(name, []).append((step, count))
    return {name: _histogram(of_domain, cuts[name][0] if name in cuts else None) for name, of_domain in steps.items()}


def _domain(
    total: Mapping[str, Any], histogram: Histogram | None, highest: Sequence[Document], lowest: Sequence[Document]
) -> Domain:
    keys = {(document.source, document.row) for document in highest}
    others = [document for document in lowest if (document.source, document.row) not in keys]
    return Domain(**total, histogram=histogram, highest=tuple(highest), lowest=tuple(others[:EXAMPLES]))


def _documents(database: Any, end: str, beyond: str, order: str, limit: int) -> dict[str, list[Document]]:
    """Domain → its `limit` documents at one end. Only those at or beyond the last of them are sorted."""
    documents: dict[str, list[Document]] = {}
    for name, *row in database.execute(
        f"SELECT domain, {_DOCUMENT} FROM ranked JOIN"
        f" (SELECT domain, list_last({end}(influence, {limit})) AS bound FROM ranked SEMI JOIN shown USING (domain)"
        f" GROUP BY domain) USING (domain) WHERE influence {beyond} bound"
        f" QUALIFY row_number() OVER (PARTITION BY domain ORDER BY influence {order}, source, row) <= {limit}"
        f" ORDER BY domain, influence {order}, source, row"
    ).fetchall():
        documents.setdefault(name, []).append(Document(*row))
    return documents


def _histogram(steps: list[tuple[int, int]], threshold: float | None) -> Histogram:
    """Out of (step, documents), in order."""
    low, high = _BOUNDS
    total = sum(count for _, count in steps)
    first, last = _reached(steps, total // 200), _reached(steps[::-1], total // 200)
    if threshold is not None:
        step = min(max(math.floor(threshold * _STEPS), low), high)
        first, last = min(first, step), max(last, step)
    bars = min(_MOST_BARS, 10 + math.isqrt(total))
    width = next(width for width in _WIDTHS if (last - first) // width < bars - 1)
    start = first // width
    counts = [0] * (last // width - start + 1)
    beyond = 0
    for step, count in steps:
        beyond += count if not start <= step // width <= last // width else 0
        counts[min(max(step // width - start, 0), len(counts) - 1)] += count
    edges = tuple((start + index) * width / _STEPS for index in range(len(counts) + 1))
    return Histogram(edges, tuple(counts), beyond)


def _reached(steps: list[tuple[int, int]], skipped: int) -> int:
    """The step of the first document after `skipped` ones."""
    running = accumulate(count for _, count in steps)
    return next(step for (step, _), seen in zip(steps, running, strict=True) if seen > skipped)
