"""The section on screening: what the model did not see, and how much of the top that may have cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attention_influence.screening.guarantee import Promise
from attention_influence.screening.plan import DomainPlan
from attention_influence.selection.screened import read_final_plan
from attention_influence.store.reader import ScoreStore

_MOST_DOMAINS = 12


@dataclass(frozen=True)
class Screening:
    promise: Promise
    domains: tuple[tuple[str, DomainPlan], ...]
    left_out: int
    """Domains that are not shown."""
    documents: int
    tokens: int
    unseen_documents: int
    unseen_tokens: int


def screening_section(store: ScoreStore, records: Mapping[str, Mapping[str, Any]]) -> Screening | None:
    """The section, from the plan and the records of the finished units; None where the store was not screened."""
    if (plan := read_final_plan(store.url, store.run)) is None:
        return None
    largest = sorted(plan.domains.items(), key=lambda item: (-item[1].documents, item[0]))
    return Screening(
        plan.promise,
        tuple(largest[:_MOST_DOMAINS]),
        max(len(largest) - _MOST_DOMAINS, 0),
        sum(about["rows"] for about in records.values()),
        sum(about["tokens"] for about in records.values()),
        *(sum(about["screened_out"][what] for about in records.values()) for what in ("documents", "tokens")),
    )
