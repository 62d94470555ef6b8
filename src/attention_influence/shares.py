"""Shares of a number of things, as exact as they were written."""

import math
from fractions import Fraction


def as_written(share: float) -> Fraction:
    """The decimal fraction: as a binary one, 0.07 of 100 would be a little more than 7, so 8 when rounded up."""
    return Fraction(repr(float(share)))


def count_in(share: float, total: int) -> int:
    """A share of `total` things, rounded up."""
    return math.ceil(as_written(share) * total)
