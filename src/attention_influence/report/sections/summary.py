"""The section that comes first: what was kept, whether to trust it, what each domain gave, what scoring cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attention_influence.report.sections.checks import Check
from attention_influence.report.store_statistics import Domain, StoreStatistics
from attention_influence.selection.record import SelectionRecord
from attention_influence.store.parts import Work
from attention_influence.store.reader import ScoreStore

MOST_DOMAINS = 100
"""Rows of the table; of more, the largest."""


@dataclass(frozen=True)
class DomainRow:
    domain: Domain
    threshold: float | None
    chosen: int | None
    """None without a selection."""
    tokens_chosen: int | None

    @property
    def share(self) -> float | None:
        return self.chosen / self.domain.documents if self.chosen is not None and self.domain.documents else None

    @property
    def token_share(self) -> float | None:
        if self.tokens_chosen is None or not self.domain.tokens:
            return None
        return self.tokens_chosen / self.domain.tokens


@dataclass(frozen=True)
class Cost:
    """Of the units that one kind of device finished."""

    part: str
    """Of a screened run; else empty."""
    device: str
    threads: int | None
    units: int
    documents: int
    tokens: int
    """That the model saw."""
    seconds: float
    """Of all workers together."""

    @property
    def speed(self) -> float | None:
        """Tokens/s of one worker; None where the model saw none."""
        return self.tokens / self.seconds if self.tokens and self.seconds > 0 else None


@dataclass(frozen=True)
class Summary:
    model: str
    precision: str
    corpus: tuple[str, ...]
    heads: int
    documents: int
    tokens: int
    chosen: int | None
    tokens_chosen: int | None
    rule: str
    checks: tuple[Check, ...]
    rows: tuple[DomainRow, ...]
    left_out: int
    costs: tuple[Cost, ...]
    hours: float | None
    """From the beginning of the first unit to the end of the last."""


def summary_section(
    store: ScoreStore,
    statistics: StoreStatistics,
    selected: SelectionRecord | None,
    work: Work,
    checks: Sequence[Check],
) -> Summary:
    """The section; `work` is what each part of the run did."""
    fingerprint = store.run.get("fingerprint") or {}
    configuration = store.run.get("configuration") or {}
    largest = sorted(statistics.domains, key=lambda domain: (-domain.documents, domain.name))
    shown = sorted(largest[:MOST_DOMAINS], key=lambda domain: domain.name)
    parts = list(selected.thresholds.values()) if selected else None
    return Summary(
        model=str((store.run.get("model") or {}).get("name", "unknown")),
        precision=str(fingerprint.get("precision", "unknown")),
        corpus=tuple(configuration.get("corpus") or sorted({name.partition("/")[0] for name in store.sources})),
        heads=len(fingerprint.get("heads") or ()),
        documents=sum(domain.documents for domain in statistics.domains),
        tokens=sum(domain.tokens for domain in statistics.domains),
        chosen=sum(part.chosen for part in parts) if parts is not None else None,
        tokens_chosen=sum(part.tokens_chosen for part in parts) if parts is not None else None,
        rule=_rule(selected) if selected else "",
        checks=tuple(checks),
        rows=tuple(_row(domain, selected) for domain in shown),
        left_out=len(largest) - len(shown),
        costs=tuple(cost for part, records in work for cost in _costs(part, records)),
        hours=_hours([about for _, records in work for about in records]),
    )


def _row(domain: Domain, selected: SelectionRecord | None) -> DomainRow:
    part = selected.thresholds.get(domain.name) if selected else None
    if selected is None or part is None:
        return DomainRow(domain, None, 0 if selected else None, 0 if selected else None)
    return DomainRow(domain, selected.influence_threshold(domain.name), part.chosen, part.tokens_chosen)


def _rule(selected: SelectionRecord) -> str:
    rule = selected.content.get("rule") or {}
    first = f"by {selected.rank_by}"
    if rule.get("apply"):
        return f"{first}, at the thresholds of {rule['apply']}"
    if rule.get("tokens"):
        return f"{first}, {rule['tokens']:,} tokens in all"
    if rule.get("top"):
        return f"{first}, the top {100 * rule['top']:.6g}% of the {rule['by']} of each domain"
    return first


def _costs(part: str, records: Sequence[Mapping[str, Any]]) -> Iterator[Cost]:
    kinds: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
    for about in records:
        # cuda:0 and cuda:1 are one kind.
        device = str(about.get("device", "unknown")).partition(":")[0]
        kinds.setdefault((device, about.get("threads") if device == "cpu" else None), []).append(about)
    for (device, threads), units in sorted(kinds.items(), key=lambda kind: -len(kind[1])):
        rows, tokens, seconds = (sum(about.get(name, 0) for about in units) for name in ("rows", "tokens", "seconds"))
        yield Cost(part, device, threads, len(units), rows, tokens, seconds)


def _hours(records: Sequence[Mapping[str, Any]]) -> float | None:
    timed = [about for about in records if "finished" in about and "seconds" in about]
    if not timed:
        return None
    began = min(about["finished"] - about["seconds"] for about in timed)
    return float(max(about["finished"] for about in timed) - began) / 3600
