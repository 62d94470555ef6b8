"""A run's tokens in rows of one length: documents one after another, cut where a row ends, epoch after epoch.

No token is padding, so a run of so many rows is so many tokens in every arm. Where a document begins, or goes on in the
next row, positions begin at 0 again and nothing before is seen; the network is told by positions and labels.
"""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from attention_influence.experiment.data.arms import Pool
from attention_influence.experiment.data.token_file import Documents, Integers

IGNORED = -100
"""The label of what has no loss: the first token of each document's part in a row."""


class Rows:
    """The rows of one run: `rows[i]` is the same whenever and wherever it is asked for."""

    def __init__(
        self, documents: Documents, tokens: npt.NDArray[np.integer], pool: Pool, seed: int, context: int, count: int
    ) -> None:
        self._documents, self._tokens, self._pool = documents, tokens, pool
        self._context, self._count = context, count
        self._epoch_tokens = pool.epoch_tokens
        self._epoch: Callable[[int], tuple[Integers, Integers]] = lru_cache(2)(
            lambda number: self._ordered(seed, number)
        )

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> dict[str, npt.NDArray[np.int64]]:
        """`input_ids`, `position_ids` and `labels` of a row, each [context]."""
        if not 0 <= number < self._count:
            raise IndexError(number)
        ids = np.empty(self._context, dtype=np.int64)
        positions = np.empty(self._context, dtype=np.int64)
        done = 0
        while done < self._context:
            epoch, within = divmod(number * self._context + done, self._epoch_tokens)
            order, ends = self._epoch(epoch)
            at = int(np.searchsorted(ends, within, side="right"))
            copy = int(order[at])
            length = int(self._pool.tokens[copy])
            start = within - (int(ends[at]) - length)
            count = min(length - start, self._context - done)
            offset = int(self._documents.offset[self._pool.document[copy]]) + start
            ids[done : done + count] = self._tokens[offset : offset + count]
            positions[done : done + count] = np.arange(count)
            done += count
        labels = np.where(positions == 0, IGNORED, ids)
        return {"input_ids": ids, "position_ids": positions, "labels": labels}

    def _ordered(self, seed: int, epoch: int) -> tuple[Integers, Integers]:
        order = self._pool.order(self._documents, seed, epoch)
        return order, np.cumsum(self._pool.tokens[order])
