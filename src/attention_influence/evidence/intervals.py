"""Intervals out of samples, and of means by the bootstrap; pure numpy.

Letters: R resamples, D draws of random heads, I items.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

_RESAMPLES = 2000
_FEWEST = 10  # the intervals of fewer items are too short to believe


def middle(values: ArrayLike, share: float) -> tuple[float, float]:
    """The ends of the middle share of some values, NaN left out; NaN where there are none."""
    numbers = np.asarray(values, dtype=np.float64)
    known = numbers[~np.isnan(numbers)]
    low, high = np.quantile(known, ((1 - share) / 2, (1 + share) / 2)) if len(known) else (np.nan, np.nan)
    return float(low), float(high)


def mean_interval(values_DI: ArrayLike, seed: int) -> tuple[float, float] | None:
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


def _counts(rng: np.random.Generator, size: int) -> NDArray[np.int64]:
    """How often each of `size` things is in each resample [R, size]."""
    return rng.multinomial(size, np.full(size, 1 / size), _RESAMPLES)
