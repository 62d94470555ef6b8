"""The cut: how low a prediction may be before its document is left out, so that few of the top documents are lost.

**What is promised.** Of N documents the top are the count_in(top, N) of highest influence, ties broken by one order. A
sample is drawn uniformly without replacement and split at random. One part, F, fits a prediction; the other, S, of n
documents, chooses the cut. With probability ≥ `confidence` over the draw, at least the share `keep_recall` of the top
lies in F or has a prediction at or above the cut.

**How.** The cut is the m-th lowest prediction among the first k by influence of S. Both numbers follow from n and the
promise alone (`places`), never from the data.

**Why it holds.** Write t = top, r = keep_recall, T for the top documents. The promise is broken if the cut loses more
than (1 − r)|T| of T. Then the b = ⌊(1 − r)|T|⌋ + 1 documents of T outside F with the lowest predictions lie below it;
call them B, a set that F alone decides. Below the cut are at most m − 1 of the first k of S. So of B, at most m − 1 are
among the first k of S: either S holds at most m − 1 of B at all; or at least k − m + 1 of T that are not in B, for T
comes first in S by influence, whatever its threshold is.

Given F, and that S holds K of T, the number in B is hypergeometric: K draws from the documents of T outside F, b of
which are in B. The more of T there are to draw from, the smaller it is, and the smaller it is, the likelier are both
events. So they are no likelier than if b documents of T were fixed and S drawn from all N. Then the number in B is
hypergeometric with the share b / N > (1 − r)t, that of the others of T with (|T| − b) / N < r(t + 1/n). Both tails lie
so far from the mean that the binomial's are larger (Uhlmann 1966, Metrika 10). `places` makes the two binomial tails
add up to 1 − confidence or less.

Nothing is assumed of the model or of how well the prediction does: a poor one gives a low cut, which saves little. It
is assumed that the sample is uniform. A sample too small for m = 1 gives no cut.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, betaincinv


@dataclass(frozen=True)
class Promise:
    """What screening must keep."""

    top: float = 0.2
    """Share of a domain's documents that is to be found."""
    keep_recall: float = 0.95
    """Share of these that must be scored exactly …"""
    confidence: float = 0.9
    """… with at least this probability, over the draw of the sample."""


def places(n: int, promise: Promise) -> tuple[int, int] | None:
    """(m, k) of a sample of n: the cut is the m-th lowest prediction among the k of highest influence.

    Of the pairs that keep the promise, the one in which m / k is largest; None where there is none.
    """
    allowed = 1 - promise.confidence
    lost, kept = (1 - promise.keep_recall) * promise.top, promise.keep_recall * (promise.top + 1 / n)
    best = None
    m = 1
    while (left := allowed - bdtr(m - 1, n, lost)) > 0:
        # The fewest with P(Bin ≥ k − m + 1) ≤ left.
        k = int(np.argmax(bdtrc(np.arange(n + 1), n, min(kept, 1.0)) <= left)) + m
        if k <= n and (best is None or m * best[1] > best[0] * k):
            best = m, k
        m += 1
    return best


def smallest_sample(promise: Promise) -> int:
    """The fewest documents in S from which on there is always a cut."""
    n = 1
    while places(n, promise) is None:
        n *= 2
    while n > 1 and places(n - 1, promise) is not None:
        n -= 1
    return n


def choose_cut(by_influence: NDArray[np.float64], promise: Promise) -> float | None:
    """The lowest prediction that is still scored exactly; None where the sample is too small for any cut.

    `by_influence`: the predictions of S, those of highest influence first, ties in the order in which all are broken.
    """
    if not len(by_influence) or (of_sample := places(len(by_influence), promise)) is None:
        return None
    m, k = of_sample
    return float(np.partition(by_influence[:k], m - 1)[m - 1])


def interval(successes: int, of: int, confidence: float) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a share, two-sided."""
    tail = (1 - confidence) / 2
    low = float(betaincinv(successes, of - successes + 1, tail)) if successes else 0.0
    high = float(betaincinv(successes + 1, of - successes, 1 - tail)) if successes < of else 1.0
    return low, high
