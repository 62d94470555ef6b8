"""The cut: how low a prediction may be before its document is left out, so that few of the top documents are lost.

**What is promised.** Of N documents the top, T, are the count_in(top, N) of highest influence, ties broken by any one
order. A sample is drawn uniformly without replacement. One part of it, F, fits a prediction; the other, S, of n
documents, says where to cut. F, S and all documents with a prediction at or above the cut are scored. With probability
≥ `confidence` over the draw of S, at least the share `keep_recall` of T is scored; b more than that may be lost.

**How.** c, the `misses` that S may have, follows from sizes and promise alone: the largest number with
P(hypergeometric(N − |F|, b + 1 + c, n) ≤ c) ≤ 1 − confidence. A cut holds when, of the documents of S with a prediction
below it, at most c have an influence as high as the (|T| − b)-th of all that are scored. A provisional cut is guessed
from S alone, and all above it scored. The final cut is the (c + 1)-th lowest prediction among the documents of S that
are as influential as the (|T| − b)-th of those; or the provisional one, if that is lower. To score what lies between
can only raise the (|T| − b)-th, so the final cut holds.

**Why it holds.** Suppose that more than b of T are not scored. Then fewer than |T| − b are, and the (|T| − b)-th of all
scored documents is none of T, so every document of S and T below the cut is as influential. Let j ≤ c be their number.
Below the cut are then at least b + 1 + j of T outside F. Let B be the b + 1 + c documents of T outside F with the
lowest predictions (if T has fewer, with any others). The first b + 1 + j of them lie below the cut, so of these at most
j are in S, and of B at most c. F alone decides B, and S is drawn uniformly from all but F: that so few of B are in S
has at most the probability above. It does not matter how the cut was found.

Nothing is assumed of the model or of how well the prediction does: a poor one gives a low cut, which saves little. It
is assumed that the sample is uniform. A sample too small for c = 0 gives no cut.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from attention_influence.shares import count_in


@dataclass(frozen=True)
class Promise:
    """What screening must keep."""

    top: float = 0.2
    """Share of a domain's documents that is to be found."""
    keep_recall: float = 0.95
    """Share of these that must be scored exactly …"""
    confidence: float = 0.9
    """… with at least this probability, over the draw of the sample."""

    def must_find(self, documents: int) -> int:
        """|T| − b: how many of the top must be scored."""
        top = count_in(self.top, documents)
        return top - math.floor(top - self.keep_recall * top)


@dataclass(frozen=True)
class Sizes:
    """Of a domain: all its documents, and the parts of the sample."""

    documents: int
    fitted: int
    chose: int

    def misses(self, promise: Promise) -> int | None:
        """c; None where no cut can hold."""
        from scipy.stats import hypergeom  # takes a second, and most runs plan nothing

        lost = count_in(promise.top, self.documents) - promise.must_find(self.documents)
        others = self.documents - self.fitted

        def is_allowed(misses: int) -> bool:
            of_top = lost + 1 + misses
            few = hypergeom.cdf(misses, others, of_top, self.chose)
            return of_top <= others and bool(few <= 1 - promise.confidence)

        return _last(is_allowed, self.chose)


def smallest_sample(documents: int, fitted: int, promise: Promise) -> int:
    """The fewest documents in S for which a cut can hold."""

    def is_too_few(chose: int) -> bool:
        return Sizes(documents, fitted, chose).misses(promise) is None

    found = _last(is_too_few, documents - fitted)
    return 0 if found is None else found + 1


def _last(holds: Callable[[int], bool], most: int) -> int | None:
    """The last number from 0 up to `most` for which `holds`, which does so up to some number; None where for none."""
    low, high = -1, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low if low >= 0 else None


def provisional_cut(by_influence: NDArray[np.float64], misses: int, promise: Promise) -> float:
    """Where the final cut is expected. `by_influence`: the predictions of S, those of highest influence first."""
    first = max(misses + 1, round(promise.keep_recall * promise.top * len(by_influence)))
    return float(np.sort(by_influence[:first])[misses])


def final_cut(
    provisional: float,
    predicted: NDArray[np.float64],
    more_influential: NDArray[np.int64],
    misses: int,
    must_find: int,
) -> float:
    """The cut that holds. Of each document of S: its prediction, and how many scored documents have a higher influence.

    Scored are the sample and all with a prediction at or above `provisional`.
    """
    candidates = np.sort(predicted[more_influential < must_find])
    return min(provisional, float(candidates[misses])) if len(candidates) > misses else provisional


class HigherCounts:
    """How many of many documents have a higher influence than each of a few."""

    def __init__(self, influence: NDArray[np.float64]) -> None:
        """`influence`: of the few."""
        self._order = np.argsort(influence, kind="stable")
        self._sorted = influence[self._order]
        self._between = np.zeros(len(influence) + 1, dtype=np.int64)

    def add(self, influence: NDArray[np.float64]) -> None:
        """Counts some of the many."""
        places = np.searchsorted(self._sorted, influence, side="left")
        self._between += np.bincount(places, minlength=len(self._between))

    def counts(self) -> NDArray[np.int64]:
        """Of each of the few, in their order."""
        higher = np.empty(len(self._order), dtype=np.int64)
        higher[self._order] = self._between[::-1].cumsum()[::-1][1:]
        return higher


def interval(successes: int, of: int, confidence: float) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a share, two-sided."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(successes, of - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, of - successes, 1 - tail)) if successes < of else 1.0
    return low, high
