"""How many documents and tokens lie where: exact counts by group and bucket of the ranking's values."""

import numpy as np

from attention_influence.selection.groups import Numbers

BUCKETS = 1 << 16
# Groups times buckets that hold any, 16 bytes each; beyond, neighbouring buckets become one.
_MOST_CELLS = 1 << 22


class Histogram:
    """Documents and tokens of every group in every bucket; buckets are ordered as values are."""

    def __init__(self) -> None:
        self._shift = 0
        self._column = np.full(BUCKETS, -1, dtype=np.int64)
        self._used = 0
        self._cells = np.zeros((2, 0, 0), dtype=np.int64)

    @property
    def is_empty(self) -> bool:
        return not self._used

    def add(self, groups: Numbers, buckets: Numbers, tokens: Numbers) -> None:
        """Counts one row each: its group, its bucket (below 65,536) and its tokens."""
        if not len(groups):
            return
        coarse = buckets >> self._shift
        columns = self._column[coarse]
        if (columns < 0).any():
            new = np.unique(coarse[columns < 0])
            self._column[new] = np.arange(self._used, self._used + len(new))
            self._used += len(new)
            columns = self._column[coarse]
        self._reserve(int(groups.max()) + 1, self._used)
        at = groups * self._cells.shape[2] + columns
        np.add.at(self._cells[0].reshape(-1), at, 1)
        np.add.at(self._cells[1].reshape(-1), at, tokens)
        while self._cells[0].size > _MOST_CELLS and self._used > 2:
            self._coarsen()

    def totals(self, groups: int) -> tuple[Numbers, Numbers]:
        """(documents, tokens) of each of the first `groups` groups."""
        self._reserve(groups, 0)
        documents, tokens = self._cells[:, :groups].sum(axis=2)
        return documents, tokens

    def falling(self, groups: int) -> tuple[Numbers, Numbers]:
        """(documents, tokens) of the first `groups` groups, each [groups, places], the highest values first."""
        self._reserve(groups, 0)
        columns = self._column[self._column >= 0][::-1]
        documents, tokens = self._cells[:, :groups][:, :, columns]
        return documents, tokens

    def places(self, buckets: Numbers) -> Numbers:
        """Where in `falling` a bucket lies; one that holds nothing, where the next lower lies."""
        higher: Numbers = self._used - np.cumsum(self._column >= 0)
        places: Numbers = higher[buckets >> self._shift]
        return places

    def _reserve(self, groups: int, columns: int) -> None:
        _, had_groups, had_columns = self._cells.shape
        if groups <= had_groups and columns <= had_columns:
            return
        larger = [
            had if needed <= had else 1 << (needed - 1).bit_length()
            for needed, had in ((groups, had_groups), (columns, had_columns))
        ]
        cells = np.zeros((2, larger[0], larger[1]), dtype=np.int64)
        cells[:, :had_groups, :had_columns] = self._cells
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
