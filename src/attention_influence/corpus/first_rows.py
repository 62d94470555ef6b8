"""The first rows of each file of a corpus: a trial of so many documents."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from attention_influence.corpus.formats import format_of, read_rows
from attention_influence.corpus.rows import Columns
from attention_influence.corpus.sources import Listing, Source
from attention_influence.errors import CorruptFile
from attention_influence.progress import stage


@dataclass(frozen=True)
class FirstRows:
    """The beginnings of files."""

    listing: Listing
    """The corpus, without the files of which nothing is taken."""
    ends: Mapping[str, int]
    """Source → the key at which its part ends; a file that is taken whole has none."""
    share: float
    """Of the listed files' bytes, about."""


@stage("finding the first documents")
def first_rows(listing: Listing, limit: int, columns: Columns) -> FirstRows:
    """At most `limit` rows: an equal share from the beginning of each file, or one row each of `limit` files that are
    spread evenly over their names.

    Raises CorpusError when a named column is not in a file.
    """
    files = listing.sources
    if len(files) > limit:
        files = tuple(files[i * len(files) // limit] for i in range(limit))
    ends: dict[str, int] = {}
    taken = 0.0
    for number, source in enumerate(files):
        end = _key_after(source, limit // len(files) + (number < limit % len(files)), columns)
        if end is not None:
            ends[source.name] = end
        taken += source.size if end is None else _bytes(source, end)
    return FirstRows(replace(listing, sources=files), ends, taken / max(sum(source.size for source in files), 1))


def _key_after(source: Source, rows: int, columns: Columns) -> int | None:
    """The key of the row after the first `rows`; None where the file has no more."""
    try:
        for batch in read_rows(source, columns):
            if rows < len(batch):
                return batch[rows].row
            rows -= len(batch)
    except CorruptFile:  # costs that file when it is scored
        pass
    return None


def _bytes(source: Source, end: int) -> float:
    """Stored bytes of the rows before the key `end`, about."""
    return source.size * end / sum(block.keys for block in format_of(source).blocks(source))
