import json
from pathlib import Path

import numpy as np

from attention_influence.corpus import Columns, list_sources, read_rows
from attention_influence.screening.sample import draw_sample, sample_hashes, sampled_texts
from attention_influence.store.plan import make_plan
from attention_influence.store.row_hashes import hashes_of_rows, source_seeds

COLUMNS = Columns(domain="kind")


def corpus(folder: Path, documents: int) -> Path:
    for name in "ab":
        rows = [{"text": f"{name} {i}", "kind": "few" if i % 10 == 0 else "many"} for i in range(documents)]
        rows += [{"text": None, "kind": "many"}]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_the_rows_of_the_smallest_hashes_are_drawn_however_the_corpus_is_cut(tmp_path: Path) -> None:
    sources = list_sources([str(corpus(tmp_path, 300))]).sources
    samples = [draw_sample(make_plan(sources, tokens), COLUMNS, 50) for tokens in (100, 100_000)]
    assert samples[0] == samples[1]
    assert samples[0].documents == {"many": 540, "few": 60}
    assert [*samples[0].highest] == ["many"], "60 documents are too few for a sample of 50"
    texts = sampled_texts(make_plan(sources, 100), COLUMNS, samples[0])
    assert len(texts) == 50
    all_rows = [
        (hash_, source.name, row.row)
        for source in sources
        for rows in read_rows(source, COLUMNS)
        for row, hash_ in zip(rows, sample_hashes(source.name, [row.row for row in rows]).tolist(), strict=True)
        if row.domain == "many" and row.text is not None
    ]
    drawn = [(name, row) for _, name, row in sorted(all_rows)[:50]]
    assert sorted(texts) == sorted(drawn)
    assert [samples[0].fits("many", *key) for key in drawn] == [True] * 12 + [False] * 38


def test_a_file_that_cannot_be_read_gives_none(tmp_path: Path) -> None:
    sources = list_sources([str(corpus(tmp_path, 300))]).sources
    units = make_plan(sources, 100)
    (tmp_path / "b.jsonl").unlink()
    assert draw_sample(units, COLUMNS, 50).documents == {"many": 270, "few": 30}


def test_hashes_are_even_and_unrelated_to_those_that_break_ties() -> None:
    rows = list(range(20_000))
    drawn = sample_hashes("source", rows)
    ties = hashes_of_rows(source_seeds(["source"]), np.array(rows))
    share = np.array([hashes / 2**64 for hashes in (drawn.astype(float), ties.astype(float))])
    assert abs(share[0].mean() - 0.5) < 0.01
    assert abs(np.corrcoef(share)[0, 1]) < 0.03
