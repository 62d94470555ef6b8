"""How many documents and tokens lie where: exact counts by domain and bucket of the ranking's values."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

BUCKETS = 1 << 16
# Domains times buckets that hold any, 16 bytes each; beyond, neighbouring buckets become one.
_MOST_CELLS = 1 << 23


class Histogram:
    """Documents and tokens of every domain in every bucket; buckets are ordered as values are."""

    def __init__(self) -> None:
        self._shift = 0
        self._column = np.full(BUCKETS, -1, dtype=np.int64)
        self._used = 0
        self._cells = np.zeros((2, 0, 0), dtype=np.int64)

    @property
    def is_empty(self) -> bool:
        return not self._used

    def add(self, domains: Integers, buckets: Integers, tokens: Integers) -> None:
        """Counts one row each: the number of its domain, its bucket (below 65,536) and its tokens."""
        if not len(domains):
            return
        needed = max(int(domains.max()) + 1, self._cells.shape[1])
        while True:
            coarse = buckets >> self._shift
            new = np.unique(coarse[self._column[coarse] < 0])
            if needed * (self._used + len(new)) <= _MOST_CELLS or self._used + len(new) <= 2:
                break
            self._coarsen()
        self._column[new] = np.arange(self._used, self._used + len(new))
        self._used += len(new)
        self._reserve(needed, self._used)
        at = domains * self._cells.shape[2] + self._column[coarse]
        np.add.at(self._cells[0].reshape(-1), at, 1)
        np.add.at(self._cells[1].reshape(-1), at, tokens)

    def reorder(self, domains: Sequence[int]) -> None:
        """Renumbers the domains: number i becomes that of what was `domains[i]`."""
        self._reserve(len(domains), 0)
        self._cells = self._cells[:, list(domains)]

    def totals(self) -> tuple[Integers, Integers]:
        """(documents, tokens) of each domain."""
        documents, tokens = self._cells.sum(axis=2)
        return documents, tokens

    def descending(self) -> tuple[Integers, Integers]:
        """(documents, tokens), each [domains, places], the highest values first."""
        columns = self._column[self._column >= 0][::-1]
        documents, tokens = self._cells[:, :, columns]
        return documents, tokens

    def places(self, buckets: Integers) -> Integers:
        """Where in `descending` a bucket lies; one that holds nothing, where the next lower lies."""
        higher: Integers = self._used - np.cumsum(self._column >= 0)
        places: Integers = higher[buckets >> self._shift]
        return places

    def _reserve(self, domains: int, columns: int) -> None:
        _, had_domains, had_columns = self._cells.shape
        if domains <= had_domains and columns <= had_columns:
            return
        larger = [
            had if needed <= had else 1 << (needed - 1).bit_length()
            for needed, had in ((domains, had_domains), (columns, had_columns))
        ]
        cells = np.zeros((2, larger[0], larger[1]), dtype=np.int64)
        cells[:, :had_domains, :had_columns] = self._cells
        self._cells = cells

    def _coarsen(self) -> None:
        buckets = np.flatnonzero(self._column >= 0)
        merged, into = np.unique(buckets >> 1, return_inverse=True)
        cells = np.zeros((2, self._cells.shape[1], len(merged)), dtype=np.int64)
        for column, target in zip(self._column[buckets].tolist(), into.tolist(), strict=True):
            cells[:, :, target] += self._cells[:, :, column]
        self._shift += 1
        self._column[:] = -1
        self._column[merged] = np.arange(len(merged))
        self._used, self._cells = len(merged), cells
