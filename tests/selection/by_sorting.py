"""What a selection means, by sorting everything, and what the library selects."""

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa

from attention_influence.selection.cutting.chosen import choose_rows
from attention_influence.selection.ranking.ranking import open_ranking
from attention_influence.store.reader import open_store
from attention_influence.store.row_hashes import tie_hashes


def hash_of(source, row):
    return int(tie_hashes(pa.array([source]), np.array([row]))[0])


def reference(units, rule, value=None):
    """What the rule means, by sorting everything: domain → keys in rank order; `value` of a row, highest first."""
    return {name: [(r["source"], r["row"]) for r in taken] for name, taken in _taken(units, rule, value).items()}


class Impossible(Exception):
    """The rule contradicts what there is."""


def _taken(units, rule, value):
    value = value or (lambda row: None if row[rule.rank_by] is None else np.float32(row[rule.rank_by]))
    ranked = {}
    for row in (row for unit in units for row in unit):
        number = value(row)
        if row["influence"] is not None and math.isfinite(row["influence"]) and number is not None:
            ranked.setdefault(row["domain"], []).append(row)
    for rows in ranked.values():
        rows.sort(key=lambda r: (-value(r), hash_of(r["source"], r["row"])))
    ranked = dict(sorted(ranked.items()))
    if {*rule.caps, *rule.floors} - {row["domain"] for unit in units for row in unit}:
        raise Impossible
    fewest, most = _limits(ranked, rule, rule.floors, math.ceil), _limits(ranked, rule, rule.caps, math.floor)
    floors = {name: _shortest(rows, fewest.get(name, 0)) for name, rows in ranked.items()}
    tokens = {name: _sum(rows) for name, rows in ranked.items()}
    if rule.tokens is not None:
        if sum(map(_sum, floors.values())) > rule.tokens:
            raise Impossible
        low = {name: _sum(rows) for name, rows in floors.items()}
        parts = _shared_out(rule.tokens, tokens, low, {g: max(most.get(g, math.inf), low[g]) for g in ranked})
        return {name: _longest(rows, parts[name]) for name, rows in ranked.items()}
    taken = {}
    for name, rows in ranked.items():
        if rule.counts_tokens:
            part = _longest(rows, min(Fraction(str(rule.top)) * tokens[name], most.get(name, math.inf)))
        else:
            cap, floor = rule.caps.get(name, 1), rule.floors.get(name, 0)
            share = max(min(rule.top, cap if cap <= 1 else 1), floor if floor <= 1 else 0)
            part = rows[: math.ceil(Fraction(str(float(share))) * len(rows))]
            part = part[: len(_longest(rows, most.get(name, math.inf)))]
        taken[name] = max(part, floors[name], key=len)
    # Documents without tokens that follow a floor cost nothing where tokens count.
    if rule.counts_tokens:
        taken = {name: _longest(ranked[name], _sum(rows)) for name, rows in taken.items()}
    return taken


def _sum(rows):
    return sum(row["n_tokens"] for row in rows)


def _longest(rows, limit):
    """The longest beginning of at most so many tokens."""
    return rows[: max(n for n in range(len(rows) + 1) if _sum(rows[:n]) <= limit)]


def _shortest(rows, least):
    return rows[: next(n for n in range(len(rows) + 1) if _sum(rows[:n]) >= least or n == len(rows))]


def _limits(ranked, rule, given, rounded):
    limits = {}
    for domain, limit in given.items():
        tokens = _sum(ranked.get(domain, []))
        if given is rule.floors and limit > 1 and limit > tokens:
            raise Impossible
        if limit > 1:
            limits[domain] = int(limit)
        elif rule.counts_tokens:
            limits[domain] = rounded(Fraction(str(float(limit))) * tokens)
    return limits


def _by_remainder(total, weights):
    whole = sum(weights.values())
    exact = {name: Fraction(total * weight, whole or 1) for name, weight in weights.items()}
    parts = {name: math.floor(part) for name, part in exact.items()}
    order = sorted(exact, key=lambda name: (parts[name] - exact[name], name))
    for name in order[: total - sum(parts.values()) if whole else 0]:
        parts[name] += 1
    return parts


def _shared_out(total, weights, low, high):
    """The level at which the parts, level · weight within their limits, sum to the total; by trying all levels at which
    a limit begins or ends to hold."""

    def parts(level):
        return {g: min(max(level * w, low[g]), high[g]) for g, w in weights.items()}

    bends = sorted(
        {Fraction(bound, w) for g, w in weights.items() if w for bound in (low[g], high[g]) if bound < math.inf}
    )
    below = [level for level in [Fraction(0), *bends] if sum(parts(level).values()) <= total]
    level = max(below)
    free = [g for g, w in weights.items() if w and low[g] <= level * w < high[g]]
    rest = int(total - sum(part for g, part in parts(level).items() if g not in free))
    return {g: math.floor(part) for g, part in parts(level).items()} | _by_remainder(
        rest, {g: weights[g] for g in free}
    )


def selected(folder, rule, seed=0):
    """(the chosen rows, the thresholds) of a store."""
    store = open_store(str(folder))
    chosen = choose_rows(store, rule, open_ranking(store, rule.rank_by, seed))
    rows = [row for batch in chosen.batches() for row in batch.to_pylist()]
    return rows, chosen.thresholds


def in_rank_order(rows):
    found = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        found.setdefault(row["domain"], []).append((row["source"], row["row"]))
        assert row["rank"] == len(found[row["domain"]])
    return found
