"""How much a document repeats itself: metrics that influence follows, for readers and controls."""

import zlib
from collections.abc import Sequence

import numpy as np

# An odd multiplier with well-spread bits: n-grams are compared by a 64-bit polynomial, so a false match is unlikely
# (below 1e-7 for a million tokens).
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def copy_share(tokens: Sequence[int]) -> float | None:
    """Share of tokens that repeat what followed the same two tokens earlier; None below three tokens."""
    return _repeated_share(tokens, 3)


def repeat_share(tokens: Sequence[int]) -> float | None:
    """Share of 5-grams of tokens that stood earlier in the document; None below five tokens."""
    return _repeated_share(tokens, 5)


def compression_ratio(content: bytes) -> float:
    """Compressed size over size (zlib, level 6): small when the text repeats itself; above 1 for very short texts."""
    return len(zlib.compress(content, 6)) / len(content)


def _repeated_share(tokens: Sequence[int], n: int) -> float | None:
    grams = len(tokens) - n + 1
    if grams < 1:
        return None
    ids = np.asarray(tokens, dtype=np.uint64) + np.uint64(1)
    keys = np.zeros(grams, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for offset in range(n):
            keys = (keys ^ (keys >> np.uint64(29))) * _MULTIPLIER + ids[offset : offset + grams]
    return 1.0 - len(np.unique(keys)) / grams
