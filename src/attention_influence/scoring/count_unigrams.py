"""Tokens of a corpus counted over a random sample of it, before a run begins."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from attention_influence.corpus.rows import Columns
from attention_influence.corpus.sample import sample_rows
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorpusError
from attention_influence.progress import stage
from attention_influence.scoring.scorer import Scorer
from attention_influence.store.unigrams import Unigrams

# Of the stored files: about a million tokens of plain text.
_SAMPLE_BYTES = 4 << 20
_SEED = 0
_TOKENIZED_TOGETHER = 1024
_NO_END = np.iinfo(np.int64).max


@stage("counting tokens")
def count_unigrams(scorer: Scorer, sources: Sequence[Source], columns: Columns) -> Unigrams:
    """Tokens of a random sample of the sources' documents, as the scorer tokenizes them; the same whenever it is taken.

    The whole corpus where it is small. Files that cannot be read count nothing.
    """
    try:
        slices, rows = sample_rows(sources, columns, _SAMPLE_BYTES, _SEED)
    except CorpusError:  # every file fails in its unit, too
        slices, rows = [], []
    counts = np.zeros(0, dtype=np.int64)
    for start in range(0, len(rows), _TOKENIZED_TOGETHER):
        lot = [row.text for _, row in rows[start : start + _TOKENIZED_TOGETHER]]
        for document in scorer.prepare(lot):
            more = np.bincount(np.asarray(document.tokens, dtype=np.int64), minlength=len(counts))
            more[: len(counts)] += counts
            counts = more
    bounds: dict[tuple[str, str], list[int]] = defaultdict(list)
    for part in slices:
        bounds[part.source.name, part.source.version] += [part.start, _NO_END if part.end is None else part.end]
    return Unigrams(counts, {key: np.array(of_source, dtype=np.int64) for key, of_source in bounds.items()})
