"""How far two rankings of the same documents agree: rank correlation, and the overlap of their top shares."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr

from attention_influence.shares import count_in


@dataclass(frozen=True)
class Overlap:
    """The documents in the top share of both of two rankings."""

    documents: int
    """In all."""
    chosen: int
    """In each top share."""
    both: int

    @property
    def share(self) -> float:
        """Of one top share, the part that the other holds, too."""
        return self.both / self.chosen

    @property
    def chance(self) -> float:
        """What `share` is on average when the two rankings have nothing to do with each other."""
        return self.chosen / self.documents


def spearman(a: ArrayLike, b: ArrayLike) -> float | None:
    """Spearman's rank correlation, equal values at their mean rank; None where one side is constant or too short."""
    sides = np.asarray(a), np.asarray(b)
    if any(len(side) < 2 or (side == side[0]).all() for side in sides):
        return None
    return float(spearmanr(*sides).statistic)


def in_top(values: ArrayLike, share: float, ties: ArrayLike | None = None) -> NDArray[np.bool_]:
    """Whether each document is in the top share, rounded up, by highest value; equal values by smallest tie."""
    numbers = np.asarray(values)
    order = np.lexsort((np.arange(len(numbers)) if ties is None else np.asarray(ties), -numbers))
    chosen = np.zeros(len(numbers), dtype=np.bool_)
    chosen[order[: count_in(share, len(numbers))]] = True
    return chosen


def overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> Overlap:
    """Of two choices of equal size among the same documents."""
    return Overlap(len(a), int(a.sum()), int((a & b).sum()))
