"""How varied a choice of documents is: clusters of their embeddings, and how evenly a choice fills them (paper, 6.2).

The measure is the effective number of clusters, the exponential of the entropy of a choice's shares (Hill 1973): k when
k clusters are filled alike. It grows with the number of documents, so choices are compared at equal numbers of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import entropy
from threadpoolctl import threadpool_limits

from attention_influence.evidence.embedding import Embeddings
from attention_influence.evidence.statistics import middle
from attention_influence.evidence.words import Counts

CLUSTERS = 100
"""The paper's number; fewer where clusters would hold fewer than `FEWEST` documents on average."""
FEWEST = 10
_DRAWS = 200
_WORDS = 5

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Spread:
    """Of one choice, by drawing `size` of its documents 200 times."""

    documents: int
    """In the choice."""
    size: int
    effective: float
    """Effective number of clusters, the mean of the draws."""
    interval: tuple[float, float]
    """5% to 95% of the draws; for a choice of exactly `size` documents all draws are the same."""


@dataclass(frozen=True)
class Cluster:
    """One cluster and the share of it that was kept."""

    words: tuple[str, ...]
    """Its key words, by class-based TF-IDF (Grootendorst 2022) times the log of clusters over those with the word."""
    documents: int
    kept: int


def cluster(embeddings: Embeddings, seed: int) -> Labels:
    """The cluster of each document, by K-means; at most 100 clusters. There must be at least 2 × `FEWEST` documents."""
    from sklearn.cluster import KMeans  # takes a second, and not every report needs it

    number = min(CLUSTERS, len(embeddings) // FEWEST)
    with threadpool_limits(1):  # sums whose bits do not change with the number of threads
        return np.asarray(KMeans(number, n_init=4, random_state=seed).fit_predict(embeddings), dtype=np.int64)


def spreads(labels: Labels, choices: Mapping[str, Mask], seed: int) -> dict[str, Spread]:
    """The spread of each choice that is not empty, all at the size of the smallest."""
    filled = {name: np.flatnonzero(chosen) for name, chosen in choices.items() if chosen.any()}
    size = min((len(members) for members in filled.values()), default=0)
    found = {}
    for name, members in filled.items():
        rng = np.random.default_rng(seed)
        draws = [effective_clusters(labels[rng.choice(members, size, replace=False)]) for _ in range(_DRAWS)]
        found[name] = Spread(len(members), size, float(np.mean(draws)), middle(draws, 0.9))
    return found


def effective_clusters(labels: Labels) -> float:
    """exp(entropy) of the documents' distribution over the clusters."""
    _, counts = np.unique(labels, return_counts=True)
    return float(np.exp(entropy(counts)))


def describe_clusters(labels: Labels, kept: Mask, counts: Counts, words: Sequence[str]) -> list[Cluster]:
    """Every cluster, that of which most was kept first; `counts` of `words` in each document [documents, words]."""
    clusters = np.unique(labels)
    of_cluster = np.stack([np.asarray(counts[np.flatnonzero(labels == one)].sum(0)).ravel() for one in clusters])
    weights = np.zeros(of_cluster.shape)
    if of_cluster.sum():
        totals = np.maximum(of_cluster.sum(1, keepdims=True), 1)
        mean_length = of_cluster.sum() / len(clusters)
        weights = of_cluster / totals * np.log1p(mean_length / np.maximum(of_cluster.sum(0), 1))
        # Words like "the", in whatever language, are in almost every cluster.
        weights *= np.log(len(clusters) / np.maximum((of_cluster > 0).sum(0), 1))
    found = []
    for place, one in enumerate(clusters):
        best = [number for number in np.argsort(-weights[place], kind="stable")[:_WORDS] if weights[place, number] > 0]
        here = labels == one
        found.append(Cluster(tuple(words[number] for number in best), int(here.sum()), int((here & kept).sum())))
    return sorted(found, key=lambda entry: (-entry.kept / entry.documents, -entry.documents, entry.words))


def on_a_plane(embeddings: Embeddings) -> tuple[npt.NDArray[np.float64], float]:
    """(first two principal components [documents, 2], share of the variance that they hold)."""
    from sklearn.decomposition import PCA

    components = PCA(2, svd_solver="full")
    with threadpool_limits(1), np.errstate(invalid="ignore"):  # equal embeddings have no variance to share
        places = np.asarray(components.fit_transform(embeddings.astype(np.float64)))
    share = float(components.explained_variance_ratio_.sum())
    return places, 0.0 if math.isnan(share) else share
