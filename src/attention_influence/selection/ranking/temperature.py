"""A draw instead of a hard cut: documents without replacement, each next one with a chance of exp(value / temperature).

The k documents of highest value / temperature + Gumbel noise are such a draw (Gumbel top-k; Vieira 2014, Kool et al.
2019), so a draw is a ranking like any other. Values count in standard deviations of their domain, so that one
temperature means the same in every domain: at 1, a document one deviation above another is e times as likely to come
next. Towards 0 the draw becomes the hard cut, far above 1 a draw at random.
"""

import math
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.selection.ranking.keys import salted, tie_hashes
from attention_influence.selection.ranking.ranking import Ranking
from attention_influence.store.passes import over_units
from attention_influence.store.reader import ScoreStore

# Integers hold every float64 times this power of two.
_SCALE = 1200
# The square of a larger value is no float64.
_LARGEST = 1e150

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """What decides a draw, beside the values."""

    temperature: float
    seed: int
    standard_deviations: dict[str, float]
    """Of the ranking's values, by domain."""

    def in_words(self, ranking: Ranking) -> str:
        """Which documents come first, for the dataset card."""
        leaning = "lower" if ranking.lowest_first else "higher"
        return (
            f"drawn without replacement, those with a {leaning} `{ranking.column}` more likely (temperature "
            f"{self.temperature:g} in standard deviations of the domain, seed {self.seed}),"
        )


def drawn(ranking: Ranking, draw: Draw) -> Ranking:
    """The ranking whose first documents are a draw by that ranking's values; the noise is of the key and the seed."""

    def values(batch: pa.RecordBatch) -> pa.Array:
        own = ranking.values(batch)
        domains = batch.column("domain").dictionary_encode()
        spreads = np.array([draw.standard_deviations.get(name, 0.0) for name in domains.dictionary.to_pylist()])
        scale = spreads[domains.indices.to_numpy()] * draw.temperature
        numbers = _numbers(own) * (-1 if ranking.lowest_first else 1)
        leaning = np.divide(numbers, scale, out=np.zeros_like(numbers), where=scale > 0)
        hashes = salted(tie_hashes(batch.column("source"), batch.column("row").to_numpy()), f"draw {draw.seed}")
        uniform = ((hashes >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        return pa.array(leaning - np.log(-np.log(uniform)), mask=~own.is_valid().to_numpy(zero_copy_only=False))

    columns = ("source", "row", "domain", *ranking.columns)
    return replace(ranking, columns=columns, type=pa.float64(), values=values, lowest_first=False, seed=draw.seed)


def standard_deviations(store: ScoreStore, ranking: Ranking) -> dict[str, float]:
    """Domain → standard deviation of the ranked documents' values; from exact sums, so that it is the same in whatever
    order rows lie.
    """
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    lock = threading.Lock()

    def add(batches: Iterator[pa.RecordBatch]) -> None:
        for batch in batches:
            values = ranking.values(batch)
            ranked = ranking.ranked(batch, values)
            numbers = np.clip(_numbers(values)[ranked], -_LARGEST, _LARGEST)
            domains = batch.column("domain").filter(pa.array(ranked)).dictionary_encode()
            codes, names = domains.indices.to_numpy(), domains.dictionary.to_pylist()
            figures = (np.bincount(codes, minlength=len(names)).tolist(), *_sums(codes, numbers, len(names)))
            with lock:
                for name, *of_domain in zip(names, *figures, strict=True):
                    sums[name] = [before + more for before, more in zip(sums[name], of_domain, strict=True)]

    for _ in over_units(store, ["domain", "influence", *ranking.columns], add):
        pass
    return {name: _deviation(*of_domain) for name, of_domain in sorted(sums.items()) if of_domain[0]}


def _deviation(count: int, total: int, squares: int) -> float:
    mean = Fraction(total, count << _SCALE)
    return math.sqrt(max(Fraction(squares, count << _SCALE) - mean * mean, Fraction(0)))


def _sums(codes: npt.NDArray[np.int32], numbers: Array, count: int) -> tuple[list[int], list[int]]:
    """By code, the exact sums of the numbers and of their (rounded) squares, times 2 ** _SCALE."""
    return _sum(codes, numbers, count), _sum(codes, numbers * numbers, count)


def _sum(codes: npt.NDArray[np.int32], numbers: Array, count: int) -> list[int]:
    mantissas, exponents = np.frexp(numbers)
    whole = (mantissas * 2.0**53).astype(np.int64)
    keys, inverse = np.unique(codes.astype(np.int64) * 4096 + exponents + 2048, return_inverse=True)
    # Halves of 27 bits and less: a batch's sums of them are exact in float64.
    low = np.bincount(inverse, weights=whole & ((1 << 26) - 1), minlength=len(keys))
    high = np.bincount(inverse, weights=whole >> 26, minlength=len(keys))
    sums = [0] * count
    for key, small, large in zip(keys.tolist(), low.tolist(), high.tolist(), strict=True):
        sums[key // 4096] += ((int(large) << 26) + int(small)) << (key % 4096 - 2048 + _SCALE - 53)
    return sums


def _numbers(values: pa.Array) -> Array:
    """As float64, 0 for null."""
    return np.asarray(values.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.float64)
