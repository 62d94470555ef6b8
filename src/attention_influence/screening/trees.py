"""Gradient-boosted trees as plain arrays: fitted by scikit-learn, evaluated and kept without it, and never pickled."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.ensemble import GradientBoostingRegressor

_TREES, _RATE, _DEPTH, _LEAF, _SUBSAMPLE, _COLUMNS = 300, 0.05, 4, 5, 0.5, 0.3
# Of the features where a document is too short to have one: below all values that there are.
_MISSING = np.float32(-1)


@dataclass(frozen=True)
class Trees:
    """An ensemble; nodes of all trees in one list, a leaf being its own child."""

    roots: NDArray[np.int32]
    """[trees]: places in the list."""
    depth: NDArray[np.int32]
    """[1]: steps from a root that reach a leaf everywhere."""
    feature: NDArray[np.int16]
    threshold: NDArray[np.float64]
    """A document goes left where its feature is at most this."""
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: NDArray[np.float64]
    """Of a leaf, the learning rate included."""
    start: NDArray[np.float64]
    """[1]: what the values are added to."""

    def predict(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """One value for each row of features, [documents, features], as scikit-learn predicts it."""
        rows = _filled(features)
        at = np.tile(self.roots, (len(rows), 1))
        document = np.arange(len(rows))[:, None]
        for _ in range(int(self.depth[0])):
            goes_left = rows[document, self.feature[at]] <= self.threshold[at]
            at = np.where(goes_left, self.left[at], self.right[at])
        total = np.full(len(rows), self.start[0])
        for of_tree in self.value[at].T:  # in its order, so that the sums are equal to the last bit
            total += of_tree
        return total

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def trees_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Trees:
    """What `to_arrays` gave. Raises KeyError where an array is missing."""
    return Trees(**{field.name: arrays[field.name] for field in fields(Trees)})


def fit_trees(features: NDArray[np.float64], target: NDArray[np.float64], seed: int) -> Trees:
    """Trees fitted to `target`, [documents], by squared error; the same for the same documents in the same order."""
    return as_trees(_regressor(seed).fit(_filled(features), target))


def as_trees(fitted: "GradientBoostingRegressor") -> Trees:
    """The arrays of a fitted regressor."""
    trees = [stage[0].tree_ for stage in fitted.estimators_]
    offsets = np.cumsum([0, *(tree.node_count for tree in trees)])
    itself = np.arange(offsets[-1])

    def children(side: str) -> NDArray[np.int32]:
        of_all = np.concatenate([getattr(tree, side) + at for tree, at in zip(trees, offsets, strict=False)])
        return np.where(is_leaf, itself, of_all).astype(np.int32)

    is_leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    return Trees(
        roots=offsets[:-1].astype(np.int32),
        depth=np.array([max(tree.max_depth for tree in trees)], dtype=np.int32),
        feature=np.where(is_leaf, 0, np.concatenate([tree.feature for tree in trees])).astype(np.int16),
        threshold=np.where(is_leaf, 0.0, np.concatenate([tree.threshold for tree in trees])),
        left=children("children_left"),
        right=children("children_right"),
        value=fitted.learning_rate * np.concatenate([tree.value[:, 0, 0] for tree in trees]),
        start=np.ravel(fitted.init_.constant_).astype(np.float64),
    )


def _regressor(seed: int) -> "GradientBoostingRegressor":
    from sklearn.ensemble import GradientBoostingRegressor  # takes a second, and most runs fit nothing

    return GradientBoostingRegressor(
        n_estimators=_TREES,
        learning_rate=_RATE,
        max_depth=_DEPTH,
        min_samples_leaf=_LEAF,
        subsample=_SUBSAMPLE,
        max_features=_COLUMNS,
        random_state=seed,
    )


def _filled(features: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.where(np.isnan(features), _MISSING, features.astype(np.float32))
