"""Scores as columns of a Hugging Face dataset: a function for its `map`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from attention_influence.integrations.score_fields import FIELDS, score_fields
from attention_influence.scoring.scorer import Scorer


@dataclass(frozen=True)
class InfluenceColumns:
    """From a batch of rows to their scores, a column for each of FIELDS: NaN, 0 tokens or "" where there is none.

    `dataset.map(InfluenceColumns(scorer), batched=True)` adds them.
    Equal scorers give equal fingerprints, so a dataset that was mapped before comes from the cache, in other processes
    too. What is scored together is a batch: `batch_size` 256 or more fills packs.
    """

    scorer: Scorer
    text_column: str = "text"

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        scores = [score_fields(score) for score in self.scorer.score(batch[self.text_column])]
        return {name: _typed(name, [score[name] for score in scores]) for name in FIELDS}


def _typed(name: str, values: list[Any]) -> list[str] | npt.NDArray[Any]:
    """Of one type in every batch: datasets takes that of the first, also where all of its values are None."""
    if name in ("flag", "reason"):
        return [value or "" for value in values]
    if name == "n_tokens":
        return np.array([value or 0 for value in values], dtype=np.int64)
    return np.array(values, dtype=np.float64)
