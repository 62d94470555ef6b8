"""How far two rankings of the same documents agree, and intervals out of samples.

Letters: R resamples, D draws of random heads, I items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from attention_influence.shares import count_in

Interval = tuple[float, float] | None
"""Its ends; None where there is too little to say."""

_RESAMPLES = 2000
_FEWEST = 10  # the intervals of fewer items are too short to believe


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


def middle(values: ArrayLike, share: float) -> tuple[float, float]:
    """The ends of the middle share of some values, NaN left out; NaN where there are none."""
    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    low, high = np.quantile(known, ((1 - share) / 2, (1 + share) / 2)) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def mean_interval(values_DI: ArrayLike, seed: int) -> Interval:
    """The 95% interval of the mean of values [D, I], or [I] where there is but one draw, by the percentile bootstrap.

    Items are resampled, and draws where there are several, each as whole rows and columns: differences between two
    conditions on the same items are thus paired. None for fewer than 10 items.
    """
    values = np.atleast_2d(np.asarray(values_DI, dtype=np.float64))
    draws, items = values.shape
    if items < _FEWEST:
        return None
    rng = np.random.default_rng(seed)
    counts_RD = _counts(rng, draws)
    counts_RI = _counts(rng, items)
    means_R = ((counts_RD @ values) * counts_RI).sum(1) / (draws * items)
    return middle(means_R, 0.95)


def share_interval(count: int, of: int) -> Interval:
    """The 95% interval of a share by Wilson's score; None of nothing."""
    if not of:
        return None
    found = binomtest(count, of).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def share_difference_interval(count_a: int, of_a: int, count_b: int, of_b: int) -> Interval:
    """The 95% interval of the first share minus the second, of independent samples; None where one has nothing.

    Newcombe (1998), method 10: out of Wilson's intervals, so it has a width at shares of 0 and 1, too. Samples that
    have documents in common differ by less than it allows for.
    """
    a, b = share_interval(count_a, of_a), share_interval(count_b, of_b)
    if a is None or b is None:
        return None
    share_a, share_b = count_a / of_a, count_b / of_b
    below = np.hypot(share_a - a[0], b[1] - share_b)
    above = np.hypot(a[1] - share_a, share_b - b[0])
    return float(share_a - share_b - below), float(share_a - share_b + above)


def _counts(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """How often each of `size` things is in each resample [R, size]."""
    return rng.multinomial(size, np.full(size, 1 / size), _RESAMPLES)
