"""Where each domain is cut: exact, in memory that does not grow with the number of rows.

Rows are ranked by one long integer: the score's order-preserving bits, then the complement of the tie hash (a smaller
hash comes first). The cut is found digit by digit, as in a radix sort: a pass over the store counts, for each domain,
the rows of each leading 16-bit digit; the digit in which the budget runs out is refined by the next pass, among the
rows that share it. Two passes settle a float32 score without ties; four more settle any number of ties.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.errors import StoreError
from attention_influence.scoring.score_store import ScoreStore
from attention_influence.selection.frozen import FrozenThresholds
from attention_influence.selection.ranking import Ranking
from attention_influence.selection.ranking_key import DIGIT_BITS, HASH_DIGITS, Keys, tie_hashes, value_digits
from attention_influence.selection.rule import Rule
from attention_influence.selection.tally import Domain, check_ranked, tally

_HASH_BITS = HASH_DIGITS * DIGIT_BITS
_ALL_ONES = (1 << _HASH_BITS) - 1


@dataclass(frozen=True)
class Cuts:
    """The domains by name order of appearance, and the ranking that was cut."""

    domains: dict[str, Domain]
    ranking: Ranking

    def chosen(self, store: ScoreStore) -> Iterator[pa.RecordBatch]:
        """The chosen rows, in the store's order: source, row, domain, n_tokens, influence, value, key, tie_hash."""
        columns = dict.fromkeys(["source", "row", "domain", "n_tokens", "influence", *self.ranking.columns])
        for batch in store.batches(list(columns)):
            values = self.ranking.values(batch)
            inside = pa.array(self.inside(batch, values))
            batch, values = batch.filter(inside), values.filter(inside)
            hashes = tie_hashes(batch.column("source"), batch.column("row").to_numpy())
            filled = [batch.column("n_tokens").fill_null(0), batch.column("influence"), values]
            filled += [pa.array(self.ranking.keys(values)), pa.array(hashes)]
            keys = [batch.column(name) for name in ("source", "row", "domain")]
            yield pa.RecordBatch.from_arrays(keys + filled, names=CHOSEN_COLUMNS)

    def inside(self, batch: pa.RecordBatch, values: pa.Array) -> npt.NDArray[np.bool_]:
        """Which rows of a batch are chosen; `values` are the ranking's."""
        floors = [domain.floor or 0 for domain in self.domains.values()]
        value_floor = np.array([floor >> _HASH_BITS for floor in floors], dtype=object)
        # A floor above every key chooses nothing; it does not fit in 64 bits, and is told apart here.
        nothing = value_floor > np.iinfo(np.uint64).max
        value_floor = np.where(nothing, 0, value_floor).astype(np.uint64)
        hash_floor = np.array([floor & _ALL_ONES for floor in floors], dtype=np.uint64)
        codes = _codes(batch.column("domain"), {name: i for i, name in enumerate(self.domains)})
        keys = self.ranking.keys(values)
        inside = self.ranking.ranked(batch, values) & ~nothing[codes] & (keys >= value_floor[codes])
        level = np.flatnonzero(inside & (keys == value_floor[codes]))
        tied = batch.take(pa.array(level))
        hashes = tie_hashes(tied.column("source"), tied.column("row").to_numpy())
        inside[level] = ~hashes >= hash_floor[codes[level]]
        return inside


CHOSEN_COLUMNS = ["source", "row", "domain", "n_tokens", "influence", "value", "key", "tie_hash"]


def find_cuts(store: ScoreStore, rule: Rule, ranking: Ranking) -> Cuts:
    """The cut of each domain under a rule. Raises StoreError when no document is ranked."""
    digits = value_digits(ranking.type)
    assert digits is not None
    domains: dict[str, Domain] = {}
    histogram = _count_digit(store, ranking, domains, 0, digits)
    check_ranked(store, domains)
    in_order = [domains[name] for name in sorted(domains)]
    budgets = rule.budgets([domain.ranked for domain in in_order], [domain.tokens for domain in in_order])
    for domain, budget in zip(in_order, budgets, strict=True):
        domain.left = budget
    for digit in range(digits + HASH_DIGITS):
        if digit:
            histogram = _count_digit(store, ranking, domains, digit, digits)
        for code, domain in enumerate(domains.values()):
            if domain.floor is None:
                _settle(domain, histogram[code], (digits + HASH_DIGITS - 1 - digit) * DIGIT_BITS, rule)
        if all(domain.floor is not None for domain in domains.values()):
            return Cuts(domains, ranking)
    name = next(domain.name for domain in domains.values() if domain.floor is None)
    raise StoreError(
        f"{store.url}: domain {name!r} holds the same (source, row) more than once, at the threshold. "
        "Two units overlap: score into a new folder."
    )


