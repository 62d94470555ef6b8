"""What screening would save of a corpus, from a random sample of it that is smaller than screening's own may be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attention_influence.screening.guarantee import Promise, places
from attention_influence.screening.plan import LEAST_SAVED
from attention_influence.screening.predictor import out_of_fold

_FEWEST = 50


@dataclass(frozen=True)
class Forecast:
    """What is expected of one domain."""

    spared_tokens: float | None
    """Share of all its tokens that the model would not see; None where that cannot be told."""
    spearman: float | None = None
    """Of influence and its prediction by what was fitted to other documents; None where one side is constant."""
    why: str | None = None
    """It is not told, or zero."""


def forecast(
    promise: Promise,
    calibration: int,
    documents: float,
    contents: Sequence[bytes],
    influence: NDArray[np.float64],
    tokens: NDArray[np.int64],
) -> Forecast:
    """Of a domain of `documents` documents, of which those of `contents` were scored and `calibration` would be first.

    The cut lies where that of `calibration` documents is expected: at the same quantile of the predictions of the same
    top share. Predictions are of documents that they were not fitted to.
    """
    if documents < 2 * calibration:
        return Forecast(0.0, why=f"{documents:,.0f} documents are too few for a sample of {calibration:,}")
    of_sample = places(calibration // 2, promise)
    if of_sample is None:
        return Forecast(0.0, why=f"a sample of {calibration:,} is too small for any cut; raise --calibration")
    if len(contents) < _FEWEST:
        why = f"{len(contents):,} sampled documents are too few to tell ({_FEWEST} are needed); raise --sample-tokens"
        return Forecast(None, why=why)
    from scipy.stats import spearmanr  # takes a second

    predicted = out_of_fold(contents, influence)
    varied = np.ptp(predicted) > 0 and np.ptp(influence) > 0
    spearman = float(spearmanr(predicted, influence).statistic) if varied else None
    lowest, first = (place * len(contents) / (calibration // 2) for place in of_sample)
    of_top = np.sort(predicted[np.argsort(-influence, kind="stable")[: math.ceil(first)]])
    spared = float(tokens[predicted < of_top[max(math.floor(lowest) - 1, 0)]].sum() / tokens.sum())
    if spared < LEAST_SAVED:
        return Forecast(0.0, spearman, f"it would save only {spared:.0%} of the tokens that are left")
    return Forecast((1 - calibration / documents) * spared, spearman)
