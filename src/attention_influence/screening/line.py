"""Ridge regression as plain arrays: fitted by scikit-learn, evaluated and kept without it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

_PENALTIES = np.logspace(-1, 3, 9)


@dataclass(frozen=True)
class Line:
    """A linear function of features, each held to the range that it was fitted in: elsewhere a slope is a guess."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    """[features]: the range."""
    middle: NDArray[np.float64]
    """[features]: the mean, which stands for a feature that a document is too short to have."""
    slope: NDArray[np.float64]
    """[features]"""
    level: NDArray[np.float64]
    """[1]: the value in the middle."""

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """One value for each row of features, [documents, features]."""
        rows = np.where(np.isnan(features), self.middle, np.clip(features, self.low, self.high))
        # Summed row by row, so that a value does not depend on how many are asked for.
        return np.asarray(self.level[0] + ((rows - self.middle) * self.slope).sum(axis=1))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {f"line_{field.name}": getattr(self, field.name) for field in fields(self)}


def line_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Line:
    """What `to_arrays` gave. Raises KeyError where an array is missing."""
    return Line(**{field.name: arrays[f"line_{field.name}"] for field in fields(Line)})


def fit_line(features: NDArray[np.float64], target: NDArray[np.float64]) -> Line:
    """A line fitted to `target`, [documents], by ridge regression; its penalty by leaving one document out."""
    from sklearn.linear_model import RidgeCV  # takes a second, and most runs fit nothing

    known = np.where(np.isnan(features).all(axis=0), 0.0, features)
    low, high, middle = np.nanmin(known, axis=0), np.nanmax(known, axis=0), np.nanmean(known, axis=0)
    centred = np.where(np.isnan(known), middle, known) - middle
    spread = centred.std(axis=0)
    spread[spread == 0] = 1.0
    fitted = RidgeCV(_PENALTIES).fit(centred / spread, target)
    return Line(low, high, middle, fitted.coef_ / spread, np.array([fitted.intercept_]))
