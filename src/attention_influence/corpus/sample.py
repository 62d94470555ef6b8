"""A random sample of a corpus's rows, without reading all of it."""

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate

from attention_influence.corpus.formats import format_of, read_rows
from attention_influence.corpus.rows import Columns, Row
from attention_influence.corpus.slices import BYTES_PER_TOKEN, Slice
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorpusError, CorruptFile
from attention_influence.progress import stage

# Bytes of text that one draw covers: about one document, so that draws are nearly independent.
_DRAW_BYTES = 4096
# Draws of `sample_rows`; and how far behind a point where reading can begin a draw may lie, in bytes of text: what lies
# between is read for nothing.
_DRAWS = 256
_REACH = 8 << 20


@stage("drawing a sample")
def draw_slices(sources: Sequence[Source], tokens: int, seed: int) -> tuple[list[list[Slice]], float]:
    """Random draws, slices that hold about `tokens` tokens together, and the share of the corpus that they cover.

    Each row of the corpus is equally likely to be among them: a slice owns the rows that begin in it. Damaged Parquet
    files hold none.
    """
    sizes = [_bytes_and_keys(source) for source in sources]
    total = sum(size for size, _ in sizes)
    length = min(_DRAW_BYTES, total)
    count = max(1, round(min(tokens * BYTES_PER_TOKEN, total) / max(length, 1)))
    draws = []
    for spans in _draws([size for size, _ in sizes], count, length, seed):
        draw = []
        for index, start, end in spans:
            size, keys = sizes[index]
            draw.append(Slice(sources[index], start * keys // size, end * keys // size))
        draws.append(draw)
    return draws, count * length / max(total, 1)


def _draws(sizes: Sequence[int], count: int, length: int, seed: int) -> Iterator[list[tuple[int, int, int]]]:
    """Random ranges of `length` bytes in files of those sizes, each as (file, start, end) for every file that it meets.

    A range that reaches the end of a file continues in the next one, after the last in the first.
    """
    ends = list(accumulate(sizes))
    rng = random.Random(seed)
    for _ in range(count):
        at, left = rng.randrange(max(ends[-1], 1)), length
        spans = []
        while left:
            index = bisect_right(ends, at)
            start = at - (ends[index] - sizes[index])
            taken = min(left, sizes[index] - start)
            spans.append((index, start, start + taken))
            at, left = (at + taken) % ends[-1], left - taken
        yield spans


def drawn_rows(drawn: Sequence[Sequence[Slice]], columns: Columns) -> Iterator[list[tuple[int, Row]]]:
    """(number of its draw, row), some at a time."""
    for number, slices in enumerate(drawn):
        for part in slices:
            try:
                for rows in read_rows(part.source, columns, part.start, part.end):
                    yield [(number, row) for row in rows]
            except CorpusError:  # costs that file
                continue


def _bytes_and_keys(source: Source) -> tuple[int, int]:
    """Bytes of text, about, and the range of row keys."""
    try:
        blocks = format_of(source).blocks(source)
    except CorruptFile:  # costs that file
        return 0, 0
    keys = sum(block.keys for block in blocks)
    # No fewer bytes than keys, so that no rows share a byte.
    return max(keys, sum(block.size for block in blocks)), keys


def sample_rows(
    sources: Sequence[Source], columns: Columns, size: int, seed: int
) -> tuple[list[Slice], list[tuple[Source, Row]]]:
    """Random slices that hold about `size` stored bytes together, in order of source and key, and the rows in them.

    All sources whole where they hold no more than `size`. Else draws that are even over the stored bytes, so that
    how a corpus is cut into files does not matter; only files that are drawn are opened. When by chance the draws hold
    almost no row, as where documents are huge, larger ones are made, up to 16 times `size`. A slice that cannot be read
    to its end is not among the slices; its CorpusError is raised when there are no rows at all.
    """
    whole = sum(source.size for source in sources) <= size
    for growth in (1, 4, 16):
        drawn = [Slice(source) for source in sources] if whole else _draw(sources, size * growth, seed)
        read: list[Slice] = []
        rows: list[tuple[Source, Row]] = []
        errors: list[CorpusError] = []
        for part in drawn:
            try:
                for batch in read_rows(part.source, columns, part.start, part.end):
                    rows += [(part.source, row) for row in batch]
                read.append(part)
            except CorpusError as error:
                errors.append(error)
        if whole or sum(len(row.text or "") for _, row in rows) >= size // 4:
            break
    if errors and not rows:
        raise errors[0]
    return read, rows


def _draw(sources: Sequence[Source], size: int, seed: int) -> list[Slice]:
    """Slices of `_DRAWS` draws that cover `size` stored bytes together, united where they overlap."""
    sizes = [source.size for source in sources]
    drawn: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for spans in _draws(sizes, _DRAWS, min(max(size // _DRAWS, 1), sum(sizes)), seed):
        for index, start, end in spans:
            drawn[index].append((start, end))
    slices: list[Slice] = []
    for index in sorted(drawn):
        united: list[tuple[int, int]] = []
        for low, high in sorted(_within_reach(sources[index], drawn[index])):
            if united and low <= united[-1][1]:
                low, high = united[-1][0], max(high, united.pop()[1])
            united.append((low, high))
        slices += [Slice(sources[index], low, high) for low, high in united]
    return slices


def _within_reach(source: Source, drawn: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges of stored bytes as ranges of keys, moved to where they can be read without reading much else."""
    try:
        blocks = format_of(source).blocks(source)
    except CorpusError:  # costs that file
        return
    keys = sum(block.keys for block in blocks)
    for low, high in drawn:
        start, end = (bound * keys // source.size for bound in (low, high))
        block = next((block for block in blocks if block.start <= start < block.start + block.keys), None)
        if block is not None and start < end:
            reach = max(_REACH * block.keys // max(block.size, 1), 1)
            moved = 0 if block.is_seekable else (start - block.start) // reach * reach
            yield start - moved, end - moved
