"""The chosen rows with their ranks, by source and row."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.errors import StoreError
from attention_influence.selection.cutting.budgets import Budget
from attention_influence.selection.cutting.candidates import ByRank, Candidates, find_candidates, rank
from attention_influence.selection.cutting.count import Counts, count
from attention_influence.selection.cutting.cut import Cut
from attention_influence.selection.cutting.histogram import Integers
from attention_influence.selection.ranking.ranking import Ranking
from attention_influence.selection.record import SelectionRecord, Threshold
from attention_influence.selection.rule import Rule
from attention_influence.store.reader import ScoreStore

_BATCH_ROWS = 1 << 18


@dataclass(frozen=True)
class ChosenRows:
    """What was chosen of a store."""

    cut: Cut
    thresholds: tuple[Threshold, ...]
    """One for each domain, by name."""
    _domains: tuple[str, ...]
    _candidates: Candidates
    _places: Integers
    """Of the chosen candidates, by the name of their source, then by row."""
    _ranks: npt.NDArray[np.uint32]
    """[candidates]: 1 for the first of its domain; 0 where it is not chosen."""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of those that have chosen rows, sorted."""
        used = np.bincount(self._candidates.source[self._places], minlength=len(self._candidates.sources))
        return tuple(sorted(self._candidates.sources[number] for number in np.flatnonzero(used).tolist()))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """source, row, domain, n_tokens, influence, value and rank (1 = first in its domain), by source and row; source
        and domain as dictionaries.
        """
        rows = self._candidates
        names, domains = (np.array(all_, dtype=object) for all_ in (rows.sources, self._domains))
        for first in range(0, len(self._places), _BATCH_ROWS):
            at = self._places[first : first + _BATCH_ROWS]
            columns = {
                "source": _encoded(rows.source[at], names),
                "row": pa.array(rows.row[at]),
                "domain": _encoded(rows.domain[at], domains),
                "n_tokens": pa.array(rows.tokens[at]),
                "influence": pa.array(rows.influence[at]),
                "value": pa.array(rows.value[at]),
                "rank": pa.array(self._ranks[at].astype(np.int64)),
            }
            yield pa.RecordBatch.from_pydict(columns)


def choose_rows(
    store: ScoreStore,
    rule: Rule,
    order: Ranking,
    *,
    shown: Ranking | None = None,
    earlier: SelectionRecord | None = None,
) -> ChosenRows:
    """What a rule, or the thresholds of an earlier selection, choose of a store.

    `order` ranks the rows; `shown`, by default the same, gives their value. Raises StoreError when no document is
    ranked or a chosen row comes twice, UsageError when the rule's limits cannot be held.
    """
    counts = count(store, order)
    budget = None if earlier else Budget(counts, rule)
    if budget is not None:
        lowest = budget.lowest
    else:
        assert earlier is not None
        cut = earlier.cut(order)
        lowest = _lowest(counts, earlier, order)
    candidates = find_candidates(store, order, shown or order, counts, lowest)
    by_rank = rank(candidates, len(counts.domains))
    if budget is not None:
        taken = budget.documents(candidates, by_rank)
        cut = _cut_after(candidates, by_rank, taken, counts, order)
    else:
        inside = cut.inside_keys(counts.domains, candidates.domain, candidates.key, candidates.tie_hashes)
        taken = np.bincount(candidates.domain[inside], minlength=len(counts.domains))
    ranks = np.zeros(len(candidates.row), dtype=np.uint32)
    for number in np.flatnonzero(taken).tolist():
        ranks[by_rank.of(number)[: taken[number]]] = np.arange(1, taken[number] + 1)
    thresholds = _thresholds(counts, candidates, by_rank, taken, None if rule.temperature is not None else cut)
    del by_rank
    places = _by_key(candidates, np.flatnonzero(ranks).astype(candidates.place_type))
    return ChosenRows(cut, thresholds, counts.domains, candidates, places, ranks)


