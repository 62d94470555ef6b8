"""Which documents a rule, or the thresholds of an earlier selection, take: the beginning of each group's ranks."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from attention_influence.errors import UsageError
from attention_influence.selection.budgets import Supply, budgets, token_limits
from attention_influence.selection.cuts import Chooses, in_ranks
from attention_influence.selection.frozen import FrozenThresholds
from attention_influence.selection.groups import Numbers
from attention_influence.selection.rank_order import RankOrder
from attention_influence.selection.ranking import Ranking
from attention_influence.selection.record_files import Records
from attention_influence.selection.rule import Rule
from attention_influence.selection.tally import Tally

_UNLIMITED = np.iinfo(np.int64).max


class Budgeted:
    """The choice of a rule that gives each group a budget."""

    def __init__(self, tally: Tally, rule: Rule) -> None:
        groups = tally.groups.all
        documents, tokens = tally.histogram.totals(len(groups))
        numbers = sorted(range(len(groups)), key=groups.__getitem__)
        self._rule = rule
        self._supply = Supply(
            numbers, [groups[n] for n in numbers], documents[numbers].tolist(), tokens[numbers].tolist()
        )
        self._limits = token_limits(rule, self._supply)
        self.lowest = self._lowest(tally)
        """For each group, the last place of the histogram that may hold a document to choose."""

    def chooses(self, by_rank: RankOrder) -> Chooses:
        """What takes as much of each group as its budget, floor and cap together say."""
        budget = self._budgets(by_rank)
        if self._rule.counts_tokens:
            return lambda records, ranks, running: running <= budget[records["group"]]
        return lambda records, ranks, running: ranks <= budget[records["group"]]

    def _lowest(self, tally: Tally) -> Numbers:
        documents, tokens = tally.histogram.falling(len(tally.groups.all))
        cost = tokens if self._rule.counts_tokens else documents
        before = np.cumsum(cost, axis=1) - cost
        # One more than the budget: when floors are known to the document, rounding may give another group one token.
        needed = before <= self._by_number(budgets(self._rule, self._supply, self._limits))[:, None] + 1
        needed |= np.cumsum(tokens, axis=1) - tokens < self._by_number(self._limits.fewest)[:, None]
        lowest: Numbers = needed.sum(axis=1) - 1
        return lowest

    def _budgets(self, by_rank: RankOrder) -> Numbers:
        """By number: in documents, or in tokens where the rule counts tokens.

        Documents are whole: a floor in tokens becomes the fewest documents that reach it, a cap the most that stay
        within it.
        """
        limits = self._limits
        if not any(limits.fewest) and all(cap is None for cap in limits.most):
            return self._by_number(budgets(self._rule, self._supply, limits))
        fewest = self._by_number(limits.fewest)
        most = self._by_number([_UNLIMITED if cap is None else cap for cap in limits.most])
        reaching, within = (fewest > 0).astype(np.int64), np.zeros_like(fewest)
        reached = np.where(fewest > 0, _UNLIMITED, 0)
        for records, _, running in in_ranks(by_rank):
            groups = records["group"].astype(np.int64)
            enough = running >= fewest[groups]
            np.minimum.at(reached, groups[enough], running[enough])
            reaching += np.bincount(groups[~enough], minlength=len(fewest))
            within += np.bincount(groups[running <= most[groups]], minlength=len(fewest))
        if not self._rule.counts_tokens:
            return np.maximum(np.minimum(self._by_number(budgets(self._rule, self._supply, limits)), within), reaching)
        exact = replace(limits, fewest=reached[list(self._supply.numbers)].tolist())
        if self._rule.tokens is not None and sum(exact.fewest) > self._rule.tokens:
            raise UsageError(
                f"the documents that reach the floors have {sum(exact.fewest):,} tokens, more than --tokens "
                f"{self._rule.tokens:,}. Raise it, or lower a floor."
            )
        return self._by_number(budgets(self._rule, self._supply, exact))

    def _by_number(self, values: Sequence[int]) -> Numbers:
        """In the order of the groups' numbers."""
        found = np.zeros(len(values), dtype=np.int64)
        found[list(self._supply.numbers)] = np.minimum(values, _UNLIMITED // 2)
        return found


class AtThresholds:
    """The choice of every document at or above frozen thresholds."""

    def __init__(self, tally: Tally, ranking: Ranking, frozen: FrozenThresholds) -> None:
        cuts = [frozen.cut(group.domain, ranking) for group in tally.groups.all]
        buckets = np.array([0 if cut is None else cut.bucket for cut in cuts], dtype=np.int64)
        self._some = np.array([cut is not None for cut in cuts], dtype=np.bool_)
        self._falling = ~np.array([0 if cut is None else cut.key for cut in cuts], dtype=np.uint64)
        self._hash = np.array([0 if cut is None else cut.tie_hash for cut in cuts], dtype=np.uint64)
        self.lowest: Numbers = np.where(self._some, tally.histogram.places(buckets), -1)
        """For each group, the last place of the histogram that may hold a document to choose."""

    def chooses(self, by_rank: RankOrder) -> Chooses:
        """What takes the documents before the threshold, and those equal to it up to its tie hash."""

        def chosen(records: Records, ranks: Numbers, running: Numbers) -> npt.NDArray[np.bool_]:
            groups = records["group"]
            level = (records["falling"] == self._falling[groups]) & (records["hash"] <= self._hash[groups])
            inside: npt.NDArray[np.bool_] = self._some[groups] & (level | (records["falling"] < self._falling[groups]))
            return inside

        return chosen
