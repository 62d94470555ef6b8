"""Rows are drawn evenly over all files, in bounded reading."""

import json
import math
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence.corpus import Columns, list_sources, read_rows, sample, texts
from attention_influence.corpus.sample import sample_rows
from attention_influence.corpus.texts import draw_texts
from attention_influence.errors import CorpusError
from corpus.corpus_files import encode

SIZE = 64 << 10


def lines(name: str, count: int, size: int = 200, seed: int = 0) -> bytes:
    """Rows of random characters, so that compressed files are about as large."""
    rng = random.Random(f"{name}/{seed}")
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"
    rows = [
        {"text": f"{name} " + "".join(rng.choices(letters, k=rng.randrange(size // 2, size)))} for _ in range(count)
    ]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)


@pytest.fixture
def small_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "_BYTES", SIZE)
    monkeypatch.setattr(texts, "_FEWEST_BYTES", SIZE)
    monkeypatch.setattr(sample, "_DRAWS", 64)


def test_a_small_corpus_is_taken_whole_in_its_order(tmp_path: Path) -> None:
    for name in "ba":
        write(tmp_path / f"{name}.jsonl", lines(name, 30))
    drawn = draw_texts([str(tmp_path)], "text", 20_000, seed=3)
    every = [
        row.text for source in list_sources([str(tmp_path)]).sources for b in read_rows(source, Columns()) for row in b
    ]
    assert drawn == {str(tmp_path): every}


@pytest.mark.usefixtures("small_draws")
def test_each_input_gives_an_equal_share_whatever_their_order_and_size(tmp_path: Path) -> None:
    write(tmp_path / "a" / "0.jsonl", lines("a", 5000, size=20))
    write(tmp_path / "b" / "0.jsonl", lines("b", 600))
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    drawn = draw_texts([a, b, a], "text", 200, seed=0)
    assert {name: len(of_input) for name, of_input in drawn.items()} == {a: 100, b: 100}
    assert all(text.startswith("a ") for text in drawn[a])
    assert draw_texts([b, a], "text", 200, seed=0) == drawn
    assert draw_texts([a, b], "text", 200, seed=1) != drawn


@pytest.mark.usefixtures("small_draws")
def test_files_are_drawn_by_their_size_and_how_many_there_are_does_not_matter(tmp_path: Path) -> None:
    kinds = {"a": 1200, "b": 600, "c": 600}
    for kind, count in kinds.items():
        data = lines(kind, count)
        write(tmp_path / "few" / f"{kind}.jsonl", data)
        for number, line in enumerate(data.splitlines(keepends=True)):
            with (tmp_path / f"{kind}-{number // 5:03d}.part").open("ab") as part:
                part.write(line)
    (tmp_path / "many").mkdir()
    for part in tmp_path.glob("*.part"):
        part.rename(tmp_path / "many" / f"{part.stem}.jsonl")
    counts: dict[str, Counter[str]] = {"few": Counter(), "many": Counter()}
    for folder, of_kind in counts.items():
        for seed in range(8):
            of_kind.update(
                text[0] for text in draw_texts([str(tmp_path / folder)], "text", 20_000, seed)[str(tmp_path / folder)]
            )
        total = of_kind.total()
        assert {kind: of_kind[kind] / total for kind in kinds} == pytest.approx(
            {"a": 0.5, "b": 0.25, "c": 0.25}, abs=0.06
        )
    assert counts["many"].total() == pytest.approx(counts["few"].total(), rel=0.1)


@pytest.mark.parametrize("kind", ["", ".gz", ".zst", ".parquet"])
def test_every_row_of_a_format_is_equally_likely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(sample, "_DRAWS", 16)
    for name, count, size in (("x", 5, 8000), ("y", 150, 300), ("z", 1, 500)):
        data = lines(name, count, size)
        if kind == ".parquet":
            rows = [json.loads(line)["text"] for line in data.splitlines()]
            pq.write_table(pa.table({"text": rows}), tmp_path / f"{name}{kind}", row_group_size=40, compression="none")
        else:
            write(tmp_path / f"{name}.jsonl{kind}", encode(data, {"": None, ".gz": "gzip", ".zst": "zstd"}[kind]))
    sources = list_sources([str(tmp_path)]).sources
    every = [(source.name, row.row) for source in sources for batch in read_rows(source, Columns()) for row in batch]
    counts: Counter[tuple[str, int]] = Counter()
    runs = 400
    for seed in range(runs):
        _, rows = sample_rows(sources, Columns(), 4096, seed)
        counts.update({(source.name, row.row) for source, row in rows})
    mean = sum(counts.values()) / len(every)
    assert 10 < mean < runs / 2
    # The files of Parquet differ in bytes to a row only by their footers.
    tolerance = 5 * math.sqrt(mean) + (0.5 * mean if kind == ".parquet" else 0.1 * mean)
    assert {key: counts[key] for key in every if abs(counts[key] - mean) > tolerance} == {}


@pytest.mark.parametrize("compression", [None, "gzip", "zstd"])
def test_no_more_is_read_than_the_draws_and_what_is_needed_to_reach_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compression: str | None
) -> None:
    monkeypatch.setattr(sample, "_DRAWS", 8)
    monkeypatch.setattr(sample, "_REACH", 10_000)
    ending = {None: "", "gzip": ".gz", "zstd": ".zst"}[compression]
    for number in range(40):
        write(tmp_path / f"{number}.jsonl{ending}", encode(lines(str(number), 200), compression))
    slices, rows = sample_rows(list_sources([str(tmp_path)]).sources, Columns(), 8192, seed=0)
    assert len({part.source for part in slices}) <= 8
    assert len(rows) < 200
    if compression is not None:
        assert all(part.start <= 10_000 for part in slices)
    keys = [(part.source.name, part.start, part.end) for part in slices]
    assert keys == sorted(keys)
    assert all(
        any(part.source == source and part.start <= row.row < (part.end or 0) for part in slices)
        for source, row in rows
    )


def test_huge_documents_are_drawn_too(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", lines("a", 40, size=400_000))
    _, rows = sample_rows(list_sources([str(tmp_path)]).sources, Columns(), 20_000, seed=0)
    assert rows


def test_a_file_that_cannot_be_read_costs_its_own_rows_only(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", b"PAR1 and no more")
    write(tmp_path / "b.jsonl", b'{"body": "another key"}\n')
    with pytest.raises(CorpusError, match=r"a.parquet: cannot be read"):
        draw_texts([str(tmp_path)], "text", 100, seed=0)
    write(tmp_path / "c.jsonl", lines("c", 10))
    assert len(draw_texts([str(tmp_path)], "text", 100, seed=0)[str(tmp_path)]) == 10
