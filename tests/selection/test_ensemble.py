"""Ensembles of rankings, against ranking every document by hand."""

import json
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from by_sorting import in_rank_order, reference, selected
from driven_stores import driven_rows
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import rankdata
from store_files import score_row, write_store

from attention_influence.errors import StoreError, UsageError
from attention_influence.evidence.compare import compare
from attention_influence.selection import Rule, select
from attention_influence.selection.ranking.percentiles import percentiles
from attention_influence.selection.ranking.ranking import open_ranking
from attention_influence.store.reader import open_store

VALUES = {
    "influence": lambda row: row["influence"],
    "-loss_base": lambda row: None if row["loss_base"] is None else -row["loss_base"],
    "perplexity": lambda row: None if row["loss_base"] is None else -row["loss_base"],
    "length": lambda row: row["n_tokens"],
}
rows = st.lists(
    st.tuples(
        st.sampled_from([0.125, 0.25, 0.5, None]),
        st.sampled_from([None, 0.5, 1.0, 2.0]),
        st.integers(0, 3),
        st.sampled_from(["web", "code"]),
    ),
    min_size=1,
    max_size=30,
)


def means_by_counting(table, members):
    """Key → the weighted mean of (documents below + half of the equal ones) / documents of the domain, exactly."""
    known = [row for row in table if all(VALUES[name](row) is not None for name in ("influence", *members))]
    means = {}
    for row in known:
        peers = [other for other in known if other["domain"] == row["domain"]]
        mean = Fraction(0)
        for name, weight in members.items():
            values, mine = [VALUES[name](other) for other in peers], VALUES[name](row)
            below = 2 * sum(value < mine for value in values) + sum(value == mine for value in values)
            mean += Fraction(weight) * Fraction(below, 2 * len(peers))
        means[row["source"], row["row"]] = mean / sum(map(Fraction, members.values()))
    return means


@settings(max_examples=30, deadline=None)
@given(
    rows=rows,
    members=st.dictionaries(st.sampled_from(sorted(VALUES)), st.sampled_from(["1", "0.5", "2"]), min_size=1),
    share=st.sampled_from([{"top": 0.3}, {"tokens": 20}]),
)
def test_an_ensemble_is_the_weighted_mean_of_percentiles_within_each_domain(rows, members, share):
    table = [score_row("x/a", n, i, loss_base=b, n_tokens=t, domain=d) for n, (i, b, t, d) in enumerate(rows)]
    means = means_by_counting(table, members)
    rule = Rule(rank_by=" + ".join(f"{name}*{weight}" for name, weight in members.items()), **share)
    if not means:
        return
    with tempfile.TemporaryDirectory() as name:
        folder = write_store(Path(name), [table[::2], table[1::2]])
        store = open_store(str(folder))
        ranking = open_ranking(store, rule.rank_by)
        values = {}
        for batch in store.batches(["source", "row", *ranking.columns]):
            keys = zip(batch.column("source").to_pylist(), batch.column("row").to_pylist(), strict=True)
            values |= dict(zip(keys, ranking.values(batch).to_pylist(), strict=True))
        assert {key: value for key, value in values.items() if value is not None} == pytest.approx(means, abs=1e-12)
        found, _ = selected(folder, rule)
    expected = reference([table], rule, lambda row: values[row["source"], row["row"]])
    assert in_rank_order(found) == {name: keys for name, keys in expected.items() if keys}


def test_percentiles_of_more_rows_than_are_sorted_at_a_time(monkeypatch):
    monkeypatch.setattr("attention_influence.selection.ranking.percentiles._AT_A_TIME", 2048)
    rng = np.random.default_rng(0)
    domains = pa.array(rng.choice(["a", "b", "c"], 9000).tolist())
    keys = [rng.integers(0, high, 9000, dtype=np.uint64) for high in (50, 2**63)]
    lots = [slice(0, 4000), slice(4000, 9000)]
    found = percentiles([(domains[lot], [key[lot] for key in keys]) for lot in lots], 2)
    for of_key, key in zip(found, keys, strict=True):
        shares = of_key.of(domains, key)
        for name in "abc":
            here = np.array(domains) == name
            assert shares[here] == pytest.approx((rankdata(key[here]) - 0.5) / here.sum())


def test_weights_are_one_where_none_is_given_and_only_their_proportion_counts(tmp_path):
    table = [score_row("x/a", n, (n * 7 % 11) / 10, loss_base=1.0 + n % 5, n_tokens=n * 3 % 8) for n in range(40)]
    folder = write_store(tmp_path, [table])
    one, two = (
        selected(folder, Rule(top=0.5, rank_by=name))[0] for name in ("influence+length", "influence*3+length*3")
    )
    assert one == two


def test_one_ranking_alone_chooses_what_it_chooses_without_an_ensemble(tmp_path):
    rows, _ = driven_rows(300)
    folder = write_store(tmp_path, [rows[:100], rows[100:]])
    for name in ("influence", "-loss_base", "controlled", "random"):
        alone, single = (selected(folder, Rule(top=0.2, rank_by=rank_by))[0] for rank_by in (name, f"{name}*2"))
        assert in_rank_order(alone) == in_rank_order(single)


def test_members_weights_seed_and_control_are_recorded_and_the_value_is_written(tmp_path):
    rows, _ = driven_rows(120)
    folder = write_store(tmp_path / "s", [rows])
    name = "controlled*0.7+random*0.3"
    selection = select(folder, out=tmp_path / "out", top=0.25, rank_by=name, seed=5, manifest=True)
    record = json.loads((tmp_path / "out" / "selection.json").read_text())["ranking"]
    assert (record["name"], record["seed"]) == (name, 5)
    assert [(member["name"], member["weight"], member["seed"]) for member in record["members"]] == [
        ("controlled", 0.7, 5),
        ("random", 0.3, 5),
    ]
    assert "domains" in record["control"]
    assert selection.documents == 30
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"the highest `ensemble` first, the mean percentile by `{name}`" in card


def test_compare_sets_an_ensemble_beside_its_members(tmp_path):
    rows, _ = driven_rows(200)
    store = open_store(str(write_store(tmp_path, [rows])))
    against = [open_ranking(store, name) for name in ("influence*0.5+length*0.5", "influence*1")]
    found = compare(store, open_ranking(store, "influence"), None, against, top=0.2, examples=0, sample=1000)
    mixed, same = found.agreements
    assert 0.3 < mixed.spearman < 0.95
    assert same.spearman == pytest.approx(1)
    assert same.top.share == 1


@pytest.mark.parametrize("name", ["influence*0.7+edu*0.3", "influence+", "influence*x", "influence*-1", "influence*"])
def test_members_that_are_not_there_and_weights_that_are_none_are_refused(tmp_path, name):
    store = open_store(str(write_store(tmp_path, [[score_row("x/a", 0, 0.5)]])))
    with pytest.raises(UsageError):
        open_ranking(store, name)


def test_an_ensembles_thresholds_are_not_applied_to_another_store(tmp_path):
    folder = write_store(tmp_path / "s", [[score_row("x/a", n, n / 10) for n in range(10)]])
    select(folder, out=tmp_path / "old", top=0.5, rank_by="influence+length", manifest=True)
    with pytest.raises(StoreError, match="percentiles are those of its own store"):
        select(folder, out=tmp_path / "new", apply=tmp_path / "old")
