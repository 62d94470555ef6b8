import gzip
import json
import math
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence.corpus import Columns, list_sources, read_rows
from attention_influence.corpus.sample import draw_slices
from runs.runs import Command, rows_of, texts, write_lines

DRAWS = 3000


def text_of(characters: int, rng: random.Random) -> str:
    return "".join(rng.choices("abcdefghij klmnop", k=characters))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of one row and of many, of short rows and long ones, of three formats."""
    folder = tmp_path_factory.mktemp("mixed")
    rng = random.Random(0)
    for i in range(10):
        write_lines(folder / f"one-{i}.jsonl", [text_of(300, rng)])
    write_lines(folder / "long.jsonl", [text_of(15_000, rng) for _ in range(6)])
    write_lines(folder / "short.jsonl", [text_of(60, rng) for _ in range(200)])
    lines = "".join(json.dumps({"text": text_of(500, rng)}) + "\n" for _ in range(60))
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for name, rows, size in (("rows-long", 8, 12_000), ("rows-short", 150, 80), ("rows-one", 1, 200)):
        table = pa.table({"text": [text_of(size, rng) for _ in range(rows)]})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=40, use_dictionary=False)
    (folder / "damaged.parquet").write_bytes(b"PAR1 and no more")
    return folder


def test_every_row_is_equally_likely_to_be_drawn(mixed: Path) -> None:
    """Each row's count is nearly Poisson with one mean; first rows and rows of all sizes are no exception."""
    sources = [source for source in list_sources([str(mixed)]).sources if "damaged" not in source.name]
    keys = {
        source.name: sorted(row.row for batch in read_rows(source, Columns()) for row in batch) for source in sources
    }
    counts: Counter[tuple[str, int]] = Counter()
    expected = 0.0
    for seed in range(DRAWS // 50):
        draws, share = draw_slices(list_sources([str(mixed)]).sources, 50 * 1024, seed)
        expected += share
        for part in (part for draw in draws for part in draw):
            if part.source.name in keys:
                assert part.end is not None
                counts.update((part.source.name, key) for key in keys[part.source.name] if part.start <= key < part.end)
    assert expected > 20
    for name, its_keys in keys.items():
        for key in its_keys:
            drawn = counts[name, key]
            assert abs(drawn - expected) < 5 * math.sqrt(expected), (name, key, drawn, expected)
        mean = sum(counts[name, key] for key in its_keys) / len(its_keys)
        assert abs(mean - expected) < 5 * math.sqrt(expected), name


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("known")
    for i in range(8):
        write_lines(folder / f"{i}.jsonl", texts(150, i, words=60))
    for i in range(30):
        write_lines(folder / f"one-{i}.jsonl", texts(1, 100 + i, words=60))
    return folder


@pytest.mark.slow
def test_totals_and_thresholds_lie_near_those_of_the_whole_corpus(cli: Command, known: Path, tmp_path: Path) -> None:
    """The sample is half a corpus of 1,230 documents: with 47 draws totals vary by some 3%; 4 of 5 intervals hold."""
    store = tmp_path / "scores"
    assert cli.score(known, store).code == 0
    rows = [*rows_of(store).values()]
    ranked = sorted((row["influence"] for row in rows), reverse=True)
    threshold = ranked[math.ceil(0.2 * len(ranked)) - 1]
    tokens = sum(row["n_tokens"] for row in rows)
    heads = ("--model", cli.model, "--heads", cli.model / "heads.json", "--dtype", "fp32")
    inside = 0
    for seed in range(5):
        said = cli.run("estimate", known, *heads, "--sample-tokens", 25_000, "--seed", seed, "--json")
        assert said.code == 0, said.err
        data = said.data
        assert data["documents"] == pytest.approx(len(rows), rel=0.15)
        assert data["tokens"] == pytest.approx(tokens, rel=0.15)
        assert data["hours"] == pytest.approx(data["tokens"] / data["tokens_per_second"] / 3600, rel=0.01)
        assert 100 << 20 < data["peak_memory_bytes"] < 8 << 30
        [domain] = data["domains"]
        low, high = domain["threshold_interval"]
        assert low <= domain["threshold"] <= high
        inside += low <= threshold <= high
    print(f"{inside} of 5 intervals hold the threshold")
    assert inside >= 3


def test_an_estimate_tells_hours_and_memory_and_writes_nothing(
    cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = tmp_path / "corpus"
    write_lines(corpus / "c.jsonl", texts(50))
    (corpus / "broken.parquet").write_bytes(b"PAR1")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    said = cli.run(*("estimate", corpus, "--model", cli.model, "--heads", cli.model / "heads.json", "--dtype", "fp32"))
    assert said.code == 0, said.err
    assert "hours on this machine" in said.out
    assert "peak memory" in said.out
    assert "threshold of the top 20%" in said.out
    assert sorted(tmp_path.rglob("*")) == before


def test_an_estimate_tells_what_screening_would_spare(cli: Command, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    write_lines(corpus / "c.jsonl", texts(300))
    heads = ("--model", cli.model, "--heads", cli.model / "heads.json", "--dtype", "fp32")
    screen = ("--screen", "--calibration", 140, "--keep-recall", 0.8, "--confidence", 0.8)
    said = cli.run("estimate", corpus, *heads, *screen, "--json")
    assert said.code == 0, said.err
    screening = said.data["screening"]
    [domain] = screening["domains"].values()
    assert -1 <= domain["spearman"] <= 1
    assert screening["spared_tokens"] == pytest.approx(domain["spared_tokens"])
    assert screening["hours"] == pytest.approx(said.data["hours"] * (1 - screening["spared_tokens"]))
    assert "with --screen" in cli.run("estimate", corpus, *heads, *screen).out
    assert cli.run("estimate", corpus, *heads, "--screen", "--top", 1).err.startswith(
        "attention-influence: error: --top 1: give a share"
    )
