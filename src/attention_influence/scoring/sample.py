"""A random sample of a corpus's rows, without reading all of it."""

import random
from collections.abc import Sequence
from itertools import accumulate

from attention_influence.corpus.byte_streams import expansion
from attention_influence.corpus.parquet import row_groups
from attention_influence.corpus.sources import Source
from attention_influence.scoring.plan import BYTES_PER_TOKEN, Slice

# Bytes of text that one draw covers: about one document, so that draws are nearly independent.
_DRAW_BYTES = 4096


def draw_slices(sources: Sequence[Source], tokens: int, seed: int) -> tuple[list[Slice], float]:
    """Random slices that hold about `tokens` tokens together, and the share of the corpus that they cover.

    Each row of the corpus is equally likely to be among them: a slice owns the rows that begin in it.
    """
    sizes = [_bytes_and_keys(source) for source in sources]
    ends = list(accumulate(size for size, _ in sizes))
    draws = max(1, int(min(tokens * BYTES_PER_TOKEN, ends[-1]) / _DRAW_BYTES))
    rng = random.Random(seed)
    slices = []
    for _ in range(draws):
        point = rng.random() * ends[-1]
        index = next(i for i, end in enumerate(ends) if point < end)
        size, keys = sizes[index]
        start = point - (ends[index] - size)
        low, high = (int(x * keys / size) for x in (start, start + _DRAW_BYTES))
        slices.append(Slice(sources[index], low, high))
    return slices, draws * _DRAW_BYTES / ends[-1]


def _bytes_and_keys(source: Source) -> tuple[float, float]:
    """Bytes of text, about, and the range of row keys: rows of Parquet, bytes of JSON lines."""
    if source.format == "parquet":
        groups = row_groups(source)
        return max(1, sum(group.size for group in groups)), sum(group.rows for group in groups)
    size = max(1.0, source.size * expansion(source))
    return size, size
