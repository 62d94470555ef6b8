import math
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from by_sorting import hash_of, in_rank_order, reference, selected
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import score_row, write_store

from attention_influence.errors import StoreError, UsageError
from attention_influence.selection import Rule
from attention_influence.selection.ranking.keys import order_keys
from attention_influence.selection.ranking.ranking import open_ranking
from attention_influence.store.reader import open_store
from attention_influence.store.row_hashes import tie_hashes
from attention_influence.store.schema import SCORE_SCHEMA

few = settings(max_examples=60, deadline=None)
scores = st.one_of(
    st.none(),
    st.sampled_from([0.0, -0.0, 0.5, 0.25, -1.5, math.nan, math.inf, -math.inf, 1e-45]),
    st.floats(-1, 1, width=32),
)
rows = st.lists(
    st.tuples(scores, st.sampled_from(["web", "code", "a|b"]), st.integers(0, 9), st.sampled_from(["x/a", "x/b"])),
    min_size=1,
    max_size=40,
)
rules = st.one_of(
    st.builds(Rule, top=st.sampled_from([0.07, 0.2, 0.5, 1.0])),
    st.builds(Rule, top=st.sampled_from([0.07, 0.2, 0.5, 1.0]), by=st.just("tokens")),
    st.builds(Rule, tokens=st.integers(1, 120)),
)


@few
@given(rows=rows, rule=rules, data=st.data())
def test_selection_equals_sorting_everything_whatever_the_units(rows, rule, data):
    table = [score_row(s, n, i, domain=d, n_tokens=t) for n, (i, d, t, s) in enumerate(rows)]
    any_ranked = any(i is not None and math.isfinite(i) for i, *_ in rows)
    cut = data.draw(st.integers(0, len(table)))
    shuffled = data.draw(st.permutations(table))
    with tempfile.TemporaryDirectory() as name:
        one = write_store(Path(name) / "one", [table])
        two = write_store(Path(name) / "two", [shuffled[:cut], shuffled[cut:]])
        if not any_ranked:
            with pytest.raises(StoreError, match="no document has a finite score"):
                selected(one, rule)
            return
        found, thresholds = selected(one, rule)
        assert (found, thresholds) == selected(two, rule)
    expected = reference([table], rule)
    assert in_rank_order(found) == {name: keys for name, keys in expected.items() if keys}
    for t in thresholds:
        of_domain = [row for row in table if row["domain"] == t.domain]
        finite = [r for r in of_domain if r["influence"] is not None and math.isfinite(r["influence"])]
        assert (t.documents, t.ranked, t.tokens) == (len(of_domain), len(finite), sum(r["n_tokens"] for r in finite))
        assert sum(t.unranked.values()) == t.documents - t.ranked
        by_threshold = {
            (r["source"], r["row"])
            for r in finite
            if t.value is not None
            and (
                np.float32(r["influence"]) > t.value
                or (np.float32(r["influence"]) == t.value and hash_of(r["source"], r["row"]) <= t.tie_hash)
            )
        }
        assert by_threshold == set(expected.get(t.domain, []))
        assert t.chosen == len(by_threshold)


@few
@given(values=st.lists(st.one_of(st.none(), st.integers(-5, 5), st.just(2**62)), min_size=1, max_size=30))
def test_other_numeric_columns_rank_the_same_documents(values):
    table = [score_row("x/a", n, 0.5, n_chars=value) for n, value in enumerate(values)] + [score_row("x/b", 0, None)]
    with tempfile.TemporaryDirectory() as name:
        store = write_store(Path(name), [table])
        if all(value is None for value in values):
            with pytest.raises(StoreError):
                selected(store, Rule(top=0.3, rank_by="n_chars"))
            return
        found, _ = selected(store, Rule(top=0.3, rank_by="n_chars"))
    ranked = sorted(
        (n for n, value in enumerate(values) if value is not None), key=lambda n: (-values[n], hash_of("x/a", n))
    )
    expected = ranked[: math.ceil(Fraction("0.3") * len(ranked))]
    assert in_rank_order(found) == {"web": [("x/a", n) for n in expected]}


