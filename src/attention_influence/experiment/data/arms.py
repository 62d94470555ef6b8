"""Which documents an arm is trained on, how often, and in which order a seed sees them.

An arm is a pool of document copies: those of the corpus, those that a ranking gives once more, or the latter only. A
ranking gives exactly a share of each domain's tokens, the documents that it ranks first; the last one is cut where the
share is full, so that arms of one share add equally many tokens to the token.

Every epoch runs through the pool in an order that a hash of seed, epoch, copy and document decides. So documents that
two arms have in common come in the same order in both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.corpus.formats import format_of
from attention_influence.corpus.sources import Source
from attention_influence.errors import UsageError
from attention_influence.experiment.data.token_file import Documents, Integers
from attention_influence.experiment.settings import LENGTH_MATCHED, Arm
from attention_influence.selection.cutting.chosen import choose_rows
from attention_influence.selection.ranking.keys import is_ranked, order_keys
from attention_influence.selection.ranking.ranking import open_ranking
from attention_influence.selection.rule import Rule
from attention_influence.selection.screened import screening_of
from attention_influence.shares import as_written
from attention_influence.store.reader import ScoreStore
from attention_influence.store.row_hashes import coded, salted

_LENGTH_BINS = 20
_MOST_ROWS = 1 << 20


@dataclass(frozen=True)
class Added:
    """What a ranking gives: documents, and how many tokens of each, all but the last of a domain whole."""

    document: Integers
    tokens: Integers


@dataclass(frozen=True)
class Pool:
    """The copies of documents that an arm's epochs run through; arrays have one entry for each."""

    document: Integers
    tokens: Integers
    """From the document's beginning."""
    copy: Integers
    """0, and 1 for those that come a second time."""

    @property
    def epoch_tokens(self) -> int:
        return int(self.tokens.sum())

    def order(self, documents: Documents, seed: int, epoch: int) -> Integers:
        """The places of all copies, in the order of one epoch."""
        hashes = np.empty(len(self.document), dtype=np.uint64)
        for copy in range(int(self.copy.max(initial=0)) + 1):
            of_copy = self.copy == copy
            salt = f"order {seed} {epoch} {copy}"
            hashes[of_copy] = salted(documents.hashes[self.document[of_copy]], salt)
        return np.argsort(hashes, kind="stable")


@dataclass(frozen=True)
class Rankings:
    """Where the rankings of arms come from."""

    documents: Documents
    store: ScoreStore | None
    sources: Mapping[str, Source]

    def order(self, arm: Arm, seed: int) -> Integers:
        """[documents]: ranks within the domain, 1 for the first, 0 for documents without a value.

        Raises UsageError naming a ranking that there is not.
        """
        name = arm.ranking
        assert name is not None
        if arm.corpus_column is not None:
            return self._by_keys(*self._column_keys(arm.corpus_column, name.startswith("-")))
        if name == LENGTH_MATCHED:
            name = "random"
        if self.store is not None:
            return self._by_store(self.store, name, seed)
        assert name == "random"
        return self._by_keys(
            np.ones(len(self.documents), dtype=np.bool_), salted(self.documents.hashes, f"random {seed}")
        )

    def _by_store(self, store: ScoreStore, name: str, seed: int) -> Integers:
        if screening_of(store.url, store.run) is not None:
            raise UsageError(
                f"{store.url} was scored with --screen, and arms need the scores of all documents: score the corpus "
                "without --screen, into another folder"
            )
        ranks = np.zeros(len(self.documents), dtype=np.int64)
        for batch in choose_rows(store, Rule(top=1.0, rank_by=name), open_ranking(store, name, seed)).batches():
            names, codes = coded(batch.column("source"))
            places = self.documents.places(names, codes, batch.column("row").to_numpy())
            known = places >= 0
            ranks[places[known]] = batch.column("rank").to_numpy()[known]
        if not ranks.any():
            raise UsageError(
                f"{store.url} ranks none of the {len(ranks):,} training documents: they lie in files such as "
                f"{self.documents.sources[0]}. Give the corpus as `score` had it, or omit corpus: for the store's own"
            )
        return ranks

    def _column_keys(self, column: str, reverse: bool) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint64]]:
        """Which documents have a number in a column of the corpus, and keys that rise with it."""
        documents = self.documents
        numbers = np.full(len(documents), np.nan)
        bounds = np.searchsorted(documents.source, np.arange(len(documents.sources) + 1)).tolist()
        for number, name in enumerate(documents.sources):
            source = self.sources[name]
            if column not in (there := format_of(source).column_names(source)):
                raise UsageError(f"{source.url} has no column {column!r}; there are: {', '.join(there)}")
            for first in range(bounds[number], bounds[number + 1], _MOST_ROWS):
                last = min(first + _MOST_ROWS, bounds[number + 1])
                rows = documents.row[first:last]
                for found, values in format_of(source).values_at(source, rows, column, "number"):
                    at = first + np.searchsorted(rows, np.asarray(found))
                    numbers[at] = [_number(value) for value in values]
        array = pa.array(numbers)
        keys = order_keys(array)
        return is_ranked(array), ~keys if reverse else keys

    def _by_keys(self, known: npt.NDArray[np.bool_], keys: npt.NDArray[np.uint64]) -> Integers:
        """Ranks within the domain by falling key, equal ones by the document's hash."""
        documents = self.documents
        ranks = np.zeros(len(documents), dtype=np.int64)
        places = np.flatnonzero(known)
        places = places[np.lexsort((documents.hashes[places], ~keys[places], documents.domain[places]))]
        domain = documents.domain[places]
        first = np.searchsorted(domain, np.arange(len(documents.domains)))
        ranks[places] = np.arange(len(places)) - first[domain] + 1
        return ranks


