"""Rows on disk that come back by source and row, whatever the order in which units held them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from attention_influence.selection.record_files import Records, append, read

_BATCH_ROWS = 1 << 18
_STRETCH = np.dtype([("source", "<i8"), ("first", "<i8"), ("last", "<i8"), ("start", "<i8"), ("count", "<i8")])


class RowsByKey:
    """Rows with the fields `source`, a number, and `row`.

    They are kept as they come, and with them the stretches of rising rows of one source. Stretches are few: units are
    ranges of sources. So only they are sorted, and rows are sorted themselves only where stretches overlap.
    """

    def __init__(self, path: Path, dtype: np.dtype[np.void], names: list[str]) -> None:
        """`names`: of the sources, by number; may still grow."""
        self.dtype = dtype
        self.names = names
        self._path = path
        self._count = 0
        self._stretches: list[Records] = []

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of those that have rows, sorted."""
        used = {number for part in self._stretches for number in np.unique(part["source"]).tolist()}
        return tuple(sorted(self.names[number] for number in used))

    def add(self, rows: Records) -> None:
        """Adds rows, in any order."""
        if not len(rows):
            return
        breaks = (np.diff(rows["source"].astype(np.int64)) != 0) | (np.diff(rows["row"]) <= 0)
        starts = np.flatnonzero(np.concatenate([[True], breaks]))
        stretches = np.empty(len(starts), _STRETCH)
        stretches["source"], stretches["first"] = rows["source"][starts], rows["row"][starts]
        stretches["count"] = np.diff(starts, append=len(rows))
        stretches["last"] = rows["row"][starts + stretches["count"] - 1]
        stretches["start"] = starts + self._count
        self._stretches.append(stretches)
        self._count += len(rows)
        append(self._path, rows)

    def in_order(self) -> Iterator[Records]:
        """All rows by the name of their source, then by row, some at a time."""
        held: list[Records] = []
        count = 0
        for part in self._parts():
            held.append(part)
            count += len(part)
            if count >= _BATCH_ROWS:
                yield np.concatenate(held)
                held, count = [], 0
        if held:
            yield np.concatenate(held)

    def _parts(self) -> Iterator[Records]:
        for stretches in self._clusters():
            if len(stretches) > 1:
                rows = np.concatenate([self._read(start, count) for start, count in stretches])
                yield rows[np.argsort(rows["row"], kind="stable")]
                continue
            start, count = stretches[0]
            for done in range(0, count, _BATCH_ROWS):
                yield self._read(start + done, min(_BATCH_ROWS, count - done))

    def _clusters(self) -> Iterator[list[tuple[int, int]]]:
        """The (start, count) of stretches that overlap one another, cluster by cluster in order."""
        if not self._stretches:
            return
        place = np.empty(len(self.names), dtype=np.int64)
        place[sorted(range(len(self.names)), key=self.names.__getitem__)] = np.arange(len(self.names))
        stretches = np.concatenate(self._stretches)
        stretches = stretches[np.lexsort((stretches["first"], place[stretches["source"]]))]
        cluster: list[tuple[int, int]] = []
        source, last = -1, 0
        for of_source, first, end, start, count in stretches.tolist():
            if cluster and (of_source != source or first > last):
                yield cluster
                cluster = []
            last = max(last, end) if cluster else end
            source = of_source
            cluster.append((start, count))
        yield cluster

    def _read(self, start: int, count: int) -> Records:
        return read(self._path, self.dtype, start, count)
