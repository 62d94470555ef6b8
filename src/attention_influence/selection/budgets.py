"""How much each group may give: shares or a number of tokens, within the caps and floors of its domain."""

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from attention_influence.errors import UsageError
from attention_influence.selection.groups import Group
from attention_influence.selection.rule import Rule
from attention_influence.shares import as_written, count_in


@dataclass(frozen=True)
class Supply:
    """What each group has: its ranked documents, and their tokens; groups sorted, whatever their numbers."""

    numbers: Sequence[int]
    groups: Sequence[Group]
    documents: Sequence[int]
    tokens: Sequence[int]


@dataclass(frozen=True)
class TokenLimits:
    """Tokens that each group's choice must reach, 0 where there is no floor, and must not pass, None without a cap."""

    fewest: Sequence[int]
    most: Sequence[int | None]


def token_limits(rule: Rule, supply: Supply) -> TokenLimits:
    """Those caps and floors that are tokens, or shares of tokens; shares of documents are part of `budgets`.

    A number of tokens is split over a domain's length bins in proportion to their tokens. Raises UsageError for a
    domain that there is not, and for floors that cannot be reached.
    """
    known = {group.domain for group in supply.groups}
    for option, limits in (("--floor", rule.floors), ("--cap", rule.caps)):
        for name in limits:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                there = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(known))}"
                raise UsageError(f"{option} {name}={limits[name]}: there is no such domain; {there}")
    fewest = [0 if part is None else part for part in _in_tokens(rule, rule.floors, supply, math.ceil)]
    for name, floor in rule.floors.items():
        has = sum(n for group, n in zip(supply.groups, supply.tokens, strict=True) if group.domain == name)
        if floor > max(has, 1):
            raise UsageError(f"--floor {name}={floor:,}: its ranked documents have only {has:,} tokens. Lower it.")
    if rule.tokens is not None and sum(fewest) > rule.tokens:
        raise UsageError(f"the floors need {sum(fewest):,} tokens, more than --tokens {rule.tokens:,}. Lower them.")
    return TokenLimits(fewest, _in_tokens(rule, rule.caps, supply, math.floor))


def budgets(rule: Rule, supply: Supply, limits: TokenLimits) -> list[int]:
    """How many documents, or tokens where the rule counts tokens, each group may give."""
    if rule.tokens is not None:
        return shared_out(rule.tokens, supply.tokens, limits.fewest, limits.most)
    parts = []
    for group, documents, tokens, fewest, most in zip(
        supply.groups, supply.documents, supply.tokens, limits.fewest, limits.most, strict=True
    ):
        if rule.counts_tokens:
            assert rule.top is not None
            part = math.floor(as_written(rule.top) * tokens)
            parts.append(max(fewest, part if most is None else min(part, most)))
        else:
            parts.append(count_in(_share(rule, group.domain), documents))
    return parts


def shared_out(total: int, weights: Sequence[int], fewest: Sequence[int], most: Sequence[int | None]) -> list[int]:
    """`total` in whole parts, in proportion to the weights, but no part below its `fewest` or above its `most`.

    Those that a limit holds get it; the rest is shared out over the others. Parts are rounded by largest remainder, an
    equal remainder going to the earlier one. Their sum is `total`, less where caps hold all of them. A `most` below its
    `fewest` counts as that. `fewest` must sum to at most `total`.
    """
    caps = [None if cap is None else max(cap, floor) for cap, floor in zip(most, fewest, strict=True)]
    parts = [0] * len(weights)
    free = list(range(len(weights)))
    rest = total
    while free:
        whole = sum(weights[i] for i in free)
        # What each limit takes from the others, or leaves to them, in units of 1 / whole.
        short = {i: gap for i in free if (gap := fewest[i] * whole - rest * weights[i]) > 0}
        over = {i: gap for i in free if (cap := caps[i]) is not None and (gap := rest * weights[i] - cap * whole) > 0}
        if not short and not over:
            break
        # The stronger side's limits hold whatever becomes of the other's (as in CSS flexible lengths).
        held = {i: fewest[i] for i in short} if sum(short.values()) >= sum(over.values()) else {}
        held = held or {i: cap for i in over if (cap := caps[i]) is not None}
        for i, part in held.items():
            parts[i] = part
        rest -= sum(held.values())
        free = [i for i in free if i not in held]
    for i, part in zip(free, largest_remainder(rest, [weights[i] for i in free]), strict=True):
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


def _share(rule: Rule, domain: str) -> float:
    """Of a domain's documents: --top within its floor and cap, as far as those are shares."""
    assert rule.top is not None
    cap, floor = rule.caps.get(domain, 1.0), rule.floors.get(domain, 0.0)
    return max(min(rule.top, cap if cap <= 1 else 1.0), floor if floor <= 1 else 0.0)


def _in_tokens(
    rule: Rule, limits: Mapping[str, float], supply: Supply, rounded: Callable[[Fraction], int]
) -> list[int | None]:
    parts: list[int | None] = [None] * len(supply.groups)
    for name, limit in limits.items():
        of_domain = [i for i, group in enumerate(supply.groups) if group.domain == name]
        if limit > 1:
            in_tokens = largest_remainder(int(limit), [supply.tokens[i] for i in of_domain])
        elif rule.counts_tokens:
            in_tokens = [rounded(as_written(limit) * supply.tokens[i]) for i in of_domain]
        else:
            continue
        for i, part in zip(of_domain, in_tokens, strict=True):
            parts[i] = part
    return parts
