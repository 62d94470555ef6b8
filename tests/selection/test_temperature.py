"""Draws by a temperature."""

import json
import math
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from by_sorting import hash_of
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import score_row, write_store

from attention_influence.selection import select
from attention_influence.selection.ranking.ranking import open_ranking
from attention_influence.selection.ranking.temperature import standard_deviations
from attention_influence.store.reader import open_store
from attention_influence.store.row_hashes import salted

rows = st.lists(
    st.tuples(st.one_of(st.none(), st.floats(-1, 3, width=32)), st.sampled_from(["web", "code"])),
    min_size=1,
    max_size=30,
)


def manifest(out):
    return pq.read_table(out / "manifest.parquet").to_pylist()


@settings(max_examples=60, deadline=None)
@given(rows=rows, temperature=st.sampled_from([0.1, 1.0, 5.0]), seed=st.integers(0, 3), reverse=st.booleans())
def test_a_draw_is_the_first_by_value_and_noise_whatever_the_units(rows, temperature, seed, reverse):
    table = [score_row("x/a", n, i, domain=d) for n, (i, d) in enumerate(rows)]
    ranked = {}
    for row in table:
        if row["influence"] is not None:
            ranked.setdefault(row["domain"], []).append(row)
    if not ranked:
        return
    expected = {}
    for of_domain in ranked.values():
        deviation = statistics.pstdev(float(np.float32(row["influence"])) for row in of_domain)

        def key(row, deviation=deviation):
            uniform = (
                int(salted(np.array([hash_of("x/a", row["row"])], np.uint64), f"draw {seed}")[0] >> np.uint64(11)) + 0.5
            ) / 2**53
            leaning = row["influence"] / deviation / temperature if deviation else 0
            return (-leaning if reverse else leaning) - math.log(-math.log(uniform))

        of_domain.sort(key=key, reverse=True)
        for rank, row in enumerate(of_domain[: math.ceil(len(of_domain) * 0.25)], start=1):
            expected[row["row"]] = rank
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = write_store(folder / "s", [table[1::2], table[::2]])
        rank_by = "-influence" if reverse else "influence"
        select(store, out=folder / "o", top=0.25, rank_by=rank_by, temperature=temperature, seed=seed, manifest=True)
        assert {row["row"]: row["influence_rank"] for row in manifest(folder / "o")} == expected


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=20))
def test_standard_deviations_are_right_in_any_order(values):
    with tempfile.TemporaryDirectory() as name:
        found = []
        for number, order in enumerate((values, values[::-1])):
            table = [score_row("x/a", n, 0.5, loss_base=value) for n, value in enumerate(order)]
            store = open_store(str(write_store(Path(name) / str(number), [table[:3], table[3:]])))
            found.append(standard_deviations(store, open_ranking(store, "loss_base")))
        floats = [float(np.float32(value)) for value in values]
        for deviations in found:
            assert deviations["web"] == pytest.approx(statistics.pstdev(floats), rel=1e-9)


def test_towards_zero_a_draw_is_the_hard_cut(tmp_path):
    table = [score_row("x/a", n, float(value)) for n, value in enumerate(np.random.default_rng(0).permutation(200))]
    store = write_store(tmp_path / "s", [table])
    select(store, out=tmp_path / "cut", top=0.2, manifest=True)
    select(store, out=tmp_path / "cold", top=0.2, temperature=1e-6, manifest=True)
    assert manifest(tmp_path / "cold") == manifest(tmp_path / "cut")


def test_chances_are_those_of_the_exponential_of_the_value(tmp_path):
    # Two documents of a domain lie two of its standard deviations apart.
    table = [score_row(f"x/{d}", n, n / 10, domain=f"{d}") for d in range(1500) for n in range(2)]
    store = write_store(tmp_path / "s", [table])
    select(store, out=tmp_path / "o", top=0.5, temperature=2.0, manifest=True)
    higher = np.mean([row["row"] for row in manifest(tmp_path / "o")])
    assert higher == pytest.approx(1 / (1 + math.exp(-1)), abs=0.04)


def test_a_draw_is_recorded_with_its_seed_and_the_values_are_the_rankings_own(tmp_path):
    table = [score_row("x/a", n, n / 10, n_tokens=n) for n in range(40)]
    store = write_store(tmp_path / "s", [table])
    for seed in (0, 7):
        select(store, out=tmp_path / str(seed), top=0.25, rank_by="length", temperature=3.0, seed=seed, manifest=True)
    record = json.loads((tmp_path / "7" / "selection.json").read_text())
    assert record["draw"] == {
        "temperature": 3.0,
        "seed": 7,
        "standard_deviations": {"web": pytest.approx(statistics.pstdev(range(40)))},
    }
    assert record["thresholds"][0]["threshold"] is None
    assert all(row["length"] == row["row"] for row in manifest(tmp_path / "7"))
    assert manifest(tmp_path / "0") != manifest(tmp_path / "7")
    assert "drawn" in (tmp_path / "7" / "README.md").read_text()
