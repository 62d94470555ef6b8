"""The sample that screening is calibrated on: of each domain, the rows with the smallest hashes of their keys.

It is a function of the corpus alone, so that every worker draws the same, and uniform: the hashes have nothing to do
with what the rows hold, nor with those that break ties.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from attention_influence.corpus.formats import read_rows
from attention_influence.corpus.rows import Columns, Row
from attention_influence.errors import CorpusError
from attention_influence.progress import stage
from attention_influence.store.plan import Unit
from attention_influence.store.row_hashes import Keys, hashes_of_rows, salted, source_seeds, tie_hashes

_SALT = "screening sample"
_FITTED = 0.25
"""Share of the sample that fits the prediction: a line and trees need few documents, and a cut many."""


@dataclass(frozen=True)
class Sample:
    """Which rows are in the sample."""

    documents: Mapping[str, int]
    """Domain → its rows with a text."""
    highest: Mapping[str, int]
    """Domain → the highest hash that is in the sample; domains of which nothing is drawn are left out."""
    highest_fitted: Mapping[str, int]
    """Domain → the highest hash of the part that fits the prediction; the others choose the cut."""
    size: int
    """Rows of each of these domains."""

    @property
    def share(self) -> float:
        """Of all rows with a text."""
        return self.size * len(self.highest) / max(sum(self.documents.values()), 1)

    def holds(self, source: str, rows: Sequence[Row]) -> list[bool]:
        """Whether each row of a source is in it."""
        hashes = sample_hashes(source, [row.row for row in rows]).tolist()
        return [
            row.reason is None and hash_ <= self.highest.get(row.domain, -1)
            for row, hash_ in zip(rows, hashes, strict=True)
        ]

    def fits(self, domain: str, source: str, row: int) -> bool:
        """Whether a row of the sample is in the part that fits the prediction."""
        return int(sample_hashes(source, [row])[0]) <= self.highest_fitted[domain]


def fitted_of(size: int) -> int:
    """How many documents of a sample fit the prediction."""
    return round(_FITTED * size)


def sample_hashes(source: str, rows: Sequence[int]) -> Keys:
    """The hash of each row of a source that decides whether it is drawn."""
    return salted(hashes_of_rows(source_seeds([source]), np.array(rows, dtype=np.int64)), _SALT)


def hashes_to_draw(sources: pa.ChunkedArray, rows: NDArray[np.int64]) -> Keys:
    """The same hashes, of rows of many sources."""
    return salted(tie_hashes(sources, rows), _SALT)


@stage("drawing the sample")
def draw_sample(units: Sequence[Unit], columns: Columns, size: int) -> Sample:
    """`size` rows with a text of each domain; of a domain with fewer than twice as many, none.

    Reads the corpus once. Files that cannot be read give none: they fail in their units, too.
    """
    documents: Counter[str] = Counter()
    smallest: defaultdict[str, list[int]] = defaultdict(list)  # heaps of negative numbers: the largest is first
    for source, rows in _rows(units, columns):
        for row, hash_ in zip(rows, sample_hashes(source, [row.row for row in rows]).tolist(), strict=True):
            if row.reason is not None:
                continue
            documents[row.domain] += 1
            heap = smallest[row.domain]
            if len(heap) < size:
                heapq.heappush(heap, -hash_)
            elif hash_ < -heap[0]:
                heapq.heapreplace(heap, -hash_)
    drawn = {name: sorted(-hash_ for hash_ in smallest[name]) for name, count in documents.items() if count >= 2 * size}
    return Sample(
        dict(documents),
        {name: hashes[-1] for name, hashes in drawn.items()},
        {name: hashes[max(fitted_of(size), 1) - 1] for name, hashes in drawn.items()},
        size,
    )


@stage("reading the sample")
def sampled_texts(units: Sequence[Unit], columns: Columns, sample: Sample) -> dict[tuple[str, int], bytes]:
    """(source, row) → the UTF-8 text, of the rows of the sample."""
    return read_texts(units, columns, sample.holds)


def read_texts(
    units: Sequence[Unit], columns: Columns, holds: Callable[[str, Sequence[Row]], Sequence[bool]]
) -> dict[tuple[str, int], bytes]:
    """(source, row) → the UTF-8 text, of the rows that `holds` says of each source; files that cannot be read have
    none."""
    return {
        (source, row.row): row.text.encode(errors="replace")
        for source, rows in _rows(units, columns)
        for row, held in zip(rows, holds(source, rows), strict=True)
        if held and row.text is not None
    }


def _rows(units: Sequence[Unit], columns: Columns) -> Iterator[tuple[str, list[Row]]]:
    for part in (part for unit in units for part in unit.slices):
        try:
            for rows in read_rows(part.source, columns, part.start, part.end):
                yield part.source.name, rows
        except CorpusError:
            continue
