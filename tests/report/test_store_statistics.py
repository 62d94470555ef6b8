"""Figures by domain: what the store holds, whatever it holds."""

import math
from pathlib import Path

import numpy as np
import pytest

from attention_influence.errors import StoreError
from attention_influence.report.store_statistics import StoreStatistics, read_store
from attention_influence.store.reader import open_store

from .stores import scored, unscored, write_store


def figures_of(store: Path, cuts: dict[str, tuple[float, int]]) -> StoreStatistics:
    return read_store(open_store(str(store)), cuts)


def test_figures_of_a_domain_are_those_of_its_rows(tmp_path):
    rows = [scored(row, influence) for row, influence in enumerate([0.4, 0.1, 0.3, 0.2])]
    write_store(tmp_path, rows[:2], rows[2:])
    (domain,) = figures_of(tmp_path, {"web": (0.3, 2)}).domains
    assert (domain.documents, domain.ranked, domain.tokens) == (4, 4, 400)
    assert domain.mean == pytest.approx(0.25)
    assert domain.mean_kept == pytest.approx(0.35)
    assert domain.mean_dropped == pytest.approx(0.15)
    assert [document.row for document in domain.highest] == [0, 2, 3, 1]
    assert domain.lowest == ()
    assert domain.histogram is not None
    assert sum(domain.histogram.counts) == 4


def test_the_ends_hold_five_documents_each_and_none_twice(tmp_path):
    write_store(tmp_path, [scored(row, row / 10) for row in range(8)])
    (domain,) = figures_of(tmp_path, {}).domains
    assert [document.row for document in domain.highest] == [7, 6, 5, 4, 3]
    assert [document.row for document in domain.lowest] == [0, 1, 2]


def test_ties_at_the_threshold_count_as_often_as_they_were_chosen(tmp_path):
    write_store(tmp_path, [scored(row, value) for row, value in enumerate([0.5, 0.3, 0.3, 0.3, 0.1])])
    (domain,) = figures_of(tmp_path, {"web": (float(np.float32(0.3)), 2)}).domains
    assert domain.mean_kept == pytest.approx(0.4)
    assert domain.mean_dropped == pytest.approx(0.7 / 3)


def test_null_and_non_finite_influence_is_counted_and_never_ranked(tmp_path):
    rows = [scored(0, 0.2), scored(1, math.nan), scored(2, math.inf), unscored(3, "null_text")]
    degenerate = scored(4, None) | {"flag": "degenerate"}
    write_store(tmp_path, [*rows, degenerate, unscored(5, "null_text", domain="other")])
    figures = figures_of(tmp_path, {})
    other, web = figures.domains
    assert (web.documents, web.ranked, web.mean) == (5, 1, pytest.approx(0.2))
    assert [document.row for document in web.highest + web.lowest] == [0]
    assert (other.ranked, other.mean, other.histogram, other.highest) == (0, None, None, ())
    assert figures.unscored == (
        ("web", "no finite influence", 2),
        ("other", "null_text", 1),
        ("web", "degenerate", 1),
        ("web", "null_text", 1),
    )


def test_two_flags_of_one_row_count_under_each(tmp_path):
    write_store(tmp_path, [scored(0, 0.1) | {"flag": "too_short, repetitive"}, scored(1, 0.2) | {"flag": "too_short"}])
    assert figures_of(tmp_path, {}).flagged == (("web", "too_short", 2), ("web", "repetitive", 1))


def test_an_outlier_does_not_flatten_the_histogram(tmp_path):
    write_store(tmp_path, [scored(row, 0.1 + row / 10_000) for row in range(999)] + [scored(999, 500.0)])
    (domain,) = figures_of(tmp_path, {}).domains
    histogram = domain.histogram
    assert histogram is not None
    assert histogram.edges[-1] < 0.3
    assert sum(histogram.counts) == 1000
    assert histogram.beyond >= 1


def test_the_histogram_reaches_the_threshold(tmp_path):
    write_store(tmp_path, [scored(row, 0.1) for row in range(300)] + [scored(300, 0.9)])
    (domain,) = figures_of(tmp_path, {"web": (0.9, 1)}).domains
    assert domain.histogram is not None
    assert domain.histogram.edges[0] <= 0.1
    assert domain.histogram.edges[-1] >= 0.9
    assert domain.histogram.beyond == 0


def test_a_folder_with_the_signs_of_a_pattern_is_read(tmp_path):
    write_store(tmp_path / "run [1] *", [scored(0, 0.1)])
    assert figures_of(tmp_path / "run [1] *", {}).domains[0].documents == 1


def test_a_unit_that_is_still_being_written_is_left_out(tmp_path):
    write_store(tmp_path, [scored(0, 0.1)])
    (tmp_path / "scores" / ".building-1.parquet").write_bytes(b"PAR1")
    assert figures_of(tmp_path, {}).domains[0].documents == 1


def test_a_broken_unit_is_a_store_error(tmp_path):
    write_store(tmp_path, [scored(0, 0.1)], [scored(1, 0.1)])
    (tmp_path / "scores" / "unit-1.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(StoreError, match="this unit cannot be read"):
        figures_of(tmp_path, {})
