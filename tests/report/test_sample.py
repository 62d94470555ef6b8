"""The sample: what was kept is exactly what `select` chose, and each ranking takes what its figure says."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from attention_influence.report.sample import Sample, draw_sample
from attention_influence.selection import select
from attention_influence.selection.record import SelectionRecord, read_selection
from attention_influence.store.reader import open_store

from .stores import scored, unscored, write_store


def rows_of(count: int = 240, seed: int = 0) -> list[dict]:
    """Two domains; influences come in steps, so that there are ties at every threshold."""
    rng = np.random.default_rng(seed)
    return [
        scored(
            number,
            round(float(rng.normal(0.2, 0.1)), 1),
            "ab"[number % 2],
            n_tokens=int(rng.integers(20, 900)),
            loss_base=float(rng.uniform(1, 4)),
            copy_share=float(rng.random()),
            unigram_surprisal=float(rng.normal(7)),
        )
        for number in range(count)
    ]


def sampled(folder: Path, selected: SelectionRecord | None, documents: int = 10_000) -> Sample:
    return draw_sample(open_store(str(folder)), {"a": 120, "b": 120}, selected, documents, 0)


@pytest.mark.parametrize("rank_by", ["influence", "perplexity", "length", "random", "-copy_share", "controlled"])
def test_what_was_kept_is_what_select_chose_ties_included(tmp_path, rank_by):
    store = write_store(tmp_path / "store", rows_of(), [unscored(900, "empty", "a")])
    select(store, out=tmp_path / "out", top=0.3, rank_by=rank_by, seed=3, manifest=True)
    chosen = pq.read_table(tmp_path / "out" / "manifest.parquet").to_pylist()
    sample = sampled(store, read_selection(tmp_path / "out"))
    kept = {key for key, is_kept in zip(sample.keys, sample.kept, strict=True) if is_kept}
    assert kept == {(row["source"], row["row"]) for row in chosen}
    assert len(kept) == 72
    assert (len(sample), sample.is_all, sample.is_preview) == (240, True, False)


def test_a_small_sample_draws_from_each_domain_and_always_the_same(tmp_path):
    store = write_store(tmp_path / "one", rows_of()[:100], rows_of()[100:])
    other = write_store(tmp_path / "two", rows_of()[::-1])
    one, two = sampled(store, None, 120), sampled(other, None, 120)
    assert one.keys == two.keys
    assert not one.is_all
    assert all(30 < (one.domains == name).sum() < 90 for name in "ab")


def test_without_a_selection_the_top_fifth_by_influence_stands_for_it(tmp_path):
    sample = sampled(write_store(tmp_path, rows_of()), None)
    assert sample.is_preview
    assert (sample.kept == sample.chosen_by("influence", 0.2)).all()
    assert sample.kept.sum() == 48


def test_each_ranking_takes_as_many_as_were_kept_by_its_own_figure(tmp_path):
    sample = sampled(write_store(tmp_path, rows_of()), None)
    for name, figure, sign in (
        ("perplexity", "loss_base", 1),
        ("length", "n_tokens", -1),
        ("copy_share", "copy_share", -1),
    ):
        for domain in "ab":
            here = sample.domains == domain
            chosen, values = sample.chosen_by(name)[here], sign * sample.statistics[figure][here]
            assert chosen.sum() == sample.kept[here].sum() == 24
            assert values[chosen].max() <= values[~chosen].min()


def test_a_selection_that_records_no_threshold_is_stood_for_by_as_much_of_the_top(tmp_path):
    entry = {"domain": "a", "threshold": None, "tie_hash": None, "chosen": 30, "tokens_chosen": 1}
    (tmp_path / "selection.json").write_text(json.dumps({"thresholds": [entry]}))
    selected = read_selection(tmp_path)
    assert selected.undecided == ["a"]
    sample = sampled(write_store(tmp_path / "store", rows_of()), selected)
    a = sample.domains == "a"
    assert (sample.kept[a] == sample.chosen_by("influence", 0.25)[a]).all()
    assert (sample.kept[a].sum(), sample.kept[~a].sum()) == (30, 0)


def test_a_store_without_the_figures_to_control_for_has_no_controlled_ranking(tmp_path):
    rows = [row | {"unigram_surprisal": None} for row in rows_of()]
    sample = sampled(write_store(tmp_path, rows), None)
    assert "controlled" not in sample.rank_values
    assert "perplexity" in sample.rank_values
