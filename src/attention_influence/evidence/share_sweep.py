"""Why 5% of the heads? One sample of documents, scored with the top 1, 2, 5, 10 and 20% of the heads masked."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attention_influence.evidence.statistics import Overlap, in_top, middle, overlap
from attention_influence.heads.head_set import Matrix, top_heads
from attention_influence.model.language_model import LanguageModel
from attention_influence.rank_correlation import spearman
from attention_influence.scoring.lots import in_lots
from attention_influence.scoring.scorer import Scorer

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2)
TOP = 0.2
_RESAMPLES = 1000
# Drawn again, fewer documents than this agree or disagree wholly too often for an interval to mean anything.
_FEWEST = 10

Influences = NDArray[np.float64]
"""One for each document; NaN where it has none."""
Interval = tuple[float, float]


@dataclass(frozen=True)
class DomainAgreement:
    """Of influence under a share of heads and under the default one; intervals are of 95%, from 10 documents on."""

    domain: str
    documents: int
    spearman: float | None
    spearman_interval: Interval | None
    top: Overlap
    """Of the documents in the top 20%."""
    top_interval: Interval | None


@dataclass(frozen=True)
class ShareScores:
    """What one share of heads gives and costs."""

    share: float
    heads: int
    fork_layer: int
    """The lowest layer with a masked head."""
    passes: float
    """Cost in forward passes through the layers: 1 + (T − fork layer) / T."""
    domains: tuple[DomainAgreement, ...]


def sweep_shares(
    model: LanguageModel,
    scores: Matrix,
    documents: Sequence[tuple[str, str]],
    default: float,
    seed: int,
    progress: Callable[[int], None] = lambda more: None,
) -> list[ShareScores]:
    """Each share of the heads against the `default` one, on documents (domain, text); `scores` rank the heads.

    `progress` is called with how many more tokens are scored; each document counts once for each share.
    """
    heads = {share: top_heads(scores, share) for share in sorted({*SHARES, default})}
    forks = {share: min(layer for layer, _ in chosen) for share, chosen in heads.items()}
    influences = {share: _influences(Scorer(model, chosen), documents, progress) for share, chosen in heads.items()}
    layers = len(model.layers)
    return [
        ShareScores(
            share,
            len(heads[share]),
            forks[share],
            1 + (layers - forks[share]) / layers,
            agreements([domain for domain, _ in documents], influences[share], influences[default], seed),
        )
        for share in heads
    ]


def agreements(domains: Sequence[str], one: Influences, other: Influences, seed: int) -> tuple[DomainAgreement, ...]:
    """Of two scores of the same documents, by domain, among those that have both; intervals by bootstrap."""
    rng = np.random.default_rng(seed)
    found = []
    for domain in sorted(set(domains)):
        here = np.array([name == domain for name in domains]) & np.isfinite(one) & np.isfinite(other)
        a, b = one[here], other[here]
        if not len(a):
            continue
        correlations, overlaps = [], []
        for _ in range(_RESAMPLES if len(a) >= _FEWEST else 0):
            drawn = rng.integers(len(a), size=len(a))
            correlations.append(spearman(a[drawn], b[drawn]))
            overlaps.append(_top(a[drawn], b[drawn]).share)
        known = [value for value in correlations if value is not None]
        found.append(
            DomainAgreement(
                domain,
                len(a),
                spearman(a, b),
                middle(known, 0.95) if known else None,
                _top(a, b),
                middle(overlaps, 0.95) if overlaps else None,
            )
        )
    return tuple(found)


def _influences(scorer: Scorer, documents: Sequence[tuple[str, str]], progress: Callable[[int], None]) -> Influences:
    values: list[float] = []
    for lot in in_lots([documents], lambda document: document[1], scorer.pack_tokens):
        scores = scorer.score_prepared(scorer.prepare([text for _, text in lot]), progress=progress)
        values += [math.nan if score.influence is None else score.influence for score in scores]
    return np.array(values)


def _top(a: Influences, b: Influences) -> Overlap:
    return overlap(in_top(a, TOP), in_top(b, TOP))
