"""The words of choices of documents: which are frequent in two (paper, tables 4 and 11), and which tell them apart.

Words are runs of at least two letters, in lower case; texts without spaces between words give them little to go by.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

FREQUENT = 500
"""Words of each choice that are compared."""
# Of long documents their beginnings: a few books would be the choice otherwise.
CHARACTERS = 20_000
# A word of fewer documents is a name or a slip.
_FEWEST_DOCUMENTS = 3
_PRIOR_WORDS = 1_000.0
_PATTERN = r"[^\W\d_]{2,}"

Counts = Any
"""scipy's sparse matrix of counts [documents, words]."""
Mask = npt.NDArray[np.bool_]
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Distinctive:
    """A word that one of two choices uses more."""

    word: str
    z: float
    """Log-odds ratio in standard deviations; above 0 where the first choice uses it more."""
    first: float
    """Uses in a million words of the first choice; also `second`."""
    second: float


def count_words(texts: Sequence[str]) -> tuple[Counts, list[str]]:
    """(counts [documents, words], words): of words in at least 3 documents, in the first 20,000 characters of each."""
    from sklearn.feature_extraction.text import CountVectorizer  # takes a second, and not every report needs it

    vectorizer = CountVectorizer(token_pattern=_PATTERN, min_df=min(_FEWEST_DOCUMENTS, len(texts)), dtype=np.int64)
    try:
        counts = vectorizer.fit_transform(text[:CHARACTERS] for text in texts)
    except ValueError:  # not one word
        from scipy.sparse import csr_array

        return csr_array((len(texts), 0), dtype=np.int64), []
    return counts, vectorizer.get_feature_names_out().tolist()


def frequent_overlap(counts: Counts, one: Mask, other: Mask) -> tuple[float, float]:
    """Share of the 500 most frequent words of one choice that are among those of the other: by TF, and by TF-IDF.

    TF-IDF: uses in the choice times the log of documents over documents with the word. Not a number without words.
    """
    weight = np.log(counts.shape[0] / np.maximum(_column_sums(counts > 0), 1))
    frequencies = [_column_sums(counts[np.flatnonzero(mask)]) for mask in (one, other)]
    return _common(*frequencies), _common(*(frequency * weight for frequency in frequencies))


def distinctive_words(counts: Counts, words: Sequence[str], first: Mask, second: Mask, most: int) -> list[Distinctive]:
    """Of each choice, the `most` words that tell it most clearly from the other: those of the first, then the second's.

    Log-odds ratios with an informative Dirichlet prior (Monroe, Colaresi and Quinn 2008), the words of both choices
    together, at a weight of 1,000 words.
    """
    uses = [_column_sums(counts[np.flatnonzero(mask)]) for mask in (first, second)]
    totals = [float(counted.sum()) for counted in uses]
    if not all(totals):
        return []
    prior = _PRIOR_WORDS * (uses[0] + uses[1]) / sum(totals)
    known = np.flatnonzero(prior)
    if len(known) < 2:  # a word's odds are against the others
        return []
    odds, variance = np.zeros(len(known)), np.zeros(len(known))
    for sign, counted, total in zip((1, -1), uses, totals, strict=True):
        seen = counted[known] + prior[known]
        odds += sign * (np.log(seen) - np.log(total + _PRIOR_WORDS - seen))
        variance += 1 / seen
    z = odds / np.sqrt(variance)
    order = np.argsort(-z, kind="stable")
    ends = [place for place in order[:most] if z[place] > 0] + [place for place in order[::-1][:most] if z[place] < 0]
    return [
        Distinctive(
            words[known[place]],
            float(z[place]),
            *(float(counted[known[place]]) / total * 1e6 for counted, total in zip(uses, totals, strict=True)),
        )
        for place in ends
    ]


def _column_sums(counts: Counts) -> Array:
    return np.asarray(counts.sum(0), dtype=np.float64).ravel()


def _common(one: Array, other: Array) -> float:
    tops = [
        {place for place in np.argsort(-counted, kind="stable")[:FREQUENT] if counted[place] > 0}
        for counted in (one, other)
    ]
    return len(tops[0] & tops[1]) / len(tops[0]) if tops[0] else math.nan
