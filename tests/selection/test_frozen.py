import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from by_sorting import hash_of
from hypothesis import given, settings
from hypothesis import strategies as st
from store_files import score_row, write_store

from attention_influence.errors import StoreError, UsageError
from attention_influence.selection import select

rows = st.lists(
    st.tuples(
        st.sampled_from([None, math.nan, 0.0, 0.25, 0.5, 0.75, 0.1]),
        st.sampled_from(["web", "code"]),
        st.integers(1, 9),
    ),
    min_size=1,
    max_size=30,
)


def table_of(rows, source):
    return [score_row(source, n, i, domain=d, n_tokens=t) for n, (i, d, t) in enumerate(rows)]


def keys_of(folder):
    found = pq.read_table(folder / "manifest.parquet")
    return set(zip(found["source"].to_pylist(), found["row"].to_pylist(), strict=True))


@settings(max_examples=40, deadline=None)
@given(old=rows, new=rows, rank_by=st.sampled_from(["influence", "-influence", "n_tokens", "-length"]))
def test_frozen_thresholds_choose_what_comparing_each_document_with_the_last_chosen_does(old, new, rank_by):
    sign = -1 if rank_by.startswith("-") else 1
    column = "influence" if "influence" in rank_by else "n_tokens"

    def order(row):
        return (-sign * np.float32(row[column]), hash_of(row["source"], row["row"]))

    def finite(rows):
        return [row for row in rows if row["influence"] is not None and math.isfinite(row["influence"])]

    before, after = table_of(old, "x/a"), table_of(new, "x/b")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        first, second = write_store(folder / "s", [before]), write_store(folder / "t", [after[::2], after[1::2]])
        if not finite(before) or not finite(after):
            return
        select(first, out=folder / "old", top=0.4, rank_by=rank_by, manifest=True)
        last = {}
        chosen = keys_of(folder / "old")
        for row in before:
            if (row["source"], row["row"]) in chosen:
                last[row["domain"]] = max(last.get(row["domain"], order(row)), order(row))
        expected = {
            (row["source"], row["row"])
            for row in finite(after)
            if row["domain"] in last and order(row) <= last[row["domain"]]
        }
        if not expected:
            with pytest.raises(UsageError, match="at or above a threshold"):
                select(second, out=folder / "new", apply=folder / "old", manifest=True)
            return
        selection = select(second, out=folder / "new", apply=folder / "old", manifest=True)
        assert keys_of(folder / "new") == expected
        unknown = {row["domain"] for row in finite(after)} - {row["domain"] for row in before}
        assert {d for d in unknown if any(f"domain {d}: " in w for w in selection.warnings)} == unknown
        assert select(first, out=folder / "same", apply=folder / "old", manifest=True).documents == len(chosen)
        assert keys_of(folder / "same") == chosen


@pytest.fixture
def old(tmp_path):
    store = write_store(tmp_path / "s", [[score_row("x/a", n, n / 10) for n in range(10)]])
    select(store, out=tmp_path / "old", top=0.5, manifest=True)
    return tmp_path / "old"


def test_a_store_scored_otherwise_is_refused_by_the_field_that_differs(tmp_path, old):
    store = write_store(tmp_path / "t", [[score_row("x/a", 0, 0.9)]], fingerprint={"model": "tiny", "heads": [[1, 2]]})
    with pytest.raises(StoreError, match="another heads"):
        select(store, out=tmp_path / "new", apply=old)


def test_rankings_that_mean_nothing_elsewhere_are_refused(tmp_path, old):
    record = json.loads((old / "selection.json").read_text())
    for name in ("controlled", "-controlled", "unigram_surprisal"):
        record["ranking"]["name"] = name
        (old / "selection.json").write_text(json.dumps(record))
        with pytest.raises(StoreError, match="means nothing in another store"):
            select(tmp_path / "s", out=tmp_path / "new", apply=old)


def test_what_was_applied_is_recorded_and_is_not_applied_again(tmp_path, old):
    select(tmp_path / "s", out=tmp_path / "new", apply=old / "selection.json", manifest=True)
    assert json.loads((tmp_path / "new" / "selection.json").read_text())["rule"]["apply"] == f"{old}/selection.json"
    assert "thresholds of an earlier selection" in (tmp_path / "new" / "README.md").read_text()
    with pytest.raises(UsageError, match="Apply that one"):
        select(tmp_path / "s", out=tmp_path / "newer", apply=tmp_path / "new")


@pytest.mark.parametrize("options", [{"top": 0.5}, {"tokens": 5}, {"rank_by": "length"}])
def test_frozen_thresholds_leave_no_other_rule(tmp_path, old, options):
    with pytest.raises(UsageError):
        select(tmp_path / "s", out=tmp_path / "new", apply=old, **options)


def test_a_folder_that_holds_no_selection_is_refused(tmp_path, old):
    with pytest.raises(UsageError, match="not the record of a selection"):
        select(tmp_path / "s", out=tmp_path / "new", apply=tmp_path)