def test_thousands_of_equal_scores_are_cut_by_their_hashes(tmp_path):
    table = [score_row("x/a", n, 0.25) for n in range(5000)]
    found, (threshold,) = selected(write_store(tmp_path, [table]), Rule(top=0.1))
    expected = sorted(range(5000), key=lambda n: hash_of("x/a", n))[:500]
    assert in_rank_order(found) == {"web": [("x/a", n) for n in expected]}
    assert threshold.tie_hash == hash_of("x/a", expected[-1])


def test_tie_hashes_never_change():
    found = tie_hashes(pa.array(["web/a.jsonl", "web/a.jsonl", "é"]), np.array([0, 1, 2**40]))
    assert [f"{value:016x}" for value in found.tolist()] == ["ce1a5bd0e25c9895", "dedbc2cd19b39289", "f5ebb69008da85fb"]


@few
@given(st.lists(st.floats(allow_nan=False, width=32), min_size=2))
def test_order_keys_order_as_the_floats_do(values):
    for type_ in (pa.float32(), pa.float64()):
        keys = order_keys(pa.array(values, type_)).tolist()
        for a, b, x, y in zip(values, values[1:], keys, keys[1:], strict=False):
            assert ((a > b) - (a < b)) == ((x > y) - (x < y))


def test_unranked_documents_are_counted_by_reason(tmp_path):
    table = [
        score_row("x/a", 0, 0.5),
        score_row("x/a", 1, None, reason="empty"),
        score_row("x/a", 2, None, flag="degenerate"),
        score_row("x/a", 3, math.nan),
        score_row("x/a", 4, None),
    ]
    _, (threshold,) = selected(write_store(tmp_path, [table]), Rule(top=1.0))
    assert threshold.unranked == {"degenerate": 1, "empty": 1, "not_finite": 1, "null": 1}


@pytest.mark.parametrize("value", [0.1, 0.9])
@pytest.mark.parametrize("top", [0.4, 1.0])
def test_a_chosen_row_that_two_units_hold_is_an_error(tmp_path, value, top):
    table = [score_row("x/a", n, value if n == 0 else 0.5) for n in range(6)]
    store = write_store(tmp_path, [table, [table[0]]])
    if value == 0.1 and top == 0.4:
        assert len(selected(store, Rule(top=top))[0]) == 3
        return
    with pytest.raises(StoreError, match=r"x/a, row 0: scored in two units"):
        selected(store, Rule(top=top))


def test_a_doubled_row_at_the_threshold_is_an_error(tmp_path):
    table = [score_row("x/a", 0, 0.5)]
    with pytest.raises(StoreError, match="Two units overlap"):
        selected(write_store(tmp_path, [table, table]), Rule(top=0.5))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top": 0.2, "tokens": 5},
        {"top": 0.0},
        {"top": 1.5},
        {"top": math.nan},
        {"tokens": 0},
        {"top": 0.2, "by": "bytes"},
    ],
)
def test_rules_that_mean_nothing_are_usage_errors(options):
    with pytest.raises(UsageError):
        Rule(**options)


@pytest.mark.parametrize("rank_by", ["row", "domain", "nowhere"])
def test_only_numeric_scores_rank(tmp_path, rank_by):
    store = open_store(str(write_store(tmp_path, [[score_row("x/a", 0, 0.5)]])))
    with pytest.raises(UsageError, match="numeric columns"):
        open_ranking(store, rank_by)


def test_stores_that_are_none_say_so(tmp_path):
    with pytest.raises(StoreError, match=r"no run\.json"):
        open_store(str(tmp_path))
    write_store(tmp_path, [])
    with pytest.raises(StoreError, match="no unit is finished"):
        open_store(str(tmp_path))
    write_store(tmp_path, [[score_row("x/a", 0, 0.5)]])
    shutil.copy(tmp_path / "scores" / "000.parquet", tmp_path / "scores" / ".001.parquet")
    (tmp_path / "scores" / "_002.parquet").write_bytes(b"unfinished")
    assert len(open_store(str(tmp_path)).units) == 1
    write_store(tmp_path, [[score_row("x/a", 0, 0.5)], []])
    (tmp_path / "scores" / "001.parquet").write_bytes(b"broken")
    with pytest.raises(StoreError, match=r"001\.parquet: this unit"):
        selected(tmp_path, Rule(top=0.5))
    pq.write_table(pa.Table.from_pylist([], schema=SCORE_SCHEMA), tmp_path / "scores" / "001.parquet")
    assert len(selected(tmp_path, Rule(top=0.5))[0]) == 1
