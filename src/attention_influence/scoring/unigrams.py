"""How rare a document's tokens are: a control for influence that knows nothing of order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def unigram_surprisals(documents: Sequence[NDArray[np.int32]]) -> list[float | None]:
    """Mean −ln p(token) of each document, given its tokens, in nats a token; None for one without tokens.

    p is a token's relative frequency in the *other* documents, each token seen counted once more lest p be zero. So a
    document's own repetitions do not make its tokens common.
    """
    counts = np.bincount(np.concatenate([np.empty(0, dtype=np.int32), *documents]))
    total, different = int(counts.sum()), int((counts > 0).sum())
    surprisals: list[float | None] = []
    for tokens in documents:
        if not len(tokens):
            surprisals.append(None)
            continue
        seen, own = np.unique(tokens, return_counts=True)
        probability = (counts[seen] - own + 1) / (total - len(tokens) + different)
        surprisals.append(float(-(own * np.log(probability)).sum() / len(tokens)))
    return surprisals
