"""Comparison of rankings, against scipy and sets."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from attention_influence.errors import StoreError
from attention_influence.evidence.compare import Comparison, compare
from attention_influence.selection.ranking.ranking import open_ranking
from attention_influence.store.reader import ScoreStore, open_store
from attention_influence.store.run import differing_fields
from report.stores import scored, write_store

Rows = list[dict[str, Any]]


def compared(
    a: ScoreStore, b: ScoreStore | None, *against: str, rank_by: str = "influence", top: float = 0.3, sample: int = 1000
) -> Comparison:
    rankings = [open_ranking(b or a, name) for name in against]
    return compare(a, open_ranking(a, rank_by), b, rankings, top=top, examples=3, sample=sample)


def opened(folder: Path, *units: Rows, **run: Any) -> ScoreStore:
    return open_store(str(write_store(folder, *units, **run)))


def random_rows(count: int, seed: int, domain: str = "web") -> Rows:
    rng = np.random.default_rng(seed)
    return [
        scored(n, float(rng.normal()), domain, loss_base=float(rng.random()), copy_share=float(rng.random()))
        for n in range(count)
    ]


def keys_of_top(rows: Rows, values: dict[int, float], top: float) -> set[int]:
    ordered = sorted((row["row"] for row in rows), key=lambda n: -values[n])
    return set(ordered[: math.ceil(top * len(rows))])


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(0, 40), st.integers(0, 10_000), st.sampled_from([0.1, 0.3, 1.0]))
def test_two_stores_are_joined_by_key_and_agree_as_scipy_and_sets_say(
    tmp_path_factory: pytest.TempPathFactory, count: int, offset: int, seed: int, top: float
) -> None:
    rows_a, rows_b = random_rows(count, seed), random_rows(count, seed + 1)
    rows_b = [row | {"row": row["row"] + offset} for row in rows_b]
    shared = {row["row"] for row in rows_a} & {row["row"] for row in rows_b}
    folder = tmp_path_factory.mktemp("stores")
    a, b = opened(folder / "a", rows_a[::2], rows_a[1::2]), opened(folder / "b", rows_b[::-1])
    if not shared:
        with pytest.raises(StoreError, match="nothing to compare"):
            compared(a, b, "influence", top=top)
        return
    found = compared(a, b, "influence", top=top)
    assert (found.documents, found.only_a, found.only_b) == (len(shared), count - len(shared), count - len(shared))
    value_a = {row["row"]: row["influence"] for row in rows_a}
    value_b = {row["row"]: row["influence"] for row in rows_b}
    both = [row for row in rows_a if row["row"] in shared]
    in_a, in_b = keys_of_top(both, value_a, top), keys_of_top(both, value_b, top)
    (one,) = found.agreements
    if len(shared) > 1:
        order = sorted(shared)
        expected = spearmanr([value_a[n] for n in order], [value_b[n] for n in order]).statistic
        assert one.spearman == pytest.approx(expected)
    assert one.top.share == pytest.approx(len(in_a & in_b) / len(in_a))
    assert one.top.chance == pytest.approx(len(in_a) / len(shared))
    for picked, keys in ((one.both, in_a & in_b), (one.only_a, in_a - in_b), (one.only_b, in_b - in_a)):
        assert picked.documents == len(keys)
        for figure in ("loss_base", "copy_share", "influence"):
            values = [row[figure] for row in both if row["row"] in keys]
            assert picked.means[figure] == (pytest.approx(np.mean(values), abs=1e-6) if values else None)
    rank_a, rank_b = (
        {n: 1 + sum(values[m] > values[n] for m in shared) for n in shared} for values in (value_a, value_b)
    )
    gaps = sorted((rank_b[n] - rank_a[n] for n in in_a - in_b), reverse=True)[:3]
    assert [e.rank_b - e.rank_a for e in one.examples_a] == gaps
    assert all((e.rank_a, e.rank_b) == (rank_a[e.row], rank_b[e.row]) for e in (*one.examples_a, *one.examples_b))
    assert {e.row for e in one.examples_b} <= in_b - in_a


def test_several_rankings_of_one_store_are_compared_domain_by_domain(tmp_path: Path) -> None:
    rows = random_rows(50, 0) + random_rows(30, 1, "code")
    store = opened(tmp_path, rows)
    found = compared(store, None, "perplexity", "-influence", "influence")
    assert [(one.domain, one.against, one.documents) for one in found.agreements] == [
        (domain, name, count)
        for name in ("perplexity", "-influence", "influence")
        for domain, count in (("code", 30), ("web", 50))
    ]
    code = rows[50:]
    expected = spearmanr([r["influence"] for r in code], [-r["loss_base"] for r in code]).statistic
    assert found.agreements[0].spearman == pytest.approx(expected)
    assert (found.agreements[2].spearman, found.agreements[2].top.both) == (pytest.approx(-1), 0)
    assert (found.agreements[5].spearman, found.agreements[5].top.share) == (pytest.approx(1), 1)
    assert found.agreements[5].only_a.means["influence"] is None


def test_only_documents_that_both_rank_are_compared(tmp_path: Path) -> None:
    rows = random_rows(10, 0)
    rows[0]["influence"], rows[1]["loss_base"] = None, math.nan
    found = compared(opened(tmp_path, rows), None, "loss_base")
    assert (found.documents, found.agreements[0].documents) == (10, 8)


def test_of_many_documents_the_same_sample_is_taken_from_both_stores(tmp_path: Path) -> None:
    rows = random_rows(400, 0)
    a, b = opened(tmp_path / "a", rows), opened(tmp_path / "b", rows[100:][::-1])
    found = compared(a, b, "influence", sample=50)
    assert found.is_sample
    assert found.documents + found.only_a == 50 or found.documents + found.only_b == 50
    assert found.documents > 20
    assert found.only_b == 0
    assert found.agreements[0].spearman == pytest.approx(1)
    assert found == compared(opened(tmp_path / "c", rows[:9], rows[9:]), b, "influence", sample=50)
    assert not compared(a, b, "influence", sample=400).is_sample


def test_a_document_that_comes_twice_is_an_error(tmp_path: Path) -> None:
    rows = random_rows(5, 0)
    with pytest.raises(StoreError, match=r"web\.jsonl, row 3 appears twice"):
        compared(opened(tmp_path, rows, rows[3:4]), None, "loss_base")


def test_other_domains_and_fingerprints_are_told(tmp_path: Path) -> None:
    rows = random_rows(5, 0)
    a = opened(tmp_path / "a", rows, fingerprint={"heads": [[0, 1]], "dtype": "bf16"})
    b = opened(tmp_path / "b", [rows[0] | {"domain": "other"}, *rows[1:]], fingerprint={"heads": [[0, 1]], "window": 8})
    assert differing_fields(a.run["fingerprint"], b.run["fingerprint"]) == ["dtype", "window"]
    found = compared(a, b, "influence")
    assert (found.moved, found.agreements[0].documents) == (1, 5)
