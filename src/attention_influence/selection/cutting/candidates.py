"""Second pass over the store: the rows that may be chosen, as arrays, and their order by rank.

After the counts only these are left: the rows at or above the bucket in which their domain's budget runs out, which are
little more than what is chosen. An array of each column, 32 bytes a row for influence: a billion scored documents of
which a fifth is chosen are 6.4 GB.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.concurrency import in_threads
from attention_influence.errors import StoreError
from attention_influence.selection.cutting.count import Counts, tokens_of
from attention_influence.selection.cutting.histogram import Integers
from attention_influence.selection.ranking.keys import value_digits
from attention_influence.selection.ranking.ranking import Ranking
from attention_influence.store.reader import ScoreStore
from attention_influence.store.row_hashes import Keys, coded, hashes_of_rows, source_seeds

# Domains are sorted together up to this many rows.
_ROWS_AT_A_TIME = 1 << 16

_Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Candidates:
    """The candidates in the order of the store's units; all arrays have their number of elements."""

    sources: tuple[str, ...]
    """Names of the sources, in no order."""
    source: npt.NDArray[np.uint32]
    """Place in `sources`."""
    row: Integers
    domain: npt.NDArray[np.uint32]
    """Place among the domains of the counts."""
    tokens: Integers
    influence: npt.NDArray[np.float32]
    value: npt.NDArray[Any]
    """What the selection shows beside each document; the same array as `influence` where that is shown."""
    key: npt.NDArray[np.unsignedinteger]
    """Of the ranking that decides."""
    seeds: Keys
    """[sources], of tie hashes."""

    @property
    def place_type(self) -> type[np.integer[Any]]:
        """The smallest type that numbers them."""
        return np.uint32 if len(self.row) < 1 << 32 else np.int64

    def tie_hashes(self, at: Integers) -> Keys:
        """Of the candidates at those places."""
        return hashes_of_rows(self.seeds[self.source[at]], self.row[at])


@dataclass(frozen=True)
class ByRank:
    """The places of candidates, domain after domain, in each the first of the ranking first."""

    places: Integers
    bounds: Integers
    """[domains + 1]: domain d has the places [bounds[d], bounds[d + 1])."""

    def of(self, domain: int) -> Integers:
        """The places of a domain's candidates, in order of rank."""
        return self.places[self.bounds[domain] : self.bounds[domain + 1]]


def find_candidates(store: ScoreStore, order: Ranking, shown: Ranking, counts: Counts, lowest: Integers) -> Candidates:
    """The rows whose place in the histogram is at most their domain's `lowest`.

    `order` ranks them; `shown` gives the value that is kept with them.
    """
    documents, _ = counts.histogram.descending()
    total = int(documents[np.arange(documents.shape[1]) <= lowest[:, None]].sum())
    columns: _Columns = {
        "source": np.empty(total, np.uint32),
        "row": np.empty(total, np.int64),
        "domain": np.empty(total, np.uint32),
        "tokens": np.empty(total, np.int64),
        "influence": np.empty(total, np.float32),
        "key": np.empty(total, np.uint32 if value_digits(order.type) == 2 else np.uint64),
    }
    if shown.column != "influence":
        columns["value"] = np.empty(total, pa.array([], shown.type).to_numpy().dtype)
    numbers = {name: number for number, name in enumerate(counts.domains)}
    needed = ["source", "row", "domain", "n_tokens", "influence", *order.columns, *shown.columns]

    def of_unit(batches: Iterator[pa.RecordBatch]) -> list[tuple[list[str], _Columns]]:
        return [_of_batch(batch, order, shown, counts, numbers, lowest) for batch in batches]

    sources: dict[str, int] = {}
    filled = 0
    for parts in store.over_units(needed, of_unit):
        for names, part in parts:
            part["source"] = np.array([sources.setdefault(name, len(sources)) for name in names], np.uint32)[
                part["source"]
            ]
            end = filled + len(part["row"])
            if end > total:
                break
            for name, column in columns.items():
                column[filled:end] = part[name]
            filled = end
    if filled != total:
        raise StoreError(f"{store.url}: its units changed while they were read. Let `score` end, then select again.")
    value = columns.pop("value", columns["influence"])
    return Candidates(tuple(sources), **columns, value=value, seeds=source_seeds(sources))


def rank(candidates: Candidates, domains: int) -> ByRank:
    """The candidates by domain, then by descending key, equal keys by their tie hashes."""
    # Of 16 bits NumPy sorts by radix.
    domain = candidates.domain.astype(np.uint16) if domains <= 1 << 16 else candidates.domain
    places = np.argsort(domain, kind="stable").astype(candidates.place_type)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(candidates.domain, minlength=domains))])
    by_rank = ByRank(places, bounds)
    # Ranges of domains, each of some ten thousand rows, or one larger domain.
    firsts = [0, *(np.flatnonzero(np.diff(bounds[:-1] // _ROWS_AT_A_TIME)) + 1).tolist(), domains]

    def sort(some: range) -> None:
        for number in some:
            of_domain = by_rank.of(number)
            of_domain[:] = of_domain[_descending(candidates, of_domain)]

    for _ in in_threads(sort, (range(low, high) for low, high in pairwise(firsts))):
        pass
    return by_rank


def _descending(candidates: Candidates, places: Integers) -> Integers:
    descending = ~candidates.key[places]
    order = np.argsort(descending)
    along = descending[order]
    equal = along[1:] == along[:-1]
    tied = np.zeros(len(order), dtype=np.bool_)
    tied[1:] |= equal
    tied[:-1] |= equal
    # Most values are unique, and sorting by one column is several times faster than by two.
    at = order[tied]
    order[tied] = at[np.lexsort((candidates.tie_hashes(places[at]), descending[at]))]
    return order


def _of_batch(
    batch: pa.RecordBatch, order: Ranking, shown: Ranking, counts: Counts, numbers: dict[str, int], lowest: Integers
) -> tuple[list[str], _Columns]:
    """The names of a batch's sources, and the columns of its candidates; `source` counts in the names."""
    values = order.values(batch)
    names, codes = coded(batch.column("domain"))
    domain = np.array([numbers[name] for name in names], np.int64)[codes]
    chosen = order.ranked(batch, values) & (counts.histogram.places(order.buckets(values)) <= lowest[domain])
    mask = pa.array(chosen)
    batch, values = batch.filter(mask), values.filter(mask)
    sources, source = coded(batch.column("source"))
    columns: _Columns = {
        "source": source,
        "row": batch.column("row").to_numpy(),
        "domain": domain[chosen],
        "tokens": tokens_of(batch),
        "influence": batch.column("influence").to_numpy(),
        "key": order.keys(values),
    }
    if shown.column != "influence":
        columns["value"] = shown.values(batch).to_numpy(zero_copy_only=False)
    return sources, columns
