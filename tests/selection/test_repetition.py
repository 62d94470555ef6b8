"""What `select` says of repetition in a choice by influence."""

import json
from collections import defaultdict

import numpy as np
import pyarrow.parquet as pq
import pytest
from driven_stores import driven_rows
from store_files import score_row, write_store

from attention_influence.selection import select


def chosen_keys(folder):
    return {(row["source"], row["row"]) for row in pq.read_table(folder / "manifest.parquet").to_pylist()}


@pytest.mark.parametrize("rule", [{"top": 0.2}, {"top": 0.3, "by": "tokens"}])
def test_shares_of_repeating_tokens_are_those_of_the_chosen_and_of_the_ranked(tmp_path, rule):
    rng = np.random.default_rng(0)
    rows = driven_rows(300)[0] + driven_rows(40, "code")[0]
    flags = ["repetitive", "too_short,repetitive", "too_short", None]
    rows = [row | {"flag": flags[rng.integers(4)] if rng.random() < 0.3 else None} for row in rows]
    rows[0] |= {"influence": None, "flag": "repetitive"}
    rows[1] |= {"copy_share": None}
    store = write_store(tmp_path / "s", [rows[:100], rows[100:]])
    selection = select(store, out=tmp_path / "out", manifest=True, **rule)
    keys = chosen_keys(tmp_path / "out")
    sums = defaultdict(int)
    for row in rows:
        repeats = "repetitive" in (row["flag"] or "") or (row["copy_share"] or 0) > 0.5
        picked = (row["source"], row["row"]) in keys
        if row["influence"] is not None:
            sums[row["domain"], "ranked", repeats] += row["n_tokens"]
            sums[row["domain"], "chosen", repeats] += picked * row["n_tokens"]
    assert [repetition.domain for repetition in selection.repetition] == ["code", "web"]
    for found in selection.repetition:
        for which in ("ranked", "chosen"):
            repeated, other = (sums[found.domain, which, repeats] for repeats in (True, False))
            assert getattr(found, which) == pytest.approx(repeated / (repeated + other))


def test_a_choice_that_is_mostly_repetition_is_warned_of_and_no_other(tmp_path):
    strong = driven_rows(300, "strong", repetition=2.0)[0]
    weak = driven_rows(300, "weak", repetition=0.0)[0]
    selection = select(write_store(tmp_path / "s", [strong, weak]), out=tmp_path / "out", top=0.2, manifest=True)
    (warning,) = selection.warnings
    by_name = {repetition.domain: repetition for repetition in selection.repetition}
    assert warning.startswith(f"domain strong: {by_name['strong'].chosen:.0%} of the chosen tokens")
    assert by_name["strong"].chosen > 0.5 > by_name["weak"].chosen
    record = json.loads((tmp_path / "out" / "selection.json").read_text())
    assert record["warnings"] == [warning]
    assert record["repetition"][0] == {
        "domain": "strong",
        "chosen": by_name["strong"].chosen,
        "ranked": by_name["strong"].ranked,
    }
    assert "- Warning: domain strong: " in (tmp_path / "out" / "README.md").read_text()


def test_a_store_of_older_columns_is_judged_all_the_same(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", n, n / 100, flag="repetitive") for n in range(60)]])
    unit = store / "scores" / "000.parquet"
    pq.write_table(pq.read_table(unit).drop_columns(["unigram_surprisal"]), unit)
    (found,) = select(store, out=tmp_path / "out", top=0.2, manifest=True).repetition
    assert (found.chosen, found.ranked) == (1.0, 1.0)
