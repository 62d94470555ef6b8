"""What a score store holds, as data and as text; for `score` and `status`."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from attention_influence.report.store_figures import read_store
from attention_influence.scoring.score_store import open_store
from attention_influence.verbs.result import table


def domains_and_reasons(store_url: str) -> tuple[dict[str, Any], str]:
    """Figures of the finished units by domain, and rows without a score by reason: as data, and as a table."""
    read = read_store(open_store(store_url), {})
    reasons: Counter[str] = Counter()
    for _, reason, rows in read.unscored:
        reasons[reason] += rows
    domains = [
        {
            "domain": domain.name,
            "documents": domain.documents,
            "ranked": domain.ranked,
            "tokens": domain.tokens,
            "mean_influence": domain.mean,
        }
        for domain in read.domains
    ]
    headings = ("domain", "documents", "with influence", "tokens", "mean influence")
    text = table(headings, [tuple(domain.values()) for domain in domains])
    if reasons:
        text += "\nrows without influence: " + ", ".join(f"{count:,} {reason}" for reason, count in reasons.items())
    return {"domains": domains, "reasons": dict(reasons)}, text


def failed_files(records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Source → why its rows are missing, from the records of the finished units."""
    return {name: why for about in records.values() for name, why in about["failed_files"].items()}