def cuts_at(store: ScoreStore, frozen: FrozenThresholds, ranking: Ranking) -> Cuts:
    """The domains cut at frozen thresholds, without a budget; nothing is chosen of a domain that has none.

    Raises StoreError when no document is ranked.
    """
    domains: dict[str, Domain] = {}
    codes_of: dict[str, int] = {}
    columns = ["domain", "n_tokens", "influence", "flag", "reason", *ranking.columns]
    for batch in store.batches(list(dict.fromkeys(columns))):
        values = ranking.values(batch)
        tally(batch, ranking.ranked(batch, values), values, domains, codes_of)
    check_ranked(store, domains)
    for domain in domains.values():
        cut = frozen.cut(domain.name, ranking)
        key, tie_hash = cut if cut is not None else (1 << _HASH_BITS, _ALL_ONES)
        domain.floor = (key << _HASH_BITS) | (_ALL_ONES ^ tie_hash)
    return Cuts(domains, ranking)


def _settle(domain: Domain, buckets: dict[int, tuple[int, int]], rest: int, rule: Rule) -> None:
    """Gives out the budget to whole buckets, highest first, and fixes the floor or the digit to be refined.

    `buckets`: digit → (documents, tokens); `rest`: the bits below this digit.
    """
    for digit in sorted(buckets, reverse=True):
        documents, tokens = buckets[digit]
        cost = tokens if rule.counts_tokens else documents
        if cost <= domain.left:
            domain.left -= cost
            continue
        here = (domain.prefix << DIGIT_BITS) | digit
        if documents == 1 or (domain.left == 0 and not rule.counts_tokens):
            domain.floor = (here + 1) << rest
        domain.prefix = here
        return
    domain.floor = domain.prefix << (rest + DIGIT_BITS)


def _count_digit(
    store: ScoreStore, ranking: Ranking, domains: dict[str, Domain], digit: int, digits: int
) -> dict[int, dict[int, tuple[int, int]]]:
    """Domain's place → digit → (documents, tokens), over the ranked rows that share the domain's prefix.

    The pass over the first digit also makes the domains and their counts.
    """
    columns = ["domain", "n_tokens", "influence", *ranking.columns]
    columns += ["flag", "reason"] if digit == 0 else []
    columns += ["source", "row"] if digit >= digits else []
    codes_of = {name: code for code, name in enumerate(domains)}
    histogram: dict[int, dict[int, tuple[int, int]]] = defaultdict(dict)
    prefixes = [domain.prefix for domain in domains.values()]
    below = max(digit - digits, 0) * DIGIT_BITS
    value_prefix = np.array([prefix >> below for prefix in prefixes], dtype=np.uint64)
    hash_prefix = np.array([prefix & ((1 << below) - 1) for prefix in prefixes], dtype=np.uint64)
    active = np.array([domain.floor is None for domain in domains.values()], dtype=np.bool_)
    for batch in store.batches(list(dict.fromkeys(columns))):
        values = ranking.values(batch)
        ranked = ranking.ranked(batch, values)
        if digit == 0:
            tally(batch, ranked, values, domains, codes_of)
        codes = _codes(batch.column("domain"), codes_of)
        keys = ranking.keys(values)
        if digit == 0:
            here = ranked
        elif digit < digits:
            here = ranked & active[codes] & (_shifted(keys, digits - digit) == value_prefix[codes])
        else:
            here = ranked & active[codes] & (keys == value_prefix[codes])
        place = digits - 1 - digit
        if digit >= digits:
            batch, codes, here = batch.filter(pa.array(here)), codes[here], here[here]
            keys = ~tie_hashes(batch.column("source"), batch.column("row").to_numpy())
            place += HASH_DIGITS
            if digit > digits:
                here = _shifted(keys, place + 1) == hash_prefix[codes]
        leading = _shifted(keys, place) & np.uint64(0xFFFF)
        tokens = batch.column("n_tokens").fill_null(0).to_numpy(zero_copy_only=False)
        _add(histogram, codes[here], leading[here], tokens[here])
    return histogram


def _add(
    histogram: dict[int, dict[int, tuple[int, int]]],
    codes: npt.NDArray[np.int64],
    digits: Keys,
    tokens: npt.NDArray[np.int64],
) -> None:
    both = (codes << DIGIT_BITS) | digits.astype(np.int64)
    buckets, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    sums = np.zeros(len(buckets), dtype=np.int64)
    np.add.at(sums, inverse, tokens)
    for bucket, count, total in zip(buckets.tolist(), counts.tolist(), sums.tolist(), strict=True):
        of_domain = histogram[bucket >> DIGIT_BITS]
        before = of_domain.get(bucket & 0xFFFF, (0, 0))
        of_domain[bucket & 0xFFFF] = (before[0] + count, before[1] + total)


def _codes(domain: pa.Array, codes_of: dict[str, int]) -> npt.NDArray[np.int64]:
    encoded = domain.dictionary_encode()
    codes = np.array([codes_of[name] for name in encoded.dictionary.to_pylist()], dtype=np.int64)
    places: npt.NDArray[np.int64] = codes[encoded.indices.to_numpy()]
    return places


def _shifted(keys: Keys, digits: int) -> Keys:
    return keys >> np.uint64(digits * DIGIT_BITS)
