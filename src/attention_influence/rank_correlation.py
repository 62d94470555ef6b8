"""Spearman's rank correlation, where one side may say nothing."""

import numpy as np
from numpy.typing import ArrayLike


def spearman(a: ArrayLike, b: ArrayLike) -> float | None:
    """Spearman's rank correlation, equal values at their mean rank; None where one side is constant or too short."""
    from scipy.stats import spearmanr  # takes a second, and many that import this never ask

    sides = np.asarray(a), np.asarray(b)
    if any(len(side) < 2 or (side == side[0]).all() for side in sides):
        return None
    return float(spearmanr(*sides).statistic)
