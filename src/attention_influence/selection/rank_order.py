"""Ranked documents in the order of their ranks, sorted on disk: memory does not grow with their number.

A record names a candidate by its place in the stream of candidates. The histogram of values says beforehand which
records go into which piece, a file of about a million that no other piece interleaves with; each is sorted in memory
when its turn comes. A piece that many equal values make too large is split again by the next digits of its records.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from attention_influence.selection.groups import Numbers
from attention_influence.selection.passes import in_threads
from attention_influence.selection.record_files import Records, append, blocks, parted

RECORD = np.dtype([("group", "<u4"), ("falling", "<u8"), ("hash", "<u8"), ("place", "<u8"), ("tokens", "<i8")])
"""`falling`: the complement of the ranking's key, so that records sort as ranks do: by group, falling, hash."""


PIECE_RECORDS = 1 << 20
# The digits that are left to split by, 16 bits each: (field, bits below).
_DIGITS = [("group", 16), ("group", 0)] + [(name, at) for name in ("falling", "hash") for at in (48, 32, 16, 0)]


class RankOrder:
    """Records on disk, to be read in order of rank any number of times."""

    def __init__(self, folder: Path, documents: Numbers) -> None:
        """`documents`: how many records will come, [groups, places], places in order of rank."""
        self._folder = folder
        before = np.cumsum(documents.reshape(-1)) - documents.reshape(-1)
        self._piece: Numbers = (before // PIECE_RECORDS).reshape(documents.shape)
        self._count = int(self._piece.max(initial=0)) + 1

    def pieces_of(self, groups: Numbers, places: Numbers) -> Numbers:
        """The piece that each record belongs to."""
        found: Numbers = self._piece[groups, places]
        return found

    def write(self, records: Records, pieces: Numbers) -> None:
        """Adds records, given the piece of each."""
        for piece, part in parted(records, pieces):
            append(self._file(piece), part)

    def sorted(self) -> Iterator[Records]:
        """All records, some at a time, in order of rank."""
        pieces = (path for piece in range(self._count) if (path := self._file(piece)).exists())
        return in_threads(_read_sorted, (small for path in pieces for small in _split(path, 0)))

    def _file(self, piece: int) -> Path:
        return self._folder / f"piece-{piece}"


def _split(path: Path, digit: int) -> Iterator[Path]:
    """Files that fit in memory and together hold a piece, in order."""
    if path.stat().st_size <= 4 * PIECE_RECORDS * RECORD.itemsize or digit == len(_DIGITS):
        yield path
        return
    counts = np.zeros(1 << 16, dtype=np.int64)
    for block in blocks(path, RECORD):
        counts += np.bincount(_digit(block, digit), minlength=1 << 16)
    part_of = (np.cumsum(counts) - counts) // PIECE_RECORDS
    parts = [path.with_name(f"{path.name}-{part}") for part in np.unique(part_of[counts > 0]).tolist()]
    for part in parts:
        part.unlink(missing_ok=True)
    for block in blocks(path, RECORD):
        for number, records in parted(block, part_of[_digit(block, digit)]):
            append(path.with_name(f"{path.name}-{number}"), records)
    for part in parts:
        yield from _split(part, digit + 1)


def _read_sorted(path: Path) -> Records:
    records = np.fromfile(path, dtype=RECORD)
    return records[_order(records)]


def _order(records: Records) -> npt.NDArray[np.intp]:
    falling, hashes = records["falling"], records["hash"]
    order = np.argsort(falling)
    along = falling[order]
    equal = along[1:] == along[:-1]
    tied = np.zeros(len(order), dtype=np.bool_)
    tied[1:] |= equal
    tied[:-1] |= equal
    # Most values are nobody else's, and sorting by one field is several times faster than by two.
    at = order[tied]
    order[tied] = at[np.lexsort((hashes[at], falling[at]))]
    groups = records["group"][order]
    groups -= groups.min()
    # Of 16 bits NumPy sorts by radix.
    return order[np.argsort(groups.astype(np.uint16) if groups.max() < 1 << 16 else groups, kind="stable")]


def _digit(records: Records, digit: int) -> Numbers:
    name, below = _DIGITS[digit]
    found: Numbers = ((records[name] >> np.array(below, records[name].dtype)) & 0xFFFF).astype(np.int64)
    return found
