"""Influence as the text alone suggests it: features of words, and trees fitted to documents that were scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_influence.screening.features import WordCounts, count_words, features_of, words_of
from attention_influence.screening.trees import Trees, fit_trees, trees_from_arrays

_FEWEST = 20
"""Documents; of fewer, trees would be one leaf."""
_FOLDS = 5
_LEAST = -0.99
"""Influence; −1, of a reference loss of 0, has no logarithm."""


@dataclass(frozen=True)
class Predictor:
    """A fitted prediction of influence. No torch, no tokenizer."""

    words: WordCounts
    """Of the documents that it was fitted to."""
    trees: Trees
    """Of ln(1 + influence), which is ln(loss_ref / loss_base)."""

    def predict(self, contents: Sequence[bytes]) -> NDArray[np.float64]:
        """The influence that is expected of each UTF-8 text."""
        if not contents:
            return np.zeros(0)
        return np.expm1(self.trees.predict(np.stack([self.features(content) for content in contents])))

    def features(self, content: bytes, *, counted: bool = False) -> NDArray[np.float64]:
        """See `features_of`."""
        return features_of(content, words_of(content), self.words, counted=counted)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"words": self.words.counts, **self.trees.to_arrays()}


def predictor_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Predictor:
    """What `to_arrays` gave. Raises KeyError where an array is missing."""
    counts = arrays["words"]
    return Predictor(WordCounts(counts, int(counts.sum())), trees_from_arrays(arrays))


def fit_predictor(contents: Sequence[bytes], influence: NDArray[np.float64], seed: int = 0) -> Predictor | None:
    """Fitted to UTF-8 texts and their influence, which is finite; None of fewer than 20.

    A document's words are no part of the counts that its own features are made with.
    """
    if len(contents) < _FEWEST:
        return None
    words = [words_of(content) for content in contents]
    counts = count_words(words)
    rows = [features_of(content, its, counts, counted=True) for content, its in zip(contents, words, strict=True)]
    return Predictor(counts, fit_trees(np.stack(rows), np.log1p(np.maximum(influence, _LEAST)), seed))


def out_of_fold(contents: Sequence[bytes], influence: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """The prediction of each document, of 50 or more, by what was fitted to four fifths of them without it."""
    fold = np.random.default_rng(seed).permutation(len(contents)) % _FOLDS
    predicted = np.empty(len(contents))
    for number in range(_FOLDS):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        predictor = fit_predictor([contents[int(at)] for at in inside], influence[inside], seed)
        assert predictor is not None
        predicted[outside] = predictor.predict([contents[int(at)] for at in outside])
    return predicted
