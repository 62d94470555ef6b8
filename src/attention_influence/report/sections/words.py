"""The section on words: which are frequent in other choices too, and which tell what was kept from what was dropped."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attention_influence.evidence.words import Counts, Distinctive, distinctive_words, frequent_overlap
from attention_influence.report.sample import Sample, largest

SHARES = (0.1, 0.2, 0.5)
"""Of each domain, the tops that are compared (paper, table 4)."""
MOST_DOMAINS = 12
_WORDS = 20
# Of a word's log-odds ratio, in standard deviations; below it words are noise.
_CLEAR = 1.96


@dataclass(frozen=True)
class WordOverlap:
    """One baseline compared with influence: for each of `SHARES`, the overlap by TF and by TF-IDF."""

    ranking: str
    shares: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class DomainWords:
    name: str
    kept: tuple[Distinctive, ...]
    dropped: tuple[Distinctive, ...]


@dataclass(frozen=True)
class Words:
    documents: int
    vocabulary: int
    tops: tuple[float, ...]
    overlaps: tuple[WordOverlap, ...]
    domains: tuple[DomainWords, ...]
    left_out: int
    is_preview: bool


@dataclass(frozen=True)
class Texts:
    """The sampled documents whose texts were read, and their words."""

    members: npt.NDArray[np.int64]
    """Places in the sample."""
    texts: tuple[str, ...]
    counts: Counts
    """[members, words]"""
    words: Sequence[str]


def words_section(sample: Sample, read: Texts) -> Words:
    """The section, out of the sample and those of its texts that were read."""
    overlaps = []
    for name in sample.baselines:
        pairs = [
            frequent_overlap(
                read.counts, *(sample.chosen_by(ranking, share)[read.members] for ranking in ("influence", name))
            )
            for share in SHARES
        ]
        if not any(math.isnan(value) for pair in pairs for value in pair):
            overlaps.append(WordOverlap(name, tuple(pairs)))
    domains = sample.domains[read.members]
    kept = sample.kept[read.members]
    names = largest(domains, MOST_DOMAINS)
    of_domains = [DomainWords(name, *_sides(read, domains == name, kept)) for name in names]
    return Words(
        len(read.texts),
        len(read.words),
        SHARES,
        tuple(overlaps),
        tuple(one for one in of_domains if one.kept or one.dropped),
        len(np.unique(domains)) - len(names),
        sample.is_preview,
    )


def _sides(
    read: Texts, in_domain: npt.NDArray[np.bool_], kept: npt.NDArray[np.bool_]
) -> tuple[tuple[Distinctive, ...], tuple[Distinctive, ...]]:
    words = distinctive_words(read.counts, read.words, in_domain & kept, in_domain & ~kept, _WORDS)
    return tuple(word for word in words if word.z > _CLEAR), tuple(word for word in words if word.z < -_CLEAR)
