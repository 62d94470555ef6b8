"""Rankings, against sorting everything."""

import json
import math
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from by_sorting import hash_of, in_rank_order, reference, selected
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest, spearmanr
from store_files import score_row, write_store

from attention_influence.errors import UsageError
from attention_influence.selection import Rule, select
from attention_influence.selection.ranking.ranking import COMPUTED, open_ranking
from attention_influence.store.reader import open_store

losses = st.sampled_from([None, math.nan, 0.0, 0.5, 1.0, 1.5, 2.0, 3.25])
rows = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.2, 0.3, None]), losses, losses, st.integers(0, 5), st.sampled_from(["web", "code"])
    ),
    min_size=1,
    max_size=30,
)


def known(*values):
    return all(value is not None and math.isfinite(value) for value in values)


# Of a row of the store, the value whose highest comes first; None where it is not ranked.
VALUES = {
    "delta": lambda r: r["loss_ref"] - r["loss_base"] if known(r["loss_ref"], r["loss_base"]) else None,
    "-delta": lambda r: r["loss_base"] - r["loss_ref"] if known(r["loss_ref"], r["loss_base"]) else None,
    "perplexity": lambda r: -r["loss_base"] if known(r["loss_base"]) else None,
    "loss_ref": lambda r: r["loss_ref"] if known(r["loss_ref"]) else None,
    "-loss_base": lambda r: -r["loss_base"] if known(r["loss_base"]) else None,
    "length": lambda r: r["n_tokens"],
    "-n_tokens": lambda r: -r["n_tokens"],
}


@settings(max_examples=80, deadline=None)
@given(
    rows=rows,
    rank_by=st.sampled_from(sorted(VALUES)),
    share=st.sampled_from([{"top": 0.3}, {"top": 0.5, "by": "tokens"}, {"tokens": 20}]),
)
def test_a_ranking_selects_what_sorting_by_its_value_selects(rows, rank_by, share):
    table = [
        score_row("x/a", n, i, loss_base=b, loss_ref=r, n_tokens=t, domain=d) for n, (i, b, r, t, d) in enumerate(rows)
    ]
    rule = Rule(rank_by=rank_by, **share)
    expected = {name: keys for name, keys in reference([table], rule, VALUES[rank_by]).items() if keys}
    with tempfile.TemporaryDirectory() as name:
        store = write_store(Path(name), [table[::2], table[1::2]])
        if not any(r["influence"] is not None and VALUES[rank_by](r) is not None for r in table):
            return
        found, _ = selected(store, rule)
    assert in_rank_order(found) == expected


def random_values(folder, seed):
    store = open_store(str(folder))
    return open_ranking(store, "random", seed).values(next(iter(store.batches(["source", "row"])))).to_numpy()


def test_random_is_uniform_differs_by_seed_and_has_nothing_to_do_with_the_tie_hash(tmp_path):
    store = write_store(tmp_path, [[score_row("x/a", n, 0.5) for n in range(5000)]])
    one, other = random_values(store, 0), random_values(store, 1)
    assert (one == random_values(store, 0)).all()
    for values in (one, other):
        assert kstest(values, "uniform").pvalue > 0.001
    ties = [hash_of("x/a", n) for n in range(5000)]
    assert abs(spearmanr(one, other).statistic) < 0.05
    assert abs(spearmanr(one, ties).statistic) < 0.05


def test_random_picks_other_documents_with_another_seed(tmp_path):
    store = write_store(tmp_path, [[score_row("x/a", n, 0.5) for n in range(200)]])
    rule = Rule(top=0.2, rank_by="random")
    first, second = ({row["row"] for row in selected(store, rule, seed)[0]} for seed in (0, 1))
    assert len(first) == len(second) == 40
    assert len(first & second) < 25


@pytest.mark.parametrize(
    ("asked", "meant"), [("contrlled", "controlled"), ("-loss_bas", "loss_base"), ("lenght", "length")]
)
def test_an_unknown_ranking_is_refused_with_the_nearest_and_all_names(tmp_path, asked, meant):
    store = open_store(str(write_store(tmp_path, [[score_row("x/a", 0, 0.5)]])))
    with pytest.raises(UsageError) as refused:
        open_ranking(store, asked)
    assert f"did you mean {meant!r}" in str(refused.value)
    assert all(name in str(refused.value) for name in (*COMPUTED, "copy_share", "unigram_surprisal"))


@pytest.mark.parametrize(
    ("rank_by", "column", "values"),
    [
        ("-loss_base", "loss_base", [1.0, 2.0]),
        ("perplexity", "perplexity", [math.e, math.e**2]),
        ("delta", "delta", [3.0, 2.0]),
        ("length", "length", [11, 12]),
        ("-length", "length", [11, 12]),
    ],
)
def test_the_chosen_rows_carry_the_rankings_own_value(tmp_path, rank_by, column, values):
    table = [
        score_row("x/a", n, 0.5, loss_base=1.0 + n, loss_ref=4.0, n_tokens=(11 if "-" in rank_by else 9) + n)
        for n in range(4)
    ]
    if rank_by == "length":
        table = table[::-1]
    store = write_store(tmp_path / "s", [table])
    selection = select(store, out=tmp_path / "out", top=0.5, rank_by=rank_by, manifest=True)
    found = pq.read_table(tmp_path / "out" / "manifest.parquet")
    assert found.column_names[4:] == ["influence", column, f"{column}_rank"]
    assert found[column].to_pylist() == pytest.approx(values)
    ranks = found[f"{column}_rank"].to_pylist()
    assert ranks == ([2, 1] if rank_by == "length" else [1, 2])
    record = json.loads((tmp_path / "out" / "selection.json").read_text())
    first = "lowest" if rank_by in ("-loss_base", "perplexity", "-length") else "highest"
    assert record["ranking"] == {"name": rank_by, "first": first}
    assert record["thresholds"][0]["threshold"] == pytest.approx(values[ranks.index(2)])
    assert f"the {first} `{column}` first" in (tmp_path / "out" / "README.md").read_text()
    assert selection.repetition == ()


def test_the_seed_of_a_random_selection_is_recorded(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", n, 0.5) for n in range(4)]])
    select(store, out=tmp_path / "out", top=0.5, rank_by="random", seed=7, manifest=True)
    assert json.loads((tmp_path / "out" / "selection.json").read_text())["ranking"]["seed"] == 7
