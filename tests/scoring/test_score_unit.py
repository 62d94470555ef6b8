import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence import Scorer
from attention_influence.corpus import Columns, list_sources, read_rows
from attention_influence.errors import TooManyBadRows
from attention_influence.scoring.count_unigrams import count_unigrams
from attention_influence.scoring.score_unit import Reading, UnitScores, UnitTexts, score_unit
from attention_influence.store.plan import Unit, make_plan
from attention_influence.store.schema import SCORE_SCHEMA
from scoring.tiny import HEADS, tiny

EXACT = 1e-5
LOSSES = ("loss_base", "loss_ref", "influence")


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(tiny().model, HEADS)


def texts(n: int, seed: int) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices("abcdef ghij,k.\n", k=rng.randint(2, 300))) for _ in range(n)]


def unit_scores(scorer: Scorer, unit: Unit, reading: Reading, *progress: Any) -> UnitScores:
    return score_unit(scorer, UnitTexts(scorer, unit, reading), *progress)


def lines(records: list[Any]) -> bytes:
    return b"".join(r if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in records)


def bad_and_good() -> list[Any]:
    good = [{"text": text, "name": i, "kind": "prose"} for i, text in enumerate(texts(30, 1))]
    bad: list[Any] = [
        {"text": None, "name": "null"},
        {"text": 5, "name": "number"},
        {"text": ""},
        {"text": "  \n"},
        {"name": "without text"},
        b'{"text": "broken\n',
        b'{"text": "\xff\xfe"}\n',
        b"[1, 2]\n",
        b'{"text": "a lone \\ud800 surrogate"}\n',
    ]
    mixed = good + bad
    random.Random(2).shuffle(mixed)
    return mixed


REASONS = {
    "null_text",
    "not_a_string",
    "empty",
    "whitespace",
    "missing_text",
    "invalid_json",
    "invalid_utf8",
    "not_an_object",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "plain.jsonl").write_bytes(lines(bad_and_good()))
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(lines([{"text": text} for text in texts(40, 3)])))
    table = pa.table({"text": [*texts(20, 4), None, "", *texts(20, 5)], "name": list(range(42))})
    pq.write_table(table, folder / "table.parquet", row_group_size=7)
    return folder


def units_of(corpus: Path, unit_tokens: int) -> list[Unit]:
    return make_plan(list_sources([str(corpus)]).sources, unit_tokens)


def rows_by_key(tables: list[pa.Table]) -> dict[tuple[str, int], dict[str, Any]]:
    rows = pa.concat_tables(tables).to_pylist()
    by_key = {(row["source"], row["row"]): row for row in rows}
    assert len(by_key) == len(rows), "a row was scored twice"
    return by_key


def test_every_input_row_comes_once_in_source_order_bad_rows_included(scorer: Scorer, corpus: Path) -> None:
    [unit] = units_of(corpus, 10**6)
    scored = unit_scores(scorer, unit, Reading(Columns()))
    assert scored.table.schema.equals(SCORE_SCHEMA)
    expected = [
        (part.source.name, row.row)
        for part in unit.slices
        for rows in read_rows(part.source, Columns())
        for row in rows
    ]
    keys = list(zip(scored.table["source"].to_pylist(), scored.table["row"].to_pylist(), strict=True))
    assert keys == expected
    assert len(keys) == 39 + 40 + 42
    assert (scored.rows, scored.failed_files) == (len(keys), {})
    for row in scored.table.to_pylist():
        assert (row["reason"] is None) == (row["loss_base"] is not None)
    assert set(scored.reasons) == REASONS
    assert scored.reasons["invalid_utf8"] == 2
    assert scored.reasons["null_text"] == 2
    assert sum(scored.reasons.values()) == 9 + 2
    assert scored.tokens == sum(n or 0 for n in scored.table["n_tokens"].to_pylist()) > 10_000


@pytest.mark.parametrize("unit_tokens", [40, 900, 2500])
def test_rows_and_scores_are_the_same_however_the_units_are_cut(scorer: Scorer, corpus: Path, unit_tokens: int) -> None:
    sources = list_sources([str(corpus)]).sources
    reading = Reading(Columns(), unigrams=count_unigrams(scorer, sources, Columns()))

    def scores(tokens: int) -> list[pa.Table]:
        return [unit_scores(scorer, unit, reading).table for unit in units_of(corpus, tokens)]

    whole, cut = scores(10**6), scores(unit_tokens)
    assert len(cut) > len(whole) == 1
    whole_rows, cut_rows = rows_by_key(whole), rows_by_key(cut)
    assert cut_rows.keys() == whole_rows.keys()
    assert any(row["unigram_surprisal"] for row in whole_rows.values())
    for key, row in whole_rows.items():
        other = cut_rows[key]
        for name in SCORE_SCHEMA.names:
            close = pytest.approx(row[name], abs=EXACT) if name in LOSSES and row[name] is not None else row[name]
            assert other[name] == close, (key, name)


