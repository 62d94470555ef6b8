"""What screening did to a store, as data and as text; for `score` and `status`."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from attention_influence.commands.printing.result import table
from attention_influence.screening.plan import DomainPlan, ScreeningPlan


def screening_result(plan: ScreeningPlan, records: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Any], str]:
    """The plan of each domain, and what the finished units of `records` saved."""
    documents, tokens = (
        sum(about["screened_out"][what] for about in records.values()) for what in ("documents", "tokens")
    )
    of_documents, of_tokens = (sum(about[what] for about in records.values()) for what in ("rows", "tokens"))
    data = {
        "promise": asdict(plan.promise),
        "domains": {name: asdict(of_domain) for name, of_domain in plan.domains.items()},
        "screened_out_documents": documents,
        "screened_out_tokens": tokens,
    }
    promise = plan.promise
    rows = [(name, f"{of_domain.documents:,}", *_row(of_domain)) for name, of_domain in plan.domains.items()]
    headings = ("screening", "documents", "sample", "Spearman", "recall (95%)", "documents spared", "tokens spared")
    lines = [
        table(headings, rows),
        *(f"screening refused for {name}: {of.refused}" for name, of in plan.domains.items() if of.refused),
        f"promise: of the top {promise.top:.0%} of each screened domain, {promise.keep_recall:.0%} are scored exactly, "
        f"with a probability of {promise.confidence:.0%}. Recall is an estimate for the domain; Spearman and what is "
        "spared are of the documents that chose the cut",
        f"the model did not see {documents:,} of {of_documents:,} documents, {tokens:,} of {of_tokens:,} tokens "
        f"({tokens / max(of_tokens, 1):.0%})",
    ]
    return data, "\n".join(lines)


def _row(plan: DomainPlan) -> tuple[str, ...]:
    sample = f"{plan.fitted:,} + {plan.chose:,}"
    spearman = "–" if plan.spearman is None else f"{plan.spearman:.2f}"
    if plan.cut is None or plan.recall is None or plan.recall_interval is None:
        return sample, spearman, "all are scored", "0%", "0%"
    low, high = plan.recall_interval
    recall = f"{plan.recall:.2f} ({low:.2f} to {high:.2f})"
    return sample, spearman, recall, f"{plan.saved_documents:.0%}", f"{plan.saved_tokens:.0%}"
