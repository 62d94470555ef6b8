"""What screening would save of a corpus, from a random sample of it that is smaller than screening's own may be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attention_influence.rank_correlation import spearman
from attention_influence.screening.features import Text
from attention_influence.screening.guarantee import Promise, Sizes
from attention_influence.screening.plan import LEAST_SAVED
from attention_influence.screening.predictor import out_of_fold
from attention_influence.screening.sample import fitted_of

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
    texts: Sequence[Text],
    influence: NDArray[np.float64],
    tokens: NDArray[np.int64],
) -> Forecast:
    """Of a domain of `documents` documents, of which those of `texts` were scored and `calibration` would be first.

    The cut lies where that of `calibration` documents is expected: at the same quantile of the predictions of the same
    top share. Predictions are of documents that they were not fitted to.
    """
    if documents < 2 * calibration:
        return Forecast(0.0, why=f"{documents:,.0f} documents are too few for a sample of {calibration:,}")
    fitted = fitted_of(calibration)
    misses = Sizes(round(documents), fitted, calibration - fitted).misses(promise)
    if misses is None:
        return Forecast(0.0, why=f"a sample of {calibration:,} is too small for any cut; raise --calibration")
    if len(texts) < _FEWEST:
        why = f"{len(texts):,} sampled documents are too few to tell ({_FEWEST} are needed); raise --sample-tokens"
        return Forecast(None, why=why)
    predicted = out_of_fold(texts, influence)
    agreement = spearman(predicted, influence)
    first = math.ceil(promise.keep_recall * promise.top * len(texts))
    of_top = np.sort(predicted[np.argsort(-influence, kind="stable")[:first]])
    lowest = (misses + 1) * len(texts) / (calibration - fitted)
    spared = float(tokens[predicted < of_top[min(max(math.floor(lowest) - 1, 0), first - 1)]].sum() / tokens.sum())
    if spared < LEAST_SAVED:
        return Forecast(0.0, agreement, f"it would save only {spared:.0%} of the tokens that are left")
    return Forecast((1 - calibration / documents) * spared, agreement)