def _lowest(counts: Counts, earlier: SelectionRecord, ranking: Ranking) -> Integers:
    """[domains]: the place of the histogram in which the threshold lies; −1 where there is none."""
    buckets = earlier.buckets(ranking)
    places = counts.histogram.places(np.array([buckets.get(name, 0) for name in counts.domains], dtype=np.int64))
    return np.where([name in buckets for name in counts.domains], places, -1)


def _cut_after(candidates: Candidates, by_rank: ByRank, taken: Integers, counts: Counts, order: Ranking) -> Cut:
    """The cut after the first `taken` documents of each domain.

    Raises StoreError when the first one left out equals the last one chosen: only a (source, row) that comes twice
    does, for tie hashes are one to one.
    """
    last: dict[str, tuple[int, int]] = {}
    for number in np.flatnonzero(taken).tolist():
        ends = by_rank.of(number)[taken[number] - 1 : taken[number] + 1]
        keys, hashes = candidates.key[ends].tolist(), candidates.tie_hashes(ends).tolist()
        if len(ends) == 2 and (keys[0], hashes[0]) == (keys[1], hashes[1]):
            raise StoreError(
                f"domain {counts.domains[number]!r} holds the same (source, row) more than once, at the threshold. "
                "Two units overlap: score into a new folder."
            )
        last[counts.domains[number]] = keys[0], hashes[0]
    return Cut(order, last)


def _by_key(candidates: Candidates, places: Integers) -> Integers:
    """The places by the name of their source, then by row. Raises StoreError when a (source, row) comes twice."""
    by_name = sorted(range(len(candidates.sources)), key=candidates.sources.__getitem__)
    order = np.empty(len(by_name), dtype=np.uint32)
    order[by_name] = np.arange(len(by_name))
    places = places[np.argsort(order[candidates.source[places]], kind="stable")]
    bounds = [0, *np.cumsum(np.bincount(candidates.source[places], minlength=len(by_name))[by_name]).tolist()]
    for name, (low, high) in zip(by_name, pairwise(bounds), strict=True):
        of_source = places[low:high]
        row = candidates.row[of_source]
        if np.any(row[1:] <= row[:-1]):
            # Units are ranges of files: mostly rows come in order already.
            at = np.argsort(row)
            of_source[:], row = of_source[at], row[at]
            doubled = row[1:][row[1:] == row[:-1]]
            if len(doubled):
                raise StoreError(
                    f"{candidates.sources[name]}, row {doubled[0]:,}: scored in two units of the store, "
                    "so the counts cannot be trusted. Score into a new folder."
                )
    return places


def _thresholds(
    counts: Counts, candidates: Candidates, by_rank: ByRank, taken: Integers, cut: Cut | None
) -> tuple[Threshold, ...]:
    """Those of all domains; without values where there is no `cut` by them."""
    documents, tokens = counts.histogram.totals()

    def of_domain(number: int, name: str) -> Threshold:
        unranked = dict(sorted(counts.unranked.get(name, {}).items()))
        chosen = by_rank.of(number)[: taken[number]]
        single = cut is not None and len(chosen) > 0
        return Threshold(
            domain=name,
            value=candidates.value[chosen[-1]].item() if single else None,
            tie_hash=int(candidates.tie_hashes(chosen[-1:])[0]) if single else None,
            documents=int(documents[number]) + sum(unranked.values()),
            ranked=int(documents[number]),
            unranked=unranked,
            chosen=len(chosen),
            tokens=int(tokens[number]),
            tokens_chosen=int(candidates.tokens[chosen].sum()),
        )

    return tuple(of_domain(number, name) for number, name in enumerate(counts.domains))


def _encoded(numbers: npt.NDArray[Any], names: npt.NDArray[np.object_]) -> pa.DictionaryArray:
    used, indices = np.unique(numbers, return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), pa.array(names[used], pa.string()))