def test_the_same_unit_scored_again_gives_equal_bits(scorer: Scorer, corpus: Path) -> None:
    [unit] = units_of(corpus, 10**6)
    assert unit_scores(scorer, unit, Reading(Columns())).table.equals(
        unit_scores(scorer, unit, Reading(Columns())).table
    )


def test_ids_and_domains_are_carried_along(scorer: Scorer, tmp_path: Path) -> None:
    records = [{"text": "one text here", "name": 7, "kind": "prose"}, {"text": "and another", "name": 7, "kind": None}]
    (tmp_path / "a.jsonl").write_bytes(lines(records))
    [unit] = units_of(tmp_path, 1000)
    scored = unit_scores(scorer, unit, Reading(Columns(id="name", domain="kind")))
    assert scored.table["id"].to_pylist() == ["7", "7"]
    assert scored.table["domain"].to_pylist() == ["prose", "unknown"]
    assert scored.duplicate_ids == 1


def test_progress_counts_every_row_bad_row_and_token(scorer: Scorer, corpus: Path) -> None:
    [unit] = units_of(corpus, 10**6)
    seen: list[tuple[int, int, int]] = []
    scored = unit_scores(scorer, unit, Reading(Columns()), lambda *more: seen.append(more))
    assert tuple(map(sum, zip(*seen, strict=True))) == (scored.rows, 11, scored.tokens)


def test_a_damaged_file_costs_its_own_rows_and_no_others(scorer: Scorer, corpus: Path, tmp_path: Path) -> None:
    for file in corpus.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = {name: (corpus / name).read_bytes() for name in ("packed.jsonl.gz", "table.parquet")}
    for name, content in whole.items():
        (tmp_path / f"cut-{name}").write_bytes(content[: len(content) // 2])
    [unit] = units_of(tmp_path, 10**6)
    scored = unit_scores(scorer, unit, Reading(Columns()))
    assert {name.rpartition("/")[2] for name in scored.failed_files} == {f"cut-{name}" for name in whole}
    for name, error in scored.failed_files.items():
        assert name.rpartition("/")[2] in error
    counts = scored.table["source"].value_counts().to_pylist()
    assert {c["values"].rpartition("/")[2]: c["counts"] for c in counts} == {
        "plain.jsonl": 39,
        "packed.jsonl.gz": 40,
        "table.parquet": 42,
    }


@pytest.mark.parametrize("happens", ["changes", "goes"])
def test_a_file_that_changes_after_the_plan_is_not_scored_as_if_it_had_not(
    scorer: Scorer, corpus: Path, tmp_path: Path, happens: str
) -> None:
    for file in corpus.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    [unit] = units_of(tmp_path, 10**6)
    changed = tmp_path / "plain.jsonl"
    if happens == "goes":
        changed.unlink()
    else:
        changed.write_bytes(lines([{"text": text} for text in texts(39, 9)]))
        os.utime(changed, (1, 1))
    scored = unit_scores(scorer, unit, Reading(Columns()))
    [(name, error)] = scored.failed_files.items()
    assert name.endswith("plain.jsonl")
    assert "gone or has changed" in error
    assert scored.rows == 40 + 42


def test_a_bad_row_can_be_made_an_error_that_names_it(scorer: Scorer, tmp_path: Path) -> None:
    first = lines([{"text": "a good one"}])
    (tmp_path / "a.jsonl").write_bytes(first + lines([{"text": None}]))
    [unit] = units_of(tmp_path, 1000)
    with pytest.raises(TooManyBadRows, match=rf"a\.jsonl, row {len(first)}: null_text"):
        unit_scores(scorer, unit, Reading(Columns(), on_bad_row="error"))


def test_a_unit_without_rows_gives_an_empty_table(scorer: Scorer, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n\n")
    [unit] = units_of(tmp_path, 1000)
    scored = unit_scores(scorer, unit, Reading(Columns()))
    assert (scored.table.num_rows, scored.table.schema) == (0, SCORE_SCHEMA)
