"""A quality classifier like fastText: hashed words and word pairs, and one linear layer.

Words are runs of letters and digits, and single marks; texts without spaces between words give it little to go by. The
counts of words and of pairs of neighbours are hashed into 2^18 places and scaled to length 1; logistic regression, both
sides weighing the same, says how probable it is that a text is positive. Same examples and seed, same bits: examples go
in the order of their digests, and sums are made on one thread.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, rankdata
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from attention_influence.errors import StoreError
from attention_influence.evidence.examples import Digests, Examples, digest_of
from attention_influence.progress import stage
from attention_influence.storage.atomic_files import write_result
from attention_influence.storage.errors import refused
from attention_influence.storage.filesystems import open_filesystem

_PLACES = 2**18
_WORDS = r"\w+|[^\w\s]"
# About the best of 1, 10, 100 and 1,000 by held-out AUC, on 200 to 2,000 real texts (lab notes).
_STRENGTH = 100.0
_HELD_OUT = 0.2
_Z = 1.96  # 95%

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HeldOut:
    """How well a classifier trained on 80% of the examples tells the other 20% apart, with 95% intervals."""

    examples: int
    auc: float
    auc_interval: tuple[float, float]
    """DeLong et al. 1988."""
    accuracy: float
    """At a probability of one half."""
    accuracy_interval: tuple[float, float]
    """Wilson 1927."""


@dataclass(frozen=True)
class QualityClassifier:
    """Weights, and the digests of the texts that it was trained on."""

    weights: npt.NDArray[np.float32]
    """[2^18]"""
    bias: float
    digests: Digests
    """Ascending."""

    def probabilities(self, texts: Sequence[str]) -> Array:
        """How probable it is that each text is positive, [texts]."""
        logits = _features(texts) @ self.weights.astype(np.float64) + self.bias
        return np.asarray(1 / (1 + np.exp(-logits)), dtype=np.float64)

    def trained_on(self, texts: Sequence[str]) -> int:
        """How many of the texts were examples."""
        digests = np.array([digest_of(text) for text in texts], dtype=np.uint64)
        return int(np.isin(digests, self.digests).sum())

    def save(self, url: str) -> None:
        """Writes an .npz, whole or not at all."""
        sink = io.BytesIO()
        np.savez_compressed(sink, weights=self.weights, bias=np.float64(self.bias), digests=self.digests)
        write_result(url, sink.getvalue())


def load_classifier(url: str) -> QualityClassifier:
    """The classifier that was saved there. Raises StoreError when it is missing or damaged."""
    filesystem, path = open_filesystem(url)
    try:
        with np.load(io.BytesIO(filesystem.cat_file(path)), allow_pickle=False) as arrays:
            found = QualityClassifier(arrays["weights"], float(arrays["bias"]), arrays["digests"])
        if found.weights.shape != (_PLACES,):
            raise ValueError(f"{found.weights.shape} weights")
    except Exception as error:  # a damaged zip has many ways to fail
        raise refused(f"read {url}", error) or StoreError(
            f"{url}: the classifier cannot be read ({error}). Put it back, or train another: --overwrite"
        ) from error
    return found


@stage("training the classifier")
def train(examples: Examples, seed: int) -> tuple[QualityClassifier, HeldOut]:
    """The classifier trained on all examples, and how well one that was trained on 80% does on the others.

    `seed` draws the others.
    """
    features = _features(examples.texts)
    is_positive = np.arange(len(examples.texts)) < examples.positive
    unseen = _held_out(is_positive, seed)
    weights, bias = _fit(features[~unseen], is_positive[~unseen])
    held_out = _judged(np.asarray(features[unseen] @ weights + bias), is_positive[unseen])
    weights, bias = _fit(features, is_positive)
    return QualityClassifier(weights.astype(np.float32), bias, np.sort(examples.digests)), held_out


def _features(texts: Sequence[str]) -> Any:
    """[texts, places], sparse."""
    hashing = HashingVectorizer(token_pattern=_WORDS, ngram_range=(1, 2), n_features=_PLACES, alternate_sign=False)
    return hashing.transform(texts)


def _fit(features: Any, is_positive: npt.NDArray[np.bool_]) -> tuple[Array, float]:
    model = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=1000)
    with threadpool_limits(1):
        model.fit(features, is_positive)
    return model.coef_[0], float(model.intercept_[0])


def _held_out(is_positive: npt.NDArray[np.bool_], seed: int) -> npt.NDArray[np.bool_]:
    """A fifth of each side, rounded up."""
    rng = np.random.default_rng(seed)
    unseen = np.zeros(len(is_positive), dtype=np.bool_)
    for side in (is_positive, ~is_positive):
        places = np.flatnonzero(side)
        unseen[rng.permutation(places)[: math.ceil(_HELD_OUT * len(places))]] = True
    return unseen


def _judged(logits: Array, is_positive: npt.NDArray[np.bool_]) -> HeldOut:
    auc, error = auc_with_error(logits, is_positive)
    right, n = int(((logits > 0) == is_positive).sum()), len(logits)
    wilson = binomtest(right, n).proportion_ci(method="wilson")
    return HeldOut(
        n,
        auc,
        (max(auc - _Z * error, 0.0), min(auc + _Z * error, 1.0)),
        right / n,
        (float(wilson.low), float(wilson.high)),
    )


def auc_with_error(values: npt.ArrayLike, is_positive: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The area under the ROC curve, ties counted half, and its standard error (DeLong et al. 1988)."""
    numbers = np.asarray(values, dtype=np.float64)
    ranks = rankdata(numbers)
    above, below = numbers[is_positive], numbers[~is_positive]
    # Of each positive, the share of negatives below it; of each negative, the share of positives above it.
    of_positive = (ranks[is_positive] - rankdata(above)) / len(below)
    of_negative = 1 - (ranks[~is_positive] - rankdata(below)) / len(above)
    variance = of_positive.var(ddof=1) / len(above) + of_negative.var(ddof=1) / len(below)
    return float(of_positive.mean()), math.sqrt(variance)


def record_of(examples: Examples, held_out: HeldOut) -> dict[str, Any]:
    """How a classifier was made and what it is worth, for the definition of its column."""
    return {
        "kind": "logistic regression on hashed words and pairs of words",
        "places": _PLACES,
        "words": _WORDS,
        "strength": _STRENGTH,
        "held_out": _HELD_OUT,
        "versions": {name: version(name) for name in ("attention-influence", "scikit-learn", "numpy")},
        "positive": examples.positive,
        "negative": len(examples.texts) - examples.positive,
        "given": examples.given,
        "on_both_sides": examples.on_both_sides,
        "result": vars(held_out),
    }
