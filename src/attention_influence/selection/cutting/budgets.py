"""How much each domain may give: a share of it or its part of a number of tokens, within its cap and floor."""

import math
from collections.abc import Callable, Mapping, Sequence
from operator import add
from typing import Any, NamedTuple

import numpy as np

from attention_influence.errors import UsageError, did_you_mean
from attention_influence.selection.cutting.candidates import ByRank, Candidates
from attention_influence.selection.cutting.count import Counts
from attention_influence.selection.cutting.histogram import Integers
from attention_influence.selection.rule import Rule
from attention_influence.selection.screened import check_enough, screened_out
from attention_influence.shares import as_written, count_in

_UNLIMITED = np.iinfo(np.int64).max


class TokenLimits(NamedTuple):
    """Tokens that each domain's choice must reach, 0 where there is no floor, and must not pass, None without a cap."""

    fewest: list[int]
    most: list[int | None]


class Budget:
    """What a rule lets each domain give of what it has; all lists are in the order of `counts.domains`."""

    def __init__(self, counts: Counts, rule: Rule) -> None:
        """Raises UsageError for a limit of an unknown domain, and for floors that cannot be reached."""
        self._rule = rule
        self._domains = counts.domains
        self._documents, self._tokens = (totals.tolist() for totals in counts.histogram.totals())
        self._unseen = screened_out(counts)
        self._limits = self._token_limits()
        self.lowest = self._lowest(counts)
        """[domains]: the last place of the histogram that may hold a document to choose."""

    def documents(self, candidates: Candidates, by_rank: ByRank) -> Integers:
        """[domains]: how many documents are chosen, the first by rank.

        Documents are whole: a floor in tokens becomes the fewest documents that reach it, a cap the most that stay
        within it. Raises UsageError when the documents that reach the floors have more tokens than the rule allows.
        """
        fewest, most = self._limits
        if not (self._rule.counts_tokens or any(fewest) or any(cap is not None for cap in most)):
            return np.array(self._amounts(self._limits), dtype=np.int64)
        running = [np.cumsum(candidates.tokens[by_rank.of(number)]) for number in range(len(self._domains))]
        if not self._rule.counts_tokens:
            within = [_within(of, _UNLIMITED if cap is None else cap) for of, cap in zip(running, most, strict=True)]
            reaching = [_reaching(of, floor) for of, floor in zip(running, fewest, strict=True)]
            return np.maximum(np.minimum(self._amounts(self._limits), within), reaching)
        reached = [int(of[_reaching(of, floor) - 1]) if floor else 0 for of, floor in zip(running, fewest, strict=True)]
        if self._rule.tokens is not None and sum(reached) > self._rule.tokens:
            raise UsageError(
                f"the documents that reach the floors have {sum(reached):,} tokens, more than --tokens "
                f"{self._rule.tokens:,}. Raise it, or lower a floor."
            )
        amounts = self._amounts(TokenLimits(reached, most))
        return np.array([_within(of, amount) for of, amount in zip(running, amounts, strict=True)], dtype=np.int64)

    def _lowest(self, counts: Counts) -> Integers:
        documents, tokens = counts.histogram.descending()
        cost = tokens if self._rule.counts_tokens else documents
        before = np.cumsum(cost, axis=1) - cost
        # One more than the budget: when floors are known to the document, rounding may give another domain one token.
        needed = before <= np.array(self._amounts(self._limits), dtype=np.int64)[:, None] + 1
        needed |= np.cumsum(tokens, axis=1) - tokens < np.array(self._limits.fewest, dtype=np.int64)[:, None]
        lowest: Integers = needed.sum(axis=1) - 1
        return lowest

    def _amounts(self, limits: TokenLimits) -> list[int]:
        """How many documents, or tokens where the rule counts tokens, each domain may give."""
        if self._rule.tokens is not None:
            return shared_out(self._rule.tokens, self._tokens, *limits)
        assert self._rule.top is not None
        if not self._rule.counts_tokens:
            whole = map(add, self._documents, self._unseen)
            wanted = [count_in(self._share(name), of) for name, of in zip(self._domains, whole, strict=True)]
            check_enough(self._domains, wanted, self._documents)
            return wanted
        shares = [math.floor(as_written(self._rule.top) * tokens) for tokens in self._tokens]
        return [
            max(fewest, share if most is None else min(share, most))
            for share, fewest, most in zip(shares, *limits, strict=True)
        ]

    def _share(self, domain: str) -> float:
        """Of a domain's documents: --top within its floor and cap, as far as those are shares."""
        assert self._rule.top is not None
        cap, floor = self._rule.caps.get(domain, 1.0), self._rule.floors.get(domain, 0.0)
        return max(min(self._rule.top, cap if cap <= 1 else 1.0), floor if floor <= 1 else 0.0)

    def _token_limits(self) -> TokenLimits:
        """Those caps and floors that are tokens, or shares of tokens; shares of documents are part of `_amounts`."""
        rule = self._rule
        for option, limits in (("--floor", rule.floors), ("--cap", rule.caps)):
            for name in limits:
                if name not in self._domains:
                    hint = did_you_mean(name, self._domains, f"there are {', '.join(self._domains)}")
                    raise UsageError(f"{option} {name}={limits[name]}: there is no such domain; {hint}")
        for name, tokens in zip(self._domains, self._tokens, strict=True):
            if rule.floors.get(name, 0) > max(tokens, 1):
                raise UsageError(
                    f"--floor {name}={rule.floors[name]:,}: its ranked documents have only {tokens:,} tokens. Lower it."
                )
        fewest = [floor or 0 for floor in self._in_tokens(rule.floors, math.ceil)]
        if rule.tokens is not None and sum(fewest) > rule.tokens:
            raise UsageError(f"the floors need {sum(fewest):,} tokens, more than --tokens {rule.tokens:,}. Lower them.")
        return TokenLimits(fewest, self._in_tokens(rule.caps, math.floor))

    def _in_tokens(self, limits: Mapping[str, float], rounded: Callable[[Any], int]) -> list[int | None]:
        def of(name: str, tokens: int) -> int | None:
            limit = limits.get(name)
            if limit is None or limit > 1:
                return None if limit is None else int(limit)
            return rounded(as_written(limit) * tokens) if self._rule.counts_tokens else None

        return [of(name, tokens) for name, tokens in zip(self._domains, self._tokens, strict=True)]