def added_by(arm: Arm, arms: Mapping[str, Arm], rankings: Rankings, seed: int) -> Added:
    """What an arm's ranking gives to a seed. Raises UsageError, naming the arm, where it ranks too little."""
    share = arm.share if arm.like is None else arms[arm.like].share
    assert share is not None
    documents = rankings.documents
    try:
        ranks = rankings.order(arm, seed)
    except UsageError as error:
        raise UsageError(f"arms.{arm.name}: {error}") from error
    wanted = np.array([int(as_written(share) * tokens) for tokens in documents.of_domains().tolist()], dtype=np.int64)
    group = documents.domain
    if arm.ranking == LENGTH_MATCHED:
        assert arm.like is not None
        model = added_by(arms[arm.like], arms, rankings, seed)
        group, wanted = _length_groups(documents, model)
    given = np.bincount(group[ranks > 0], documents.tokens[ranks > 0], minlength=len(wanted)).astype(np.int64)
    if len(short := np.flatnonzero(given < wanted)):
        domain = documents.domains[int(documents.domain[np.flatnonzero(group == short[0])[0]])]
        raise UsageError(
            f"arms.{arm.name}: {arm.ranking} gives {int(given[short[0]]):,} tokens of domain {domain!r}, fewer than "
            f"the {int(wanted[short[0]]):,} that share {share:g} asks for: documents without a value cannot be chosen. "
            "Lower the share, or score what is missing"
        )
    return _first(documents, ranks, group, wanted)


def pool_of(arm: Arm, documents: Documents, added: Added | None) -> Pool:
    """What an arm runs through, given what its ranking gives."""
    everything = np.arange(len(documents))
    if arm.only is not None:
        assert added is not None
        return Pool(added.document, added.tokens, np.zeros(len(added.document), dtype=np.int64))
    if added is None:
        return Pool(everything, documents.tokens, np.zeros(len(documents), dtype=np.int64))
    copies = np.repeat(np.array([0, 1], dtype=np.int64), [len(documents), len(added.document)])
    return Pool(np.concatenate([everything, added.document]), np.concatenate([documents.tokens, added.tokens]), copies)


def _first(documents: Documents, ranks: Integers, group: Integers, wanted: Integers) -> Added:
    """Of each group, `wanted` tokens of the documents that are ranked first."""
    places = np.flatnonzero(ranks > 0)
    places = places[np.lexsort((ranks[places], group[places]))]
    tokens = documents.tokens[places]
    before = np.cumsum(tokens) - tokens
    first = np.searchsorted(group[places], np.arange(len(wanted)))
    of_group = group[places]
    before -= before[np.minimum(first, len(before) - 1)][of_group] if len(before) else 0
    taken = np.clip(wanted[of_group] - before, 0, tokens)
    used = taken > 0
    return Added(places[used], taken[used])


def _length_groups(documents: Documents, model: Added) -> tuple[Integers, Integers]:
    """([documents]: a group of one domain and similar length, [groups]: the tokens that `model` has of it)."""
    group = np.zeros(len(documents), dtype=np.int64)
    for number in range(len(documents.domains)):
        of_model = model.document[documents.domain[model.document] == number]
        edges = np.zeros(0)
        if len(of_model):
            edges = np.unique(np.quantile(documents.tokens[of_model], np.arange(1, _LENGTH_BINS) / _LENGTH_BINS))
        of_domain = documents.domain == number
        group[of_domain] = number * _LENGTH_BINS + np.searchsorted(edges, documents.tokens[of_domain])
    tokens = np.bincount(group[model.document], model.tokens, minlength=len(documents.domains) * _LENGTH_BINS)
    return group, tokens.astype(np.int64)


def _number(value: object) -> float:
    is_number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
    return float(value) if is_number else np.nan  # type: ignore[arg-type]
