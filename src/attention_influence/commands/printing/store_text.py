"""What a score store holds, as data and as text; for `score` and `status`."""

from collections.abc import Mapping
from dataclasses import asdict, astuple
from typing import Any

from attention_influence.commands.printing.result import table_of_largest
from attention_influence.progress import stage
from attention_influence.store.reader import open_store
from attention_influence.store.summary import summarise


@stage("reading the scores")
def domains_and_reasons(store_url: str) -> tuple[dict[str, Any], str]:
    """Statistics of the finished units by domain, and rows without a score by reason: as data, and as a table."""
    summary = summarise(open_store(store_url))
    headings = ("domain", "documents", "with influence", "tokens", "mean influence")
    text = table_of_largest(headings, [astuple(domain) for domain in summary.domains])
    if summary.reasons:
        listed = [f"{count:,} {reason}" for reason, count in summary.reasons.items()]
        text += "\nrows without influence: " + ", ".join(listed)
    return {"domains": [asdict(domain) for domain in summary.domains], "reasons": summary.reasons}, text


def failed_files(records: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Source → why its rows are missing, from the records of the finished units."""
    return {name: why for about in records.values() for name, why in about["failed_files"].items()}
