"""Thousands of domains: a number of queries and lines that does not grow with them."""

from pathlib import Path

import duckdb
import pytest

from attention_influence.commands.printing.store_text import domains_and_reasons
from attention_influence.report import store_statistics
from attention_influence.report.sample import draw_sample
from attention_influence.report.store_statistics import DETAILED, read_store
from attention_influence.selection.select import select
from attention_influence.store.reader import open_store
from attention_influence.store.summary import summarise

from .stores import scored, unscored, write_store

DOMAINS = 2_000


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two documents of each domain, three of every tenth; one row without a score."""
    rows = [scored(row, row / 10_000, f"host-{row % DOMAINS:05d}") for row in range(2 * DOMAINS)]
    rows += [scored(2 * DOMAINS + row, 0.5, f"host-{row:05d}") for row in range(0, DOMAINS, 10)]
    return write_store(
        tmp_path_factory.mktemp("hosts"), rows[:3000], [*rows[3000:], unscored(0, "empty", "host-00000")]
    )


def test_statistics_of_many_domains_take_a_fixed_number_of_queries(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = []

    class Counted:
        def __init__(self, database: duckdb.DuckDBPyConnection) -> None:
            self._database = database

        def execute(self, query: str) -> object:
            queries.append(query)
            return self._database.execute(query)

        def __getattr__(self, name: str) -> object:
            return getattr(self._database, name)

    fill = store_statistics.fill
    tables = store_statistics.disk_tables

    class Tables:
        def __enter__(self) -> Counted:
            self._open = tables()
            return Counted(self._open.__enter__())

        def __exit__(self, *error: object) -> None:
            self._open.__exit__(*error)

    monkeypatch.setattr(store_statistics, "disk_tables", Tables)
    monkeypatch.setattr(store_statistics, "fill", lambda database, *rest: fill(database._database, *rest))
    figures = read_store(open_store(str(store)), {"host-00001": (0.2001, 1)})
    assert len(queries) < 10
    assert len(figures.domains) == DOMAINS
    first, second = figures.domains[:2]
    assert (first.documents, first.ranked, first.mean) == (4, 3, pytest.approx((0.0 + 0.2 + 0.5) / 3))
    assert (second.mean_kept, second.mean_dropped) == (pytest.approx(0.2001), pytest.approx(0.0001))
    detailed = [domain.name for domain in figures.domains if domain.histogram]
    assert detailed == [f"host-{row:05d}" for row in range(0, 10 * DETAILED, 10)], "the largest, then by name"
    assert [document.influence for document in first.highest] == [pytest.approx(x) for x in (0.5, 0.2, 0.0)]


def test_a_summary_is_that_of_the_queries_whatever_is_held_at_once(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_store(str(store))
    whole = summarise(opened)
    monkeypatch.setattr("attention_influence.store.summary._HELD_ROWS", 100)
    assert summarise(opened) == whole
    assert [(d.domain, d.documents, d.ranked, d.tokens, d.mean_influence) for d in whole.domains] == [
        (d.name, d.documents, d.ranked, d.tokens, pytest.approx(d.mean)) for d in read_store(opened, {}).domains
    ]
    assert whole.reasons == {"empty": 1}


def test_a_table_of_many_domains_shows_the_largest_and_says_how_many_more(store: Path) -> None:
    data, text = domains_and_reasons(str(store))
    assert len(data["domains"]) == DOMAINS
    assert len(text.splitlines()) == 1 + 20 + 2
    assert "host-00000" in text
    assert f"{DOMAINS - 20:,} more" in text


def test_a_sample_of_many_domains_is_of_the_largest(store: Path) -> None:
    sample = draw_sample(open_store(str(store)), {f"host-{row:05d}": 2 for row in range(DOMAINS)}, None, 500, 0)
    assert len(sample.parts()) <= 10
    assert not sample.is_all


def test_domains_too_small_for_a_share_are_announced(store: Path, tmp_path: Path) -> None:
    chosen = select(store, out=tmp_path / "small", top=0.2, manifest=True)
    [warning] = [one for one in chosen.warnings if "whole documents" in one]
    assert f"{DOMAINS:,} of {DOMAINS:,} domains have fewer than 5 documents" in warning
    assert "47.6% and not 20.0%" in warning
    assert not [one for one in select(store, out=tmp_path / "half", top=0.5, manifest=True).warnings if "whole" in one]
