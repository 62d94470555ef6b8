import numpy as np
import pytest
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from attention_influence.screening.line import fit_line, line_from_arrays


def documents(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 12)) * np.logspace(-3, 3, 12)
    return features, features[:, 6] / 3 - features[:, 3] * 50 + rng.normal(scale=0.1, size=n)


def test_inside_the_range_it_is_scikit_learns_ridge_regression() -> None:
    features, target = documents(300, 0)
    line = fit_line(features, target)
    scaler = StandardScaler().fit(features)
    fitted = RidgeCV(np.logspace(-1, 3, 9)).fit(scaler.transform(features), target)
    assert line.predict(features) == pytest.approx(fitted.predict(scaler.transform(features)))


def test_outside_it_a_feature_counts_as_the_end_of_its_range() -> None:
    features, target = documents(100, 0)
    line = fit_line(features, target)
    high = features.max(axis=0)[None]
    assert line.predict(high + 1e6) == pytest.approx(line.predict(high))


def test_a_feature_that_is_missing_counts_as_its_mean_and_one_that_never_varies_not_at_all() -> None:
    features, target = documents(100, 0)
    features[:, 0] = np.nan
    features[:, 1] = 3.0
    features[:50, 2] = np.nan
    line = fit_line(features, target)
    some, same = features[60:70].copy(), features[60:70].copy()
    some[:, 2], same[:, 2] = np.nan, np.nanmean(features[:, 2])
    some[:, 1], some[:, 0] = 77.0, 5.0
    assert line.predict(some) == pytest.approx(line.predict(same))
    assert np.isfinite(line.predict(some)).all()


def test_arrays_are_all_that_is_needed() -> None:
    line = fit_line(*documents(100, 0))
    others, _ = documents(50, 1)
    arrays = line.to_arrays()
    assert np.array_equal(line_from_arrays(arrays).predict(others), line.predict(others))
    assert np.array_equal(np.concatenate([line.predict(row[None]) for row in others]), line.predict(others))
    del arrays["line_low"]
    with pytest.raises(KeyError, match="line_low"):
        line_from_arrays(arrays)