def shared_out(total: int, weights: Sequence[int], fewest: Sequence[int], most: Sequence[int | None]) -> list[int]:
    """`total` in whole parts, in proportion to the weights, but no part below its `fewest` or above its `most`.

    Those that a limit holds get it; the rest is shared out over the others. Parts are rounded by largest remainder, an
    equal remainder going to the earlier one. Their sum is `total`, less where caps hold all of them. A `most` below its
    `fewest` counts as that. `fewest` must sum to at most `total`.
    """
    caps = [max(total if cap is None else cap, floor) for cap, floor in zip(most, fewest, strict=True)]
    parts = [0] * len(weights)
    free = list(range(len(weights)))
    while free:
        rest, whole = total - sum(parts), sum(weights[i] for i in free)
        # What each limit takes from the others, or leaves to them, in units of 1 / whole.
        short = {i: gap for i in free if (gap := fewest[i] * whole - rest * weights[i]) > 0}
        over = {i: gap for i in free if (gap := rest * weights[i] - caps[i] * whole) > 0}
        if not short and not over:
            break
        # The stronger side's limits hold whatever becomes of the other's (as in CSS flexible lengths).
        limited, limits = (short, fewest) if sum(short.values()) >= sum(over.values()) else (over, caps)
        for i in limited:
            parts[i] = limits[i]
        free = [i for i in free if i not in limited]
    for i, part in zip(free, largest_remainder(total - sum(parts), [weights[i] for i in free]), strict=True):
        parts[i] = part
    return parts


def largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in whole parts in proportion to the weights; an equal remainder goes to the earlier one."""
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts


def _within(running: Integers, limit: int) -> int:
    """The largest number of documents with at most `limit` tokens together; `running`: tokens up to each document."""
    return int(np.searchsorted(running, limit, side="right"))


def _reaching(running: Integers, floor: int) -> int:
    """The smallest number of documents with at least `floor` tokens together."""
    return int(np.searchsorted(running, floor, side="left")) + 1 if floor else 0
