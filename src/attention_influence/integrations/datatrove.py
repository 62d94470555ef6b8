"""Steps of a datatrove pipeline: one that scores documents, and one that keeps those above a threshold."""

import functools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from attention_influence.errors import UsageError
from attention_influence.heads.head_set import load_heads
from attention_influence.integrations.score_fields import score_fields
from attention_influence.model.loading import load_model
from attention_influence.scoring.scorer import Scorer
from attention_influence.scoring.worker import in_lots

try:
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.filters.base_filter import BaseFilter
except ImportError as error:
    raise UsageError(f"This step needs datatrove ({error}): pip install 'attention-influence[datatrove]'") from error

if TYPE_CHECKING:
    from datatrove.data import Document, DocumentsPipeline


class InfluenceScorer(PipelineStep):  # type: ignore[misc]
    """Puts influence, both losses and what goes with them into each document's metadata (see `score_fields`).

    `model`: hub id, directory or .gguf file; `heads`: heads.json; options are those of `load_model` and `Scorer`. The
    model is loaded where and when the step runs, once a process.
    """

    name = "Influence"
    type = "SCORER"

    def __init__(
        self,
        model: str,
        heads: str,
        *,
        dtype: str = "bf16",
        device: str | None = None,
        window: int | None = None,
        pack_tokens: int | None = None,
    ) -> None:
        super().__init__()
        self._scored_with = (model, heads, dtype, device, window, pack_tokens)

    def run(self, data: "DocumentsPipeline", rank: int = 0, world_size: int = 1) -> "Iterator[Document]":
        scorer = _scorer(*self._scored_with)
        for lot in in_lots(([document] for document in data), _text_of, scorer.pack_tokens):
            with self.track_time("batch"):
                scores = scorer.score([document.text for document in lot])
            for document, score in zip(lot, scores, strict=True):
                document.metadata |= score_fields(score)
                self.update_doc_stats(document)
                yield document


class InfluenceFilter(BaseFilter):  # type: ignore[misc]
    """Keeps documents whose influence is at least `threshold`, such as one that `select` found for their domain.

    Documents without influence are dropped, with the reason.
    """

    name = "Influence"

    def __init__(self, threshold: float, exclusion_writer: Any = None) -> None:
        super().__init__(exclusion_writer)
        self.threshold = threshold

    def filter(self, doc: "Document") -> bool | tuple[bool, str]:
        influence = doc.metadata.get("influence", math.nan)
        if math.isnan(influence):
            return False, str(doc.metadata.get("reason") or doc.metadata.get("flag") or "not_scored")
        return influence >= self.threshold or (False, "below_threshold")


def _text_of(document: "Document") -> str:
    return str(document.text)


@functools.lru_cache(maxsize=1)
def _scorer(
    model: str, heads: str, dtype: str, device: str | None, window: int | None, pack_tokens: int | None
) -> Scorer:
    return Scorer(load_model(model, dtype, device), load_heads(heads), window=window, pack_tokens=pack_tokens)
