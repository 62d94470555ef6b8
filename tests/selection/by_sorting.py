"""What a selection means, by sorting everything, and what the library selects."""

import math
from fractions import Fraction

import numpy as np
import pyarrow as pa

from attention_influence.scoring.score_store import open_store
from attention_influence.selection.ranking import open_ranking
from attention_influence.selection.ranking_key import tie_hashes
from attention_influence.selection.ranks import rank_chosen


def hash_of(source, row):
    return int(tie_hashes(pa.array([source]), np.array([row]))[0])


def reference(units, rule, value=None):
    """What the rule means, by sorting everything: domain → keys in rank order; `value` of a row, highest first."""
    value = value or (lambda row: None if row[rule.rank_by] is None else np.float32(row[rule.rank_by]))
    ranked, parts = {}, {}
    for row in (row for unit in units for row in unit):
        number = value(row)
        if row["influence"] is not None and math.isfinite(row["influence"]) and number is not None:
            ranked.setdefault(row["domain"], []).append(row)
    for domain_rows in ranked.values():
        domain_rows.sort(key=lambda r: (-value(r), hash_of(r["source"], r["row"])))
    totals = {name: sum(r["n_tokens"] for r in ranked[name]) for name in sorted(ranked)}
    whole = sum(totals.values())
    if rule.tokens is not None:
        exact = {name: Fraction(rule.tokens * total, whole or 1) for name, total in totals.items()}
        parts = {name: math.floor(part) for name, part in exact.items()}
        order = sorted(exact, key=lambda name: (-(exact[name] - parts[name]), name))
        for name in order[: rule.tokens - sum(parts.values()) if whole else 0]:
            parts[name] += 1
    chosen = {}
    for name, domain_rows in ranked.items():
        if rule.counts_tokens:
            limit = parts[name] if rule.tokens is not None else Fraction(str(rule.top)) * totals[name]
            taken, spent = [], 0
            for row in domain_rows:
                spent += row["n_tokens"]
                if spent > limit:
                    break
                taken.append(row)
        else:
            taken = domain_rows[: math.ceil(Fraction(str(rule.top)) * len(domain_rows))]
        chosen[name] = [(r["source"], r["row"]) for r in taken]
    return chosen


def selected(folder, rule, seed=0):
    """(the chosen rows, the thresholds) of a store."""
    store = open_store(str(folder))
    with rank_chosen(store, rule, open_ranking(store, rule.rank_by, seed)) as chosen:
        rows = [row for batch in chosen.batches() for row in batch.to_pylist()]
        return rows, chosen.thresholds


def in_rank_order(rows):
    found = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        found.setdefault(row["domain"], []).append((row["source"], row["row"]))
        assert row["rank"] == len(found[row["domain"]])
    return found
