"""What a report says of a score store: figures by domain, and the documents at both ends. Nothing is read whole.

Influence is compared within one domain only, and null or non-finite influence is counted and never ranked.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import duckdb
import pyarrow as pa

from attention_influence.disk_tables import disk_tables, fill
from attention_influence.errors import StoreError
from attention_influence.scoring.schema import SCORE_SCHEMA
from attention_influence.scoring.score_store import ScoreStore

EXAMPLES = 5
# Histograms are counted in steps of 1e-4 between these bounds and merged into bars later, so their size does not grow
# with the store.
_STEPS = 10_000
_BOUNDS = (-2 * _STEPS, 10 * _STEPS)
_WIDTHS = [mantissa * 10**power for power in range(6) for mantissa in (1, 2, 5)]
# Few documents in many bars would show noise.
_MOST_BARS = 48

_DOCUMENT = "source, row, id, influence, loss_base, loss_ref, n_tokens, copy_share, repeat_share, compression, flag"
_COLUMNS = [*_DOCUMENT.split(", "), "domain", "reason"]


@dataclass(frozen=True)
class Document:
    """One scored row; the fields are the store's columns of the same name."""

    source: str
    row: int
    id: str | None
    influence: float
    loss_base: float | None
    loss_ref: float | None
    n_tokens: int | None
    copy_share: float | None
    repeat_share: float | None
    compression: float | None
    flag: str | None


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
    """Mean influence of the chosen documents; None without a selection. Likewise `mean_dropped`."""
    mean_dropped: float | None
    histogram: Histogram | None
    highest: tuple[Document, ...]
    lowest: tuple[Document, ...]
    """Lowest first; none of them is in `highest`."""


@dataclass(frozen=True)
class StoreFigures:
    """All domains in order of their names, and how many rows of each have no score, or are flagged, and why."""

    domains: tuple[Domain, ...]
    unscored: tuple[tuple[str, str, int], ...]
    """(domain, reason, rows), the most frequent first."""
    flagged: tuple[tuple[str, str, int], ...]
    """(domain, flag, rows); a row with two flags counts under each."""


def read_store(store: ScoreStore, cuts: Mapping[str, tuple[float, int]]) -> StoreFigures:
    """The figures of the finished units of `store`.

    `cuts` holds, for domains with a selection, the lowest chosen influence and the number of chosen documents.
    Raises StoreError when a unit is not readable as scores.
    """
    try:
        with disk_tables() as database:
            schema = pa.schema([SCORE_SCHEMA.field(name) for name in _COLUMNS])
            fill(database, "scores", schema, (pa.Table.from_batches([rows]) for rows in store.batches(_COLUMNS)))
            database.execute("CREATE VIEW ranked AS SELECT * FROM scores WHERE isfinite(influence)")
            totals = database.execute(
                "SELECT domain, count(*), coalesce(sum(n_tokens), 0)::BIGINT,"
                " count(*) FILTER (isfinite(influence)), avg(influence) FILTER (isfinite(influence))"
                " FROM scores GROUP BY domain ORDER BY domain"
            ).fetchall()
            domains = tuple(_domain(database, total, cuts.get(total[0])) for total in totals)
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
    return StoreFigures(domains, tuple(unscored), tuple(flagged))


def _domain(database: Any, total: tuple[Any, ...], cut: tuple[float, int] | None) -> Domain:
    name, documents, tokens, ranked, mean = total
    kept, dropped = _means(database, name, ranked, mean, cut) if cut else (None, None)
    highest = _documents(database, name, "DESC", EXAMPLES)
    keys = {(document.source, document.row) for document in highest}
    lowest = [
        document
        for document in _documents(database, name, "ASC", 2 * EXAMPLES)
        if (document.source, document.row) not in keys
    ]
    histogram = _histogram(database, name, cut[0] if cut else None) if ranked else None
    return Domain(
        name, documents, tokens, ranked, mean, kept, dropped, histogram, tuple(highest), tuple(lowest[:EXAMPLES])
    )


def _means(
    database: Any, name: str, ranked: int, mean: float | None, cut: tuple[float, int]
) -> tuple[float | None, float | None]:
    threshold, chosen = cut
    above, total = database.execute(
        "SELECT count(*), coalesce(sum(influence), 0) FROM ranked WHERE domain = ? AND influence > ?::FLOAT",
        [name, threshold],
    ).fetchone()
    # Of several documents exactly at the threshold only some may be chosen; all of them have the same influence.
    kept = total + (chosen - above) * threshold
    dropped = (mean or 0.0) * ranked - kept
    return (kept / chosen if chosen else None), (dropped / (ranked - chosen) if ranked > chosen else None)


def _documents(database: Any, name: str, order: str, limit: int) -> list[Document]:
    rows = database.execute(
        f"SELECT {_DOCUMENT} FROM ranked WHERE domain = ? ORDER BY influence {order}, source, row LIMIT {limit}", [name]
    ).fetchall()
    return [Document(*row) for row in rows]


def _histogram(database: Any, name: str, threshold: float | None) -> Histogram:
    low, high = _BOUNDS
    steps = database.execute(
        f"SELECT least(greatest(floor(influence::DOUBLE * {_STEPS}), {low}), {high})::INTEGER AS step, count(*)"
        " FROM ranked WHERE domain = ? GROUP BY step ORDER BY step",
        [name],
    ).fetchall()
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
