import numpy as np
import pytest

from attention_influence.screening.trees import Trees, _filled, _regressor, as_trees, fit_trees, trees_from_arrays


def documents(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 12))
    target = features[:, 0] * (2 + features[:, 1]) + rng.normal(scale=0.1, size=n)
    features[rng.random(features.shape) < 0.05] = np.nan
    return features, target


def test_predictions_are_scikit_learns_to_the_last_bit() -> None:
    features, target = documents(300, 0)
    fitted = _regressor(seed=3).fit(_filled(features), target)
    others, _ = documents(1000, 1)
    assert np.array_equal(as_trees(fitted).predict(others), fitted.predict(_filled(others)))
    assert np.corrcoef(fitted.predict(_filled(others)), documents(1000, 1)[1])[0, 1] > 0.5


def test_equal_documents_in_equal_order_give_equal_trees() -> None:
    one, two = (fit_trees(*documents(100, 0), seed=1) for _ in range(2))
    for name, values in one.to_arrays().items():
        assert np.array_equal(values, two.to_arrays()[name]), name


def test_arrays_are_all_that_is_needed() -> None:
    trees = fit_trees(*documents(100, 0), seed=0)
    arrays = trees.to_arrays()
    again = trees_from_arrays(arrays)
    others, _ = documents(50, 1)
    assert np.array_equal(again.predict(others), trees.predict(others))
    del arrays["left"]
    with pytest.raises(KeyError, match="left"):
        trees_from_arrays(arrays)


def test_few_equal_documents_give_one_leaf() -> None:
    trees: Trees = fit_trees(np.ones((6, 12)), np.full(6, 0.25), seed=0)
    assert trees.predict(np.zeros((2, 12))).tolist() == [0.25, 0.25]
