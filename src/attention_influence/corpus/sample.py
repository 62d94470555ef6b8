"""A random sample of a corpus's rows, without reading all of it."""

import random
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate

from attention_influence.corpus.byte_streams import expansion
from attention_influence.corpus.parquet import row_groups
from attention_influence.corpus.read import read_rows
from attention_influence.corpus.rows import Columns, Row
from attention_influence.corpus.slices import BYTES_PER_TOKEN, Slice
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorruptFile

# Bytes of text that one draw covers: about one document, so that draws are nearly independent.
_DRAW_BYTES = 4096


def draw_slices(sources: Sequence[Source], tokens: int, seed: int) -> tuple[list[list[Slice]], float]:
    """Random draws, slices that hold about `tokens` tokens together, and the share of the corpus that they cover.

    Each row of the corpus is equally likely to be among them: a slice owns the rows that begin in it, and a draw that
    reaches the end of a file goes on in the next one, after the last in the first. Damaged Parquet files hold none.
    """
    sizes = [_bytes_and_keys(source) for source in sources]
    ends = list(accumulate(size for size, _ in sizes))
    total = ends[-1]
    length = min(_DRAW_BYTES, total)
    count = max(1, round(min(tokens * BYTES_PER_TOKEN, total) / max(length, 1)))
    rng = random.Random(seed)
    draws = []
    for _ in range(count):
        at, left = rng.randrange(max(total, 1)), length
        slices = []
        while left:
            index = bisect_right(ends, at)
            size, keys = sizes[index]
            start = at - (ends[index] - size)
            taken = min(left, size - start)
            slices.append(Slice(sources[index], start * keys // size, (start + taken) * keys // size))
            at, left = (at + taken) % total, left - taken
        draws.append(slices)
    return draws, count * length / max(total, 1)


def drawn_rows(drawn: Sequence[Sequence[Slice]], columns: Columns) -> Iterator[list[tuple[int, Row]]]:
    """(number of its draw, row), some at a time."""
    for number, slices in enumerate(drawn):
        for part in slices:
            try:
                for rows in read_rows(part.source, columns, part.start, part.end):
                    yield [(number, row) for row in rows]
            except CorruptFile:  # costs that file
                continue


def _bytes_and_keys(source: Source) -> tuple[int, int]:
    """Bytes of text, about, and the range of row keys: rows of Parquet, bytes of JSON lines."""
    if source.format == "parquet":
        try:
            groups = row_groups(source)
        except CorruptFile:  # costs that file
            return 0, 0
        rows = sum(group.rows for group in groups)
        # No fewer bytes than rows, lest several rows share a byte.
        return max(rows, sum(group.size for group in groups)), rows
    size = round(source.size * expansion(source))
    return size, size
