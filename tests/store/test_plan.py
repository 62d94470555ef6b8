import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence.corpus import Source, list_sources
from attention_influence.corpus.formats import read_rows
from attention_influence.corpus.rows import Columns
from attention_influence.corpus.slices import BYTES_PER_TOKEN
from attention_influence.errors import UsageError
from attention_influence.store import plan as plans
from attention_influence.store.plan import (
    Unit,
    default_unit_tokens,
    make_plan,
    plan_from_bytes,
    plan_to_bytes,
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, ...]:
    """Files small and large, of each kind, one of them empty."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(0)

    def texts(n: int) -> list[str]:
        return ["".join(rng.choices("abcdef ghij", k=rng.randint(1, 400))) for _ in range(n)]

    def lines(n: int) -> bytes:
        return "".join(json.dumps({"text": text}) + "\n" for text in texts(n)).encode()

    (folder / "large.jsonl").write_bytes(lines(200))
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(lines(200)))
    for i in range(5):
        (folder / f"small-{i}.jsonl").write_bytes(lines(3))
    pq.write_table(pa.table({"text": texts(200)}), folder / "groups.parquet", row_group_size=20)
    pq.write_table(pa.table({"text": texts(200)}), folder / "one-group.parquet")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), folder / "no-rows.parquet")
    return list_sources([str(folder)]).sources


def keys(units: Sequence[Unit]) -> list[tuple[str, int]]:
    return [
        (part.source.name, row.row)
        for unit in units
        for part in unit.slices
        for rows in read_rows(part.source, Columns(), part.start, part.end)
        for row in rows
    ]


@pytest.mark.parametrize("unit_tokens", [pytest.param(1, marks=pytest.mark.slow), 60, 700, 5000, 10**9], ids=str)
def test_every_row_belongs_to_one_unit_whatever_their_size(sources: tuple[Source, ...], unit_tokens: int) -> None:
    everything = keys(make_plan(sources, 10**9))
    assert len(everything) == len(set(everything)) == 4 * 200 + 15
    planned = keys(make_plan(sources, unit_tokens))
    assert len(planned) == len(everything)
    assert set(planned) == set(everything)


def test_large_files_are_cut_and_small_ones_share_a_unit(sources: tuple[Source, ...]) -> None:
    units = make_plan(sources, 2000)
    of_file: dict[str, set[str]] = {}
    for unit in units:
        for part in unit.slices:
            of_file.setdefault(part.source.name.rpartition("/")[2], set()).add(unit.name)
    assert set(of_file) == {source.name.rpartition("/")[2] for source in sources}
    for name in ("large.jsonl", "packed.jsonl.gz", "groups.parquet", "one-group.parquet"):
        assert len(of_file[name]) > 2, name
    assert len(set.union(*(of_file[f"small-{i}.jsonl"] for i in range(5)))) <= 2


def test_units_are_numbered_from_the_biggest_to_the_smallest(sources: tuple[Source, ...]) -> None:
    units = make_plan(sources, 2000, first=7)
    assert [unit.name[:6] for unit in units] == [f"{number:06d}" for number in range(7, 7 + len(units))]
    plain = [unit for unit in units if all(part.source.compression is None for part in unit.slices)]

    def size(unit: Unit) -> int:
        texts = [
            row.text or ""
            for part in unit.slices
            for rows in read_rows(part.source, Columns(), part.start, part.end)
            for row in rows
        ]
        return sum(map(len, texts))

    sizes = [size(unit) for unit in plain]
    assert max(sizes) < 1.3 * 2000 * BYTES_PER_TOKEN
    assert sizes[-1] < 0.5 * sizes[0]


def test_a_parquet_file_is_cut_between_row_groups_where_they_fit(sources: tuple[Source, ...]) -> None:
    units = make_plan([source for source in sources if source.name.endswith("/groups.parquet")], 2500)
    starts = [part.start for unit in units for part in unit.slices]
    assert len(starts) > 2
    assert all(start % 20 == 0 for start in starts)


def test_a_plan_comes_back_from_its_file_as_it_was(sources: tuple[Source, ...]) -> None:
    units = make_plan(sources, 700)
    assert plan_from_bytes(plan_to_bytes(units)) == units
    assert plan_from_bytes(plan_to_bytes([])) == []


def test_a_damaged_parquet_file_does_not_stop_the_plan(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["good"] * 10}), tmp_path / "good.parquet")
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "good.parquet").read_bytes()[:-20])
    units = make_plan(list_sources([str(tmp_path)]).sources, 1000)
    names = {part.source.name.rpartition("/")[2] for unit in units for part in unit.slices}
    assert names == {"cut.parquet", "good.parquet"}


def test_too_many_units_are_refused_with_the_option_to_change(
    sources: tuple[Source, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "MOST_UNITS", 20)
    make_plan(sources, 10**6)
    with pytest.raises(UsageError, match="--unit-tokens"):
        make_plan(sources, 10)


def test_the_default_unit_is_little_work_on_a_cpu_whatever_the_model() -> None:
    assert default_unit_tokens("cuda", 135_000_000) == 60_000_000
    assert default_unit_tokens("cuda", 1_350_000_000) == 6_000_000
    assert default_unit_tokens("cuda", 70_000_000_000) == 1_000_000
    assert default_unit_tokens("cuda", 1_000) == 60_000_000
    assert default_unit_tokens("cpu", 135_000_000) == 50_000
    assert default_unit_tokens("cpu", 1_350_000_000) == 5_000
    assert default_unit_tokens("cpu", 70_000_000_000) == 2_000
    assert default_unit_tokens("cpu", 1_000) == 100_000


def test_units_grow_where_there_would_be_too_many_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plans, "MOST_UNITS", 20)
    source = Source("c.jsonl", "file:///c.jsonl", "jsonl", None, 4 * 1000, "")
    assert len(make_plan([source], 100, may_grow=True)) == 10
    assert not caplog.records
    grown = make_plan([source], 10, may_grow=True)
    assert len(grown) == 13
    assert "units are of 80 tokens: of 10, the usual size, there would be more than 20" in caplog.text
