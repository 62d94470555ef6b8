"""A draw instead of a hard cut: documents without replacement, each next one with a chance of exp(value / temperature).

The k documents of highest value / temperature + Gumbel noise are such a draw (Gumbel top-k; Vieira 2014, Kool et al.
2019), so a draw is a ranking like any other. Values count in standard deviations of their domain, so that one
temperature means the same in every domain: at 1, a document one deviation above another is e times as likely to come
next. Towards 0 the draw becomes the hard cut, far above 1 a draw at random.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.selection.ranking.keys import as_float64
from attention_influence.selection.ranking.ranking import Ranking
from attention_influence.store.reader import ScoreStore
from attention_influence.store.row_hashes import coded, salted, tie_hashes

# Of a mean of float64 values, relative to it.
_ROUNDING = 1e-13
# Sums of squares of larger values may be no float64.
_LARGEST = 1e140

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """What decides a draw, apart from the values."""

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
        names, codes = coded(batch.column("domain"))
        spreads = np.array([draw.standard_deviations.get(name, 0.0) for name in names])
        scale = spreads[codes] * draw.temperature
        numbers = as_float64(own) * (-1 if ranking.lowest_first else 1)
        leaning = np.divide(numbers, scale, out=np.zeros_like(numbers), where=scale > 0)
        hashes = salted(tie_hashes(batch.column("source"), batch.column("row").to_numpy()), f"draw {draw.seed}")
        uniform = ((hashes >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        return pa.array(leaning - np.log(-np.log(uniform)), mask=~own.is_valid().to_numpy(zero_copy_only=False))

    columns = ("source", "row", "domain", *ranking.columns)
    return replace(ranking, columns=columns, type=pa.float64(), values=values, lowest_first=False, seed=draw.seed)


def standard_deviations(store: ScoreStore, ranking: Ranking) -> dict[str, float]:
    """Domain → standard deviation of the ranked documents' values; 0 where they differ by no more than rounding."""

    def of_unit(batches: Iterator[pa.RecordBatch]) -> list[dict[str, Any]]:
        return [of_domain for batch in batches for of_domain in of_batch(batch)]

    def of_batch(batch: pa.RecordBatch) -> list[dict[str, Any]]:
        values = ranking.values(batch)
        ranked = pa.array(ranking.ranked(batch, values))
        columns = [batch.column("domain").cast(pa.string()), np.clip(as_float64(values), -_LARGEST, _LARGEST)]
        by_domain = pa.table(columns, ["domain", "value"]).filter(ranked).group_by("domain", use_threads=False)
        statistics = by_domain.aggregate([("value", name) for name in ("count", "mean", "variance")])
        return statistics.to_pylist()  # type: ignore[no-any-return]

    moments: dict[str, tuple[int, float, float]] = {}
    for of_unit_domains in store.over_units(["domain", "influence", *ranking.columns], of_unit):
        for of_domain in of_unit_domains:
            count, mean, variance = (of_domain[f"value_{name}"] for name in ("count", "mean", "variance"))
            before = moments.get(of_domain["domain"], (0, 0.0, 0.0))
            moments[of_domain["domain"]] = _together(before, (count, mean, count * variance))
    return {name: _deviation(*of_domain) for name, of_domain in sorted(moments.items())}


def _together(one: tuple[int, float, float], two: tuple[int, float, float]) -> tuple[int, float, float]:
    """(count, mean, sum of squared differences from the mean) of two sets of values (Chan et al. 1979)."""
    count, apart = one[0] + two[0], two[1] - one[1]
    return count, one[1] + apart * two[0] / count, one[2] + two[2] + apart * apart * one[0] * two[0] / count


def _deviation(count: int, mean: float, squares: float) -> float:
    deviation = math.sqrt(squares / count)
    # Values that are all the same have a mean that is rounded.
    return deviation if deviation > _ROUNDING * abs(mean) else 0.0
