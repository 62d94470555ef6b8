"""Scores as columns of a Hugging Face dataset: a function for its `map`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attention_influence.integrations.score_fields import FIELDS, score_fields
from attention_influence.scoring.scorer import Scorer


@dataclass(frozen=True)
class InfluenceColumns:
    """From a batch of rows to their scores, a column for each of FIELDS.

    `dataset.map(InfluenceColumns(scorer), batched=True)` adds them.
    Equal scorers give equal fingerprints, so a dataset that was mapped before comes from the cache, in other processes
    too. What is scored together is a batch: `batch_size` 256 or more fills packs.
    """

    scorer: Scorer
    text_column: str = "text"

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        scores = [score_fields(score) for score in self.scorer.score(batch[self.text_column])]
        return {name: [score[name] for score in scores] for name in FIELDS}
