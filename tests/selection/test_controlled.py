"""Controlled influence: what it removes, what it keeps, and that only keys, figures and the seed decide it."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from driven_stores import driven_rows
from scipy.stats import spearmanr
from sklearn.metrics import r2_score
from store_files import score_row, write_store

from attention_influence.errors import UsageError
from attention_influence.selection import select
from attention_influence.selection.ranking import controlled
from attention_influence.selection.ranking.controlled import COLUMNS, fit_control
from attention_influence.store.reader import open_store


def fitted(folder, *units, seed=0):
    """(the control, key → controlled influence) of a store of these units."""
    store = open_store(str(write_store(folder, units)))
    control = fit_control(store, seed)
    found = {}
    for batch in store.batches(list(COLUMNS)):
        keys = zip(batch["source"].to_pylist(), batch["row"].to_pylist(), strict=True)
        found |= dict(zip(keys, control.values(batch).to_pylist(), strict=True))
    return control, found


def in_order(found, rows):
    return np.array([found[row["source"], row["row"]] for row in rows], dtype=float)


def log_ratios(rows):
    return np.array([np.log(np.float32(r["loss_ref"]) / np.float32(r["loss_base"])) for r in rows])


@pytest.mark.parametrize(("curved", "method"), [(False, "linear"), (True, "trees")])
def test_a_hidden_signal_is_recovered_where_repetition_drives_influence(tmp_path, curved, method):
    rows, hidden = driven_rows(1500, curved=curved)
    control, found = fitted(tmp_path, rows)
    values, ratios = in_order(found, rows), log_ratios(rows)
    assert control.domains["web"].method == method
    assert spearmanr(ratios, hidden).statistic < 0.75
    assert spearmanr(values, hidden).statistic > 0.9
    copied = [row["copy_share"] for row in rows]
    assert abs(spearmanr(values, copied).statistic) < 0.1
    # Cross-fitted R², by another's definition.
    assert control.domains["web"].explained == pytest.approx(r2_score(ratios, ratios - values), abs=1e-4)


def test_values_depend_neither_on_units_nor_on_order_nor_on_how_rows_are_batched(tmp_path, monkeypatch):
    monkeypatch.setattr(controlled, "_MOST_OF_A_DOMAIN", 300)
    rows = driven_rows(500, "web", curved=True)[0] + driven_rows(120, "code", seed=1)[0]
    shuffled = [rows[i] for i in np.random.default_rng(5).permutation(len(rows))]
    _, one = fitted(tmp_path / "one", rows)
    control, other = fitted(tmp_path / "other", shuffled[:7], shuffled[7:300], shuffled[300:])
    assert one == other
    assert control.domains["web"].documents == 300
    store = open_store(str(tmp_path / "one"))
    for batch in store.batches(list(COLUMNS)):
        alone = pa.concat_arrays([control.values(batch.slice(n, 1)) for n in range(0, batch.num_rows, 50)])
        assert alone.to_pylist() == control.values(batch).to_pylist()[::50]


def test_another_seed_draws_other_folds(tmp_path):
    rows = driven_rows(200)[0]
    _, one = fitted(tmp_path, rows)
    _, other = fitted(tmp_path, rows, seed=1)
    assert one != other
    assert spearmanr(in_order(one, rows), in_order(other, rows)).statistic > 0.98


@pytest.mark.parametrize("curved", [False, True])
def test_no_document_is_explained_by_itself(tmp_path, curved):
    rows = driven_rows(600, curved=curved)[0]
    _, before = fitted(tmp_path, rows)
    changed = [*rows]
    changed[17] = rows[17] | {"loss_ref": rows[17]["loss_ref"] * 2}
    _, after = fitted(tmp_path, changed)
    expected = log_ratios(rows) - in_order(before, rows)
    now_expected = log_ratios(changed) - in_order(after, changed)
    assert now_expected[17] == pytest.approx(expected[17], abs=1e-6)
    assert np.abs(now_expected - expected).max() > 1e-4


def test_a_domain_with_few_documents_ranks_as_influence_and_says_so(tmp_path):
    rows = driven_rows(49)[0]
    control, found = fitted(tmp_path, rows)
    values = in_order(found, rows)
    assert spearmanr(values, [row["influence"] for row in rows]).statistic == pytest.approx(1)
    assert values.mean() == pytest.approx(0, abs=1e-6)
    (warning,) = control.warnings()
    assert "domain web: only 49 documents" in warning


def test_where_nothing_explains_influence_it_stays_as_it_is(tmp_path):
    rows = driven_rows(300)[0]
    ratios = np.random.default_rng(3).normal(size=300)
    rows = [row | {"loss_ref": row["loss_base"] * math.exp(r)} for row, r in zip(rows, ratios, strict=True)]
    control, found = fitted(tmp_path, rows)
    assert (control.domains["web"].method, control.domains["web"].explained) == ("mean", 0.0)
    assert spearmanr(in_order(found, rows), ratios).statistic == pytest.approx(1)
    assert "explain nothing" in control.warnings()[0]


def test_rows_without_their_figures_have_no_value_and_short_ones_repeat_nothing(tmp_path):
    rows = driven_rows(60)[0]
    no_value = [
        {"loss_ref": None},
        {"loss_ref": 0.0},
        {"loss_ref": -1.0},
        {"loss_base": math.nan},
        {"influence": None},
        {"n_tokens": 0},
        {"n_tokens": None},
        {"compression": None},
        {"unigram_surprisal": None},
    ]
    bad = [row | change | {"row": 1000 + n} for n, (row, change) in enumerate(zip(rows, no_value, strict=False))]
    short = [
        rows[0] | {"row": 2000, "copy_share": None, "repeat_share": None},
        rows[0] | {"row": 2001, "copy_share": 0.0, "repeat_share": 0.0},
    ]
    control, found = fitted(tmp_path, rows + bad + short)
    assert [found["web/a", row["row"]] for row in bad] == [None] * len(bad)
    assert control.domains["web"].documents == 62
    assert None not in (found["web/a", 2000], found["web/a", 2001])


def test_a_store_of_documents_without_losses_has_no_controlled_ranking(tmp_path):
    control, found = fitted(tmp_path, [score_row("x/a", n, 0.5) for n in range(3)])
    assert set(found.values()) == {None}
    assert control.domains["web"].documents == 0


def test_a_store_without_a_column_is_refused_by_its_name(tmp_path):
    write_store(tmp_path, [driven_rows(10)[0]])
    unit = tmp_path / "scores" / "000.parquet"
    pq.write_table(pq.read_table(unit).drop_columns(["unigram_surprisal"]), unit)
    with pytest.raises(UsageError, match="needs the column 'unigram_surprisal'"):
        fit_control(open_store(str(tmp_path)), 0)


def test_select_by_controlled_takes_its_highest_and_records_what_was_explained(tmp_path):
    rows, hidden = driven_rows(300)
    few = driven_rows(20, "code")[0]
    store = write_store(tmp_path / "s", [rows, few])
    selection = select(store, out=tmp_path / "out", top=0.2, rank_by="controlled", manifest=True)
    control, found = fitted(tmp_path / "s", rows, few)
    expected = sorted(range(300), key=lambda n: -found["web/a", n])[:60]
    chosen = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    web = {row["row"]: row for row in chosen if row["domain"] == "web"}
    assert set(web) == set(expected)
    assert all(row["controlled"] == np.float32(found["web/a", n]) for n, row in web.items())
    assert hidden[expected].mean() > 1
    domains = selection.to_json()["ranking"]["control"]["domains"]
    assert domains["web"] == {"documents": 300, "method": "linear", "explained": control.domains["web"].explained}
    assert "only 20 documents" in selection.warnings[0]
    assert "Warning: domain code: only 20" in (tmp_path / "out" / "README.md").read_text()
