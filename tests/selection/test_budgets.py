"""Caps and floors, against sorting everything."""

import json
import tempfile
from pathlib import Path

import pytest
from by_sorting import Impossible, in_rank_order, reference, selected
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import score_row, write_store

from attention_influence.commands.select import select_command
from attention_influence.config import SelectConfig
from attention_influence.errors import UsageError
from attention_influence.selection import Rule, select
from attention_influence.selection.cutting.budgets import shared_out

rows = st.lists(
    st.tuples(
        st.sampled_from([None, 0.1, 0.2, 0.2, 0.3, 0.45]), st.sampled_from(["web", "code", "law"]), st.integers(0, 20)
    ),
    min_size=1,
    max_size=40,
)
amounts = st.one_of(st.sampled_from([0.1, 0.25, 0.5, 1.0]), st.integers(2, 60))
limits = st.dictionaries(st.sampled_from(["web", "code", "law"]), amounts, max_size=2)
budgets = st.sampled_from([{"top": 0.2}, {"top": 0.5}, {"top": 0.3, "by": "tokens"}, {"tokens": 30}, {"tokens": 150}])


@settings(max_examples=80, deadline=None)
@given(
    rows=rows,
    budget=budgets,
    caps=limits,
    floors=limits,
    cut=st.integers(0, 40),
)
def test_limits_choose_what_sorting_everything_does(rows, budget, caps, floors, cut):
    table = [score_row("x/a", n, i, domain=d, n_tokens=t) for n, (i, d, t) in enumerate(rows)]
    if all(row["influence"] is None for row in table):
        return
    try:
        rule = Rule(**budget, caps=caps, floors=floors)
    except UsageError:
        mixed = {name for name in caps if name in floors and (caps[name] > 1) != (floors[name] > 1)}
        assert mixed or any(floors[name] > caps[name] for name in caps if name in floors)
        return
    with tempfile.TemporaryDirectory() as name:
        store = write_store(Path(name), [table[cut:], table[:cut]])
        try:
            expected = reference([table], rule)
        except Impossible:
            with pytest.raises(UsageError):
                selected(store, rule)
            return
        found, thresholds = selected(store, rule)
    assert in_rank_order(found) == {name: rows for name, rows in expected.items() if rows}
    for t in thresholds:
        assert t.chosen == len(expected.get(t.domain, []))


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20), st.none() | st.integers(0, 50)), min_size=1, max_size=8),
    st.integers(0, 200),
)
def test_parts_keep_their_limits_and_sum_to_the_total_where_they_can(groups, more):
    weights, fewest, most = map(list, zip(*groups, strict=True))
    fewest = [min(floor, weight) for floor, weight in zip(fewest, weights, strict=True)]
    total = sum(fewest) + more
    parts = shared_out(total, weights, fewest, most)
    for part, floor, cap in zip(parts, fewest, most, strict=True):
        assert part >= floor
        assert cap is None or part <= max(cap, floor)
    if any(cap is None and weight for weight, cap in zip(weights, most, strict=True)):
        assert sum(parts) == total


def test_a_floor_is_reached_and_a_cap_is_not_passed_whatever_documents_weigh(tmp_path):
    table = [score_row(f"x/{d}", n, n / 100, domain=d, n_tokens=7 + n) for d in ("web", "code") for n in range(30)]
    store = write_store(tmp_path / "s", [table])
    selection = select(store, out=tmp_path / "o", tokens=300, floors={"code": 200}, caps={"web": 90}, manifest=True)
    code, web = selection.thresholds
    assert code.tokens_chosen >= 200
    assert web.tokens_chosen <= 90
    assert selection.tokens <= 300


def test_limits_are_recorded_and_the_card_tells_them(tmp_path):
    table = [score_row("x/a", n, n / 100, domain=d) for n, d in enumerate(["web", "a=b"] * 20)]
    store = write_store(tmp_path / "s", [table])
    config = SelectConfig(str(store), out=str(tmp_path / "o"), top=0.5, cap=("a=b=0.1", "web=3e1"), manifest=True)
    select_command(config)
    rule = json.loads((tmp_path / "o" / "selection.json").read_text())["rule"]
    assert (rule["caps"], rule["floors"]) == ({"a=b": 0.1, "web": 30.0}, {})
    card = (tmp_path / "o" / "README.md").read_text()
    assert "at most 0.1 of `a=b`" in card
    assert "at most 30 tokens of `web`" in card


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"caps": {"web": 0.1}, "floors": {"web": 0.2}}, "is above --cap"),
        ({"caps": {"web": 0.1}, "floors": {"web": 20}}, "both as shares or both as tokens"),
        ({"caps": {"web": 2.5}}, "--cap web=2.5"),
        ({"floors": {"web": -1}}, "--floor web=-1"),
        ({"caps": {"wob": 0.1}}, "did you mean 'web'"),
        ({"floors": {"web": 1000}}, "have only 100 tokens"),
        ({"top": None, "tokens": 20, "floors": {"web": 50}}, "more than --tokens 20"),
        ({"top": None, "tokens": 51, "floors": {"web": 51}}, "documents that reach the floors have 60 tokens"),
        ({"temperature": 0.0}, "--temperature is 0.0"),
        ({"workers": 2}, "a manifest has none"),
    ],
)
def test_options_that_contradict_one_another_or_the_store_are_usage_errors(tmp_path, options, message):
    store = write_store(tmp_path / "s", [[score_row("x/a", n, n / 10) for n in range(10)]])
    with pytest.raises(UsageError, match=message):
        select(store, out=tmp_path / "o", manifest=True, **{"top": 0.5, **options})
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("given", [("web",), ("web=",), ("web=1", "web=2")])
def test_limits_that_cannot_be_read_are_usage_errors(tmp_path, given):
    with pytest.raises(UsageError, match="--cap"):
        select_command(SelectConfig(str(tmp_path), top=0.5, cap=given))


def test_a_selection_without_thresholds_is_not_applied(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", n, n / 10) for n in range(10)]])
    select(store, out=tmp_path / "old", top=0.5, manifest=True, temperature=1.0)
    with pytest.raises(UsageError, match="no threshold of a domain"):
        select(store, out=tmp_path / "new", apply=tmp_path / "old", manifest=True)
    select(store, out=tmp_path / "cut", top=0.5, manifest=True)
    with pytest.raises(UsageError, match="cannot be combined with --apply"):
        select(store, out=tmp_path / "new", apply=tmp_path / "cut", manifest=True, temperature=1.0)
