"""Labelled examples for a quality classifier, out of corpus files: each text once, none on both sides."""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attention_influence.corpus import Columns, read_rows
from attention_influence.corpus.sources import Source
from attention_influence.errors import CorpusError
from attention_influence.progress import stage

FEWEST = 20
"""Examples of a side below which nothing is trained."""

Digests = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Examples:
    """The texts of both sides, the positive first, each side by the digests of its texts."""

    texts: tuple[str, ...]
    positive: int
    """How many of `texts` are positive."""
    digests: Digests
    """[texts]"""
    given: dict[str, int]
    """Side → different texts that were given."""
    on_both_sides: int
    """Different texts that were given as positive and as negative; they are examples of neither."""


@stage("reading examples")
def read_examples(
    positive: Sequence[Source], negative: Sequence[Source], columns: Columns, most: int, seed: int
) -> Examples:
    """At most `most` examples of each side; of more, a random choice by the texts alone, not by their order.

    Raises CorpusError for a side of fewer than 20 different texts.
    """
    sides = {"positive": _Side(positive, columns), "negative": _Side(negative, columns)}
    both = sides["positive"].digests & sides["negative"].digests
    chosen: list[tuple[int, str]] = []
    positives = 0
    for name, side in sides.items():
        of_side = side.some(both, most, seed)
        if len(of_side) < FEWEST:
            raise CorpusError(
                f"{len(of_side)} different {name} examples, {len(both):,} texts that are on both sides not counted: "
                f"too few to train a classifier. Give at least {FEWEST} with --{name}."
            )
        chosen += of_side
        positives = positives or len(of_side)
    return Examples(
        tuple(text for _, text in chosen),
        positives,
        np.array([digest for digest, _ in chosen], dtype=np.uint64),
        {name: len(side.digests) for name, side in sides.items()},
        len(both),
    )


def digest_of(text: str) -> int:
    """64 bits that tell texts apart."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8"), digest_size=8).digest(), "little")


class _Side:
    """One side's files: the digests of its texts; the texts themselves are read again, when it is known which."""

    def __init__(self, sources: Sequence[Source], columns: Columns) -> None:
        self._sources, self._columns = sources, columns
        self.digests = {digest_of(text) for text in self._texts()}

    def some(self, without: set[int], most: int, seed: int) -> list[tuple[int, str]]:
        """(digest, text) of the `most` texts that a seeded hash puts first, by digest."""
        chosen = set(heapq.nsmallest(most, self.digests - without, key=lambda digest: digest_of(f"{seed} {digest}")))
        texts = {}
        for text in self._texts():
            if (digest := digest_of(text)) in chosen:
                texts[digest] = text
        return sorted(texts.items())

    def _texts(self) -> Iterator[str]:
        for source in self._sources:
            for rows in read_rows(source, self._columns):
                yield from (row.text for row in rows if row.text is not None)
