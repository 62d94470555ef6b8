"""Screening inside a unit: which of its documents the model sees, and what was scored of them already."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attention_influence.corpus.rows import Row
from attention_influence.scoring.scorer import Prepared
from attention_influence.screening.features import in_tokens
from attention_influence.screening.plan import SCREENED_OUT, ScreeningPlan
from attention_influence.store.plan import Unit
from attention_influence.store.unit_files import UnitFiles

_OF_LOSSES = ("n_scored", "n_windows", "loss_base", "loss_ref", "influence", "flag", "reason")

Known = Mapping[tuple[str, int], Mapping[str, Any]]
"""(source, row) → its columns as they were scored."""


@dataclass(frozen=True)
class Screened:
    """A plan, and the exact scores that it follows from."""

    plan: ScreeningPlan
    scored: UnitFiles
    """Of the same units, holding the rows that are scored already."""
    provisional: bool = False
    """Rows that the model does not see are not written: a later plan decides on them."""

    def known(self, unit: Unit) -> Known:
        """The rows of a unit that are scored already. Raises StoreError where they cannot be read."""
        with self.scored.open(unit.name) as file:
            rows = file.read().to_pylist()
        return {(row["source"], row["row"]): row for row in rows}

    def screen(
        self, rows: Sequence[tuple[str, Row]], documents: Sequence[Prepared], known: Known
    ) -> list[float | None]:
        """The prediction of the document of each (source, row), None where none is made; of those that the model need
        not see, the tokens are removed and the score is filled in."""
        readable = [at for at, document in enumerate(documents) if document.tokens]
        values = self.plan.predict(
            [rows[at][1].domain for at in readable],
            [in_tokens(documents[at].text.encode(), documents[at].tokens) for at in readable],
        )
        predicted: list[float | None] = [None] * len(rows)
        for at, value in zip(readable, values.tolist(), strict=True):
            (source, row), document = rows[at], documents[at]
            predicted[at] = None if value != value else value
            if (scored := known.get((source, row.row))) is not None:
                document.tokens = []
                for column in _OF_LOSSES:
                    setattr(document.score, column, scored[column])
            elif not self.plan.is_kept(row.domain, value):
                document.tokens = []
                document.score.reason = SCREENED_OUT
        return predicted
