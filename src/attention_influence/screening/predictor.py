"""Influence as the text alone suggests it: a line and trees, fitted to features of documents that were scored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_influence.screening.features import Text, WordCounts, count_words, features_of
from attention_influence.screening.line import Line, fit_line, line_from_arrays
from attention_influence.screening.trees import Trees, fit_trees, trees_from_arrays

_FEWEST = 20
"""Documents; of fewer, trees would be one leaf."""
_FOLDS = 5
_LEAST = -0.99
"""Influence; −1, of a reference loss of 0, has no logarithm."""


@dataclass(frozen=True)
class Predictor:
    """A fitted prediction of influence. No torch, no tokenizer.

    A line does better on few documents, trees on many, and the mean of both better than either.
    """

    words: WordCounts
    """Of the documents that it was fitted to."""
    line: Line
    trees: Trees
    """Both of ln(1 + influence), which is ln(loss_ref / loss_base)."""

    def predict(self, texts: Sequence[Text]) -> NDArray[np.float64]:
        """The influence that is expected of each text, in tokens or words as those that it was fitted to."""
        if not texts:
            return np.zeros(0)
        rows = np.stack([features_of(text, self.words) for text in texts])
        return np.asarray(np.expm1((self.line.predict(rows) + self.trees.predict(rows)) / 2))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        return {"words": self.words.counts, **self.line.to_arrays(), **self.trees.to_arrays()}


def predictor_from_arrays(arrays: Mapping[str, NDArray[Any]]) -> Predictor:
    """What `to_arrays` gave. Raises KeyError where an array is missing."""
    counts = arrays["words"]
    return Predictor(WordCounts(counts, int(counts.sum())), line_from_arrays(arrays), trees_from_arrays(arrays))


def fit_predictor(texts: Sequence[Text], influence: NDArray[np.float64], seed: int = 0) -> Predictor | None:
    """Fitted to texts and their influence, which is finite; None of fewer than 20.

    A document's words are no part of the counts that its own features are made with.
    """
    if len(texts) < _FEWEST:
        return None
    counts = count_words(text.words for text in texts)
    rows = np.stack([features_of(text, counts, counted=True) for text in texts])
    target = np.log1p(np.maximum(influence, _LEAST))
    return Predictor(counts, fit_line(rows, target), fit_trees(rows, target, seed))


def out_of_fold(texts: Sequence[Text], influence: NDArray[np.float64], seed: int = 0) -> NDArray[np.float64]:
    """The prediction of each document, of 50 or more, by what was fitted to four fifths of them without it."""
    fold = np.random.default_rng(seed).permutation(len(texts)) % _FOLDS
    predicted = np.empty(len(texts))
    for number in range(_FOLDS):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        predictor = fit_predictor([texts[int(at)] for at in inside], influence[inside], seed)
        assert predictor is not None
        predicted[outside] = predictor.predict([texts[int(at)] for at in outside])
    return predicted
