"""Is the head set stable? Detection is run again with one thing changed, and compared with the reference run.

Letters of shapes: N probes, L layers, H heads of a layer; NaN where a layer has no such head.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attention_influence.evidence.statistics import Overlap, middle, overlap
from attention_influence.heads.detect import Detection, Texts, find_sentences, probe_scores
from attention_influence.heads.head_set import Head, as_matrix, rank_heads, standard_error, top_heads
from attention_influence.model.language_model import LanguageModel
from attention_influence.rank_correlation import spearman

_SPLITS = 100
_RESAMPLES = 1000
_ALWAYS = 0.95

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class ProbeRun:
    """One detection, probe by probe."""

    scores_NLH: Scores
    accuracy_N: Scores
    """Share of each probe's answer tokens that the model predicts right."""

    def chosen(self, share: float) -> list[Head]:
        """The top share of the heads by mean score, in rank order, as `detect` chooses them."""
        return _chosen(self.scores_NLH, share)

    def standard_error(self) -> Scores:
        """Of the mean scores, [L, H]; NaN for a single probe."""
        return standard_error(self.scores_NLH)


@dataclass(frozen=True)
class Variation:
    """One detection compared with the reference run."""

    kind: str
    """seed, probe corpus or context."""
    name: str
    probes: int
    spearman: float | None
    """Over the mean retrieval scores of all heads."""
    overlap: Overlap
    """Of the two chosen sets."""
    accuracy: float
    enter: tuple[Head, ...]
    """Chosen here and not in the reference run, in rank order."""
    leave: tuple[Head, ...]


@dataclass(frozen=True)
class Halves:
    """Two random halves of the reference run's probes, against each other; means of 100 splits, and their 5% to 95%."""

    probes: int
    """Of a half."""
    spearman: float
    spearman_range: tuple[float, float]
    overlap: float
    overlap_range: tuple[float, float]
    chance: float


@dataclass(frozen=True)
class Certainty:
    """How sure the choice is, by drawing the reference run's probes again with replacement, 1,000 times."""

    chosen_share: dict[Head, float]
    """Of every head that was chosen at least once, the share of the draws in which it was; the highest first."""
    sure: int
    """Heads chosen in at least 95% of the draws."""
    of: int
    """Heads to choose."""


def run_probes(
    model: LanguageModel, texts: Texts, asked: Detection, progress: Callable[[int], None] = lambda more: None
) -> ProbeRun:
    """All of a detection's probes. Raises ProbeError when the texts do not give enough sentences."""
    scores, accuracy = [], []
    sentences, _ = find_sentences(model, texts, asked.seed)
    for _, of_probe, right in probe_scores(model, sentences, asked):
        scores.append(of_probe)
        accuracy.append(right)
        progress(1)
    return ProbeRun(np.array(scores), np.array(accuracy))


def compare_runs(kind: str, name: str, run: ProbeRun, reference: ProbeRun, share: float) -> Variation:
    """A run compared with the reference run."""
    here, there = run.chosen(share), reference.chosen(share)
    return Variation(
        kind,
        name,
        len(run.scores_NLH),
        spearman(_by_head(run.scores_NLH.mean(0)), _by_head(reference.scores_NLH.mean(0))),
        _overlap(run.scores_NLH, reference.scores_NLH, share),
        float(run.accuracy_N.mean()),
        tuple(head for head in here if head not in there),
        tuple(head for head in there if head not in here),
    )


def split_halves(run: ProbeRun, share: float, seed: int) -> Halves | None:
    """Halves of one run; None for fewer than two probes."""
    half = len(run.scores_NLH) // 2
    if not half:
        return None
    rng = np.random.default_rng(seed)
    correlations, overlaps = [], []
    for _ in range(_SPLITS):
        order = rng.permutation(len(run.scores_NLH))
        one, other = run.scores_NLH[order[:half]], run.scores_NLH[order[half : 2 * half]]
        correlations.append(spearman(_by_head(one.mean(0)), _by_head(other.mean(0))))
        both = _overlap(one, other, share)
        overlaps.append(both.share)
    known = [value for value in correlations if value is not None] or [np.nan]
    spearman_mean, overlap_mean = float(np.mean(known)), float(np.mean(overlaps))
    return Halves(half, spearman_mean, middle(known, 0.9), overlap_mean, middle(overlaps, 0.9), both.chance)


def certainty(run: ProbeRun, share: float, seed: int) -> Certainty:
    """How often each head is chosen when the run's probes are drawn again."""
    rng = np.random.default_rng(seed)
    n = len(run.scores_NLH)
    counts: dict[Head, int] = {}
    for _ in range(_RESAMPLES):
        weights_N = rng.multinomial(n, np.full(n, 1 / n)) / n
        for head in top_heads(as_matrix(np.einsum("n,nlh->lh", weights_N, run.scores_NLH)), share):
            counts[head] = counts.get(head, 0) + 1
    shares = {head: counts[head] / _RESAMPLES for head in sorted(counts, key=lambda head: (-counts[head], head))}
    sure = sum(chosen >= _ALWAYS for chosen in shares.values())
    return Certainty(shares, sure, len(run.chosen(share)))


def _chosen(scores_NLH: Scores, share: float) -> list[Head]:
    return top_heads(as_matrix(scores_NLH.mean(0)), share)


def _overlap(one_NLH: Scores, other_NLH: Scores, share: float) -> Overlap:
    heads = sorted(rank_heads(as_matrix(one_NLH.mean(0))))
    sets = [set(_chosen(scores, share)) for scores in (one_NLH, other_NLH)]
    one, other = (np.array([head in chosen for head in heads]) for chosen in sets)
    return overlap(one, other)


def _by_head(mean_LH: Scores) -> Scores:
    return mean_LH[~np.isnan(mean_LH)]
