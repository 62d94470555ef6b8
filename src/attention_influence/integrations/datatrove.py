"""Steps of a datatrove pipeline: one that scores documents, and one that keeps those above a threshold."""

import functools
import math
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from attention_influence.errors import UsageError
from attention_influence.heads.head_set import load_heads
from attention_influence.integrations.score_fields import score_fields
from attention_influence.model.loading.load import load_model
from attention_influence.scoring.lots import in_lots
from attention_influence.scoring.scorer import Scorer
from attention_influence.selection.record import read_selection

try:
    from datatrove.pipeline.base import PipelineStep
    from datatrove.pipeline.filters.base_filter import BaseFilter
except ImportError as error:
    raise ImportError(f"This step needs datatrove ({error}): pip install 'attention-influence[datatrove]'") from error

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
        trust_remote_code: bool = False,
    ) -> None:
        super().__init__()
        self._scored_with = (model, heads, dtype, device, window, pack_tokens, trust_remote_code)

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
    """Keeps documents whose influence is at least a threshold; drops the others, with the reason.

    `threshold`: one number for all documents, or the folder or selection.json of a selection by influence, which has
    one for each domain; a document's domain is its metadata `domain_key`, and not needed where the selection has one
    domain. Documents of exactly the threshold's influence are all kept: `select` breaks such ties by a document's key,
    which a pipeline does not know. Raises UsageError for a selection without thresholds of influence.
    """

    name = "Influence"

    def __init__(
        self, threshold: float | str | os.PathLike[str], exclusion_writer: Any = None, *, domain_key: str = "domain"
    ) -> None:
        super().__init__(exclusion_writer)
        self.threshold = threshold if isinstance(threshold, int | float) else _thresholds(threshold)
        self.domain_key = domain_key

    def filter(self, doc: "Document") -> bool | tuple[bool, str]:
        influence = doc.metadata.get("influence", math.nan)
        if math.isnan(influence):
            return False, str(doc.metadata.get("reason") or doc.metadata.get("flag") or "not_scored")
        if isinstance(self.threshold, int | float):
            threshold: float | None = self.threshold
        elif len(self.threshold) == 1:
            (threshold,) = self.threshold.values()
        else:
            threshold = self.threshold.get(str(doc.metadata.get(self.domain_key)))
        if threshold is None:
            return False, "domain_without_threshold"
        # Thresholds are those of float32 columns.
        return bool(np.float32(influence) >= np.float32(threshold)) or (False, "below_threshold")


def _thresholds(selection: str | os.PathLike[str]) -> dict[str, float | None]:
    """Domain → the lowest influence that was chosen of it, None where none was."""
    record = read_selection(selection)
    if record.rank_by != "influence" or record.undecided:
        raise UsageError(
            f"{record.url}: ranked by {record.rank_by}{', and drawn' if record.undecided else ''}, so it has no "
            "thresholds of influence. Give a number, or a selection by influence."
        )
    return {domain: record.influence_threshold(domain) for domain in record.thresholds}


def _text_of(document: "Document") -> str:
    return str(document.text)


@functools.lru_cache(maxsize=1)
def _scorer(
    model: str,
    heads: str,
    dtype: str,
    device: str | None,
    window: int | None,
    pack_tokens: int | None,
    trust_remote_code: bool,
) -> Scorer:
    loaded = load_model(model, dtype, device, trust_remote_code)
    return Scorer(loaded, load_heads(heads), window=window, pack_tokens=pack_tokens)
