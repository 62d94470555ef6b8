"""Another format of tables needs its module and its entry in two tables: all that reads a corpus reads it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from annotated_stores import annotated_store
from attention_influence.corpus import Columns, Row, Source, formats, kinds, list_sources, read_rows
from attention_influence.corpus.first_rows import first_rows
from attention_influence.corpus.sample import draw_slices, drawn_rows, sample_rows
from attention_influence.corpus.slices import Block, Slice
from attention_influence.corpus.values import Keys, ValueKind, values_of
from attention_influence.errors import UsageError
from attention_influence.report.texts import texts_at
from attention_influence.selection import select
from attention_influence.store.columns.corpus_values import column_numbers
from attention_influence.store.columns.number_files import NumberFiles, read_numbers
from attention_influence.store.find import find_row
from attention_influence.store.plan import make_plan
from attention_influence.store.reader import open_store

TEXTS = [f"text {'x' * (n % 17)} {n}" for n in range(300)]


class ArrowFiles:
    KEY = "a row's number"
    IS_COMPRESSED = False

    def rows_in(self, source: Source, columns: Columns, start: int = 0, end: int | None = None) -> Iterator[Row]:
        for n, text in enumerate(_table(source)[columns.text].to_pylist()[start:end], start):
            yield Row(n, text, None, "default")

    def values_at(
        self, source: Source, keys: Keys, column: str, kind: ValueKind
    ) -> Iterator[tuple[list[int], list[object]]]:
        for some, table in self.tables_at(source, keys, [column]):
            yield some, values_of(table[column].combine_chunks(), kind)

    def column_names(self, source: Source) -> list[str]:
        return list(_table(source).column_names)

    def blocks(self, source: Source) -> list[Block]:
        table = _table(source)
        return [Block(0, len(table), table.nbytes)]

    def schema_of(self, source: Source) -> pa.Schema:
        return _table(source).schema

    def tables_at(
        self, source: Source, keys: Keys, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[list[int], pa.Table]]:
        table = _table(source)
        yield [int(key) for key in keys], table.select(columns or table.column_names).take(pa.array(keys))


def _table(source: Source) -> pa.Table:
    with pa.memory_map(source.url.removeprefix("file://")) as file:
        return pa.ipc.open_file(file).read_all()


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    known = kinds.kind_of
    monkeypatch.setattr(kinds, "kind_of", lambda path: ("arrow", None) if path.endswith(".arrow") else known(path))
    for registry in (formats._TABLES, formats._FORMATS):
        monkeypatch.setitem(registry, "arrow", ArrowFiles())
    folder = tmp_path / "corpus"
    folder.mkdir()
    table = pa.table({"text": TEXTS, "n": range(len(TEXTS)), "source": ["corpus/a.arrow"] * 300, "row": range(300)})
    with pa.ipc.new_file(folder / "a.arrow", table.schema) as file:
        file.write(table)
    return folder


def test_it_is_planned_sampled_and_read_whole(corpus: Path) -> None:
    listing = list_sources([str(corpus)])
    parts = sorted((part for unit in make_plan(listing.sources, 100) for part in unit.slices), key=lambda p: p.start)
    assert len(parts) > 5
    rows = [row for part in parts for rows in read_rows(part.source, Columns(), part.start, part.end) for row in rows]
    assert [(row.row, row.text) for row in rows] == list(enumerate(TEXTS))
    drawn, share = draw_slices(listing.sources, 1000, seed=0)
    assert 0 < share <= 1
    assert all(row.text == TEXTS[row.row] for rows in drawn_rows(drawn, Columns()) for _, row in rows)
    _, sampled = sample_rows(listing.sources, Columns(), 2000, seed=0)
    assert 0 < len(sampled) < len(TEXTS)
    assert first_rows(listing, 7, Columns()).ends == {"corpus/a.arrow": 7}


def test_its_values_are_found_by_key(corpus: Path, tmp_path: Path) -> None:
    (source,) = list_sources([str(corpus)]).sources
    assert list(column_numbers("n")(Slice(source), np.array([3, 250]))) == [([3, 250], [3.0, 250.0])]
    (joined,) = read_numbers(NumberFiles((source,), "n"), source)
    assert joined["number"].to_pylist() == list(range(300))
    store = open_store(annotated_store(tmp_path / "s", corpus).url)
    assert texts_at(store, [(source.name, 299)]) == ({(source.name, 299): TEXTS[299]}, [])
    with pytest.raises(UsageError, match="ROW is a row's number"):
        find_row(store, (source.name, 300))


def test_its_rows_are_selected_as_a_table(corpus: Path, tmp_path: Path) -> None:
    store = annotated_store(tmp_path / "s", corpus)
    (file,) = select(store.url, out=tmp_path / "out", top=0.1).files
    written = pq.read_table(tmp_path / "out" / file)
    numbers = written["n"].to_pylist()
    assert len(numbers) == 30
    assert written["text"].to_pylist() == [TEXTS[n] for n in numbers]
    assert min(len(TEXTS[n]) for n in numbers) >= sorted(map(len, TEXTS))[-30]
