"""What `select` gives back, and writes to selection.json."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from attention_influence.html_tables import html_table
from attention_influence.selection.ranking.temperature import Draw
from attention_influence.selection.record import Threshold
from attention_influence.selection.repetition import Repetition
from attention_influence.selection.rule import Rule

HEADINGS = ("domain", "documents", "ranked", "chosen", "tokens", "tokens chosen", "threshold")


@dataclass(frozen=True)
class Selection:
    """What was selected, and the files that hold it."""

    out: str
    rule: Rule
    thresholds: tuple[Threshold, ...]
    """One for each domain, by name."""
    files: tuple[str, ...]
    """Under `out`."""
    store: str
    fingerprint: Any
    """The store's own; None where its run recorded none."""
    complete: bool
    """Whether the whole corpus had been scored."""
    ranking: dict[str, Any]
    """The ranking's name, which end comes first, its seed, and what was fitted for controlled influence."""
    draw: Draw | None
    """Of a selection with a temperature."""
    repetition: tuple[Repetition, ...]
    """How repetitive a choice by influence is, by domain; empty for other rankings."""
    warnings: tuple[str, ...]
    columns: tuple[str, ...]
    """The names of those that were added to the input's own."""

    @property
    def documents(self) -> int:
        return sum(threshold.chosen for threshold in self.thresholds)

    @property
    def tokens(self) -> int:
        return sum(threshold.tokens_chosen for threshold in self.thresholds)

    def rows(self) -> list[tuple[Any, ...]]:
        """HEADINGS of each domain."""
        return [
            (t.domain, t.documents, t.ranked, t.chosen, t.tokens, t.tokens_chosen, t.value) for t in self.thresholds
        ]

    def _repr_html_(self) -> str:
        return html_table(HEADINGS, self.rows(), f"{self.documents:,} documents, {self.tokens:,} tokens in {self.out}")

    def to_json(self) -> dict[str, Any]:
        unranked: Counter[str] = Counter()
        for threshold in self.thresholds:
            unranked.update(threshold.unranked)
        return {
            "rule": self.rule.to_json(),
            "rank_by": self.rule.rank_by,
            "ranking": self.ranking,
            "draw": None if self.draw is None else asdict(self.draw),
            "documents": self.documents,
            "tokens": self.tokens,
            "thresholds": [threshold.to_json() for threshold in self.thresholds],
            "unranked": dict(sorted(unranked.items())),
            "repetition": [asdict(repetition) for repetition in self.repetition],
            "warnings": list(self.warnings),
            "columns": list(self.columns),
            "files": list(self.files),
            "store": self.store,
            "complete": self.complete,
            "fingerprint": self.fingerprint,
        }
