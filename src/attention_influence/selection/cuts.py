"""Where each group is cut: exact, by going through the candidates in order of rank."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.errors import StoreError
from attention_influence.selection.groups import Groups, Numbers
from attention_influence.selection.rank_order import RankOrder
from attention_influence.selection.ranking import Ranking
from attention_influence.selection.ranking_key import Keys, tie_hashes
from attention_influence.selection.record_files import Records
from attention_influence.selection.tally import tokens_of

Chooses = Callable[[Records, Numbers, Numbers], npt.NDArray[np.bool_]]
"""Which records are chosen, given the rank of each and the tokens of its group up to it."""


@dataclass(frozen=True)
class Cuts:
    """What was chosen of each group, and the last document of it; arrays by the number of the group."""

    groups: Groups
    ranking: Ranking
    documents: Numbers
    tokens: Numbers
    falling: Keys
    """The complement of the last document's key."""
    hash: Keys
    """Its tie hash."""
    place: Keys
    """Its place among the candidates."""

    def inside(self, batch: pa.RecordBatch, values: pa.Array) -> npt.NDArray[np.bool_]:
        """Which rows of a batch are chosen; `values` are the ranking's."""
        groups = self.groups.of(batch.column("domain"), tokens_of(batch))
        falling, last = ~self.ranking.keys(values), self.falling[groups]
        inside = self.ranking.ranked(batch, values) & (self.documents[groups] > 0) & (falling <= last)
        level = np.flatnonzero(inside & (falling == last))
        tied = batch.take(pa.array(level))
        hashes = tie_hashes(tied.column("source"), tied.column("row").to_numpy())
        inside[level] = hashes <= self.hash[groups[level]]
        return inside


def cut(
    by_rank: RankOrder,
    groups: Groups,
    ranking: Ranking,
    chooses: Chooses,
    keep: Callable[[Records, Numbers], None],
) -> Cuts:
    """The cuts, for a choice that takes the beginning of each group.

    `keep` is given the chosen records and their ranks. Raises StoreError when a document stands on both sides of a cut.
    """
    count = len(groups.all)
    documents, tokens = np.zeros(count, np.int64), np.zeros(count, np.int64)
    last = np.zeros((3, count), np.uint64)
    before: Records | None = None
    for records, ranks, running in in_ranks(by_rank):
        chosen = chooses(records, ranks, running)
        _check_single(before, records, chosen, groups)
        at = np.flatnonzero(chosen)
        of_group = records["group"][at].astype(np.int64)
        # The last of each group in this block; of the same group in the next, a later one.
        ends = at[np.flatnonzero(np.diff(of_group, append=-1))]
        numbers = records["group"][ends]
        documents[numbers], tokens[numbers] = ranks[ends], running[ends]
        for row, name in zip(last, ("falling", "hash", "place"), strict=True):
            row[numbers] = records[name][ends]
        keep(records[at], ranks[at])
        before = records[-1:][chosen[-1:]]
    return Cuts(groups, ranking, documents, tokens, *last)


def in_ranks(by_rank: RankOrder) -> Iterator[tuple[Records, Numbers, Numbers]]:
    """(records, their ranks in their groups from 1 on, the tokens of their groups up to them), in order of rank."""
    group, documents, tokens = -1, 0, 0
    for records in by_rank.sorted():
        of_row = records["group"].astype(np.int64)
        starts = np.flatnonzero(np.diff(of_row, prepend=-1))
        lengths = np.diff(starts, append=len(records))
        ranks = np.arange(1, len(records) + 1) - np.repeat(starts, lengths)
        running = np.cumsum(records["tokens"])
        running -= np.repeat(running[starts] - records["tokens"][starts], lengths)
        if of_row[0] == group:
            ranks[: lengths[0]] += documents
            running[: lengths[0]] += tokens
        group, documents, tokens = int(of_row[-1]), int(ranks[-1]), int(running[-1])
        yield records, ranks, running


def _check_single(before: Records | None, records: Records, chosen: npt.NDArray[np.bool_], groups: Groups) -> None:
    """Raises StoreError when the first record left out equals the last that is chosen.

    Only a (source, row) that comes twice does, for tie hashes are one to one.
    """
    if before is not None and len(before):
        records, chosen = np.concatenate([before, records]), np.concatenate([[True], chosen])
    at = np.flatnonzero(chosen[:-1] & ~chosen[1:])
    a, b = records[at], records[at + 1]
    doubled = (a["group"] == b["group"]) & (a["falling"] == b["falling"]) & (a["hash"] == b["hash"])
    if doubled.any():
        name = groups.all[int(a["group"][doubled][0])].domain
        raise StoreError(
            f"domain {name!r} holds the same (source, row) more than once, at the threshold. "
            "Two units overlap: score into a new folder."
        )
