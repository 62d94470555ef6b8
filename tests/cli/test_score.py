"""`score` from the command line, on a tiny model: what it makes, what it refuses, what a bad input costs."""

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from attention_influence import HeadSet, Scorer, load_heads, load_model
from cli.conftest import Cli, Files, save_model, texts, write_lines


def rows_of(store: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((store / "scores").glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


def test_scores_are_those_of_the_library(score: Cli, files: Files, tmp_path: Path) -> None:
    said = score("--id-column", "name", "--domain-column", "kind")
    assert said.code == 0, said.err
    rows = rows_of(tmp_path / "scores")
    assert [(row["id"], row["domain"]) for row in rows] == [(f"n{i}", "ab"[i % 2]) for i in range(20)]
    expected = Scorer(load_model(str(files.model), "fp32"), load_heads(files.heads)).score(texts(20))
    for row, by_library in zip(rows, expected, strict=True):
        assert row["loss_base"] == pytest.approx(by_library.loss_base, abs=1e-5)
        assert row["influence"] == pytest.approx(by_library.influence, abs=1e-5)


def test_a_default_window_below_the_models_context_is_said_and_recorded(
    cli: Cli, files: Files, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save_model(tmp_path / "model", context=131_072)
    given = (files.corpus, "--model", tmp_path / "model", "--heads", files.heads, "--dtype", "fp32", "--device", "cpu")
    note = "windows of at most 8,192 tokens (the model's context: 131,072)"
    scored, estimated = cli("score", *given, "--out", tmp_path / "scores"), cli("estimate", *given)
    assert (scored.code, estimated.code) == (0, 0), scored.err + estimated.err
    assert note in scored.out
    assert note in estimated.out
    assert caplog.messages.count(f"{note}; --window chooses another") == 2
    assert json.loads((tmp_path / "scores" / "run.json").read_text())["fingerprint"]["window"] == 8192
    asked_for = cli("score", *given, "--out", tmp_path / "wide", "--window", 16_384)
    assert asked_for.code == 0
    assert len(caplog.messages) == 2
    assert json.loads((tmp_path / "wide" / "run.json").read_text())["fingerprint"]["window"] == 16_384
    too_long = cli("score", *given, "--out", tmp_path / "too-long", "--window", 131_073)
    assert too_long.code == 1
    assert "longer than the context" in too_long.err


def test_json_is_all_that_stands_on_standard_output(score: Cli, tmp_path: Path) -> None:
    said = score("--domain-column", "kind", "--json")
    data = json.loads(said.out)
    assert (said.code, data["units"], data["units_done"]) == (0, 1, 1)
    assert (data["failed_files"], data["quarantined"]) == ({}, {})
    assert [(d["domain"], d["documents"], d["ranked"]) for d in data["domains"]] == [("a", 10, 10), ("b", 10, 10)]
    assert data["tokens"] == sum(map(len, texts(20)))
    influences = [row["influence"] for row in rows_of(tmp_path / "scores") if row["domain"] == "a"]
    assert data["domains"][0]["mean_influence"] == pytest.approx(sum(influences) / len(influences), rel=1e-4)


def test_the_table_for_people_has_a_line_for_each_domain(score: Cli) -> None:
    said = score("--domain-column", "kind")
    lines = said.out.splitlines()
    assert lines[0].split()[:2] == ["domain", "documents"]
    assert [line.split()[:3] for line in lines[1:3]] == [["a", "10", "10"], ["b", "10", "10"]]
    assert "noise floor" in said.out


def test_rows_without_a_score_are_counted_by_reason_and_kept(score: Cli, tmp_path: Path) -> None:
    corpus = tmp_path / "bad.jsonl"
    bad = [b'{"text": "broken\n', b'{"text": "\xff"}\n', b"[1]\n", b'{"text": null}\n', b'{"text": ""}\n', b"{}\n"]
    good = b'{"text": "this one is good"}\n'
    corpus.write_bytes(good + b"".join(bad) + b"not json either\n" + good)
    said = score(corpus, "--json")
    assert said.code == 0, said.err
    data = json.loads(said.out)
    assert data["reasons"] == {
        "invalid_json": 2,
        "invalid_utf8": 1,
        "not_an_object": 1,
        "null_text": 1,
        "empty": 1,
        "missing_text": 1,
    }
    assert len(rows_of(tmp_path / "scores")) == 9
    again = score(corpus)
    assert "2 invalid_json" in again.out
    assert "1 invalid_utf8" in again.out


def test_a_broken_file_costs_itself_and_the_exit_code(score: Cli, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    rows = [{"text": text} for text in texts(30)]
    write_lines(corpus / "good.jsonl", rows)
    packed = gzip.compress((corpus / "good.jsonl").read_bytes())
    (corpus / "cut.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    pq.write_table(pa.table({"text": texts(30)}), corpus / "whole.parquet")
    (corpus / "cut.parquet").write_bytes((corpus / "whole.parquet").read_bytes()[:-100])
    (corpus / "noise.jsonl.zst").write_bytes(b"this is not zstd" * 10)
    said = score(corpus, "--json")
    data = json.loads(said.out)
    assert said.code == 1
    broken = {"corpus/cut.jsonl.gz", "corpus/cut.parquet", "corpus/noise.jsonl.zst"}
    assert data["failed_files"].keys() == broken
    for name, error in data["failed_files"].items():
        assert Path(name).name in error
    scored = [row["source"] for row in rows_of(tmp_path / "scores")]
    assert {name: scored.count(name) for name in set(scored)} == {"corpus/good.jsonl": 30, "corpus/whole.parquet": 30}
    text = score(corpus)
    assert text.code == 1
    for name in broken:
        assert f"error: {name}" in text.out


def test_too_many_bad_rows_stop_a_run_with_code_3(score: Cli, tmp_path: Path) -> None:
    corpus = tmp_path / "bad.jsonl"
    corpus.write_text('{"text": ""}\n' * 1200 + '{"text": "a good one"}\n' * 20)
    said = score(corpus)
    assert (said.code, said.out) == (3, "")
    assert "--max-bad-rate 0.05" in said.err
    assert score(corpus, "--max-bad-rate", "1", "--out", tmp_path / "other").code == 0


def test_the_first_bad_row_is_an_error_if_asked(score: Cli, tmp_path: Path) -> None:
    corpus = tmp_path / "bad.jsonl"
    corpus.write_text('{"text": "good"}\n{"text": ""}\n')
    said = score(corpus, "--on-bad-row", "error")
    assert said.code == 3
    assert "row 17: empty" in said.err


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_corpus_without_rows_is_scored_to_nothing(score: Cli, tmp_path: Path, content: str) -> None:
    (tmp_path / "empty.jsonl").write_text(content)
    said = score(tmp_path / "empty.jsonl", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["domains"] == []
    assert score(tmp_path / "empty.jsonl").code == 0


def test_a_document_longer_than_the_limit_is_kept_without_a_score(score: Cli, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "long.jsonl", [{"text": "ab " * 500}, {"text": "short enough"}])
    said = score(corpus, "--max-document-tokens", "100", "--json")
    assert json.loads(said.out)["reasons"] == {"too_long": 1}
    assert [row["n_tokens"] for row in rows_of(tmp_path / "scores")] == [1500, 12]


# What is refused, before anything is written.


def test_what_is_missing_is_named(score: Cli, files: Files, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    refused = [
        (score(tmp_path / "nowhere.jsonl"), "nowhere.jsonl: no such file"),
        (score(empty), "none that can be read"),
        (score(files.corpus, tmp_path / "notes.txt"), "notes.txt"),
        (score(model=tmp_path / "nowhere"), "nowhere"),
        (score(model=empty), "no config.json"),
        (score(model=tmp_path / "nowhere.gguf"), "nowhere.gguf: no such file"),
        (score(heads=tmp_path / "nowhere.json"), "nowhere.json: no such file"),
    ]
    for said, words in refused:
        assert said.code == 1
        assert words in said.err
        assert said.out == ""
    assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize("option", ["--text-column", "--id-column", "--domain-column"])
def test_a_missing_column_names_those_there_are(score: Cli, tmp_path: Path, option: str) -> None:
    pq.write_table(pa.table({"text": ["a"], "other": ["b"]}), tmp_path / "t.parquet")
    write_lines(tmp_path / "l.jsonl", [{"text": "a", "other": "b"}])
    for name in ("t.parquet", "l.jsonl"):
        said = score(tmp_path / name, option, "wrong")
        assert said.code == 1
        assert f"no column 'wrong'; there are: 'text', 'other'. Name the right one with {option}" in said.err
        assert not (tmp_path / "scores").exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "names no head"),
        ("[[1, 1], [1, 1]]", "twice"),
        ("[[1, -1]]", "not a pair"),
        ('{"heads": 5}', "none of heads.json"),
        ("[[9, 0]]", "no head 0 in layer 9"),
        ("[[1, 4]]", "layer 1 has 4 heads"),
    ],
)
def test_heads_that_cannot_be_masked_are_refused(score: Cli, tmp_path: Path, content: str, words: str) -> None:
    heads = tmp_path / "heads.json"
    heads.write_text(content)
    said = score(heads=heads)
    assert said.code == 1
    assert words in said.err
    assert not (tmp_path / "scores").exists()


def test_heads_of_another_model_are_refused(score: Cli, files: Files, tmp_path: Path) -> None:
    save_model(tmp_path / "other", seed=1)
    identity = load_model(str(tmp_path / "other"), "fp32").identity
    model = {"name": identity.name, "weights": identity.weights, "tokenizer": identity.tokenizer}
    HeadSet(((1, 1),), model=model).save(tmp_path / "heads.json")
    said = score(heads=tmp_path / "heads.json")
    assert said.code == 1
    assert "whose weights differ" in said.err
    assert score(heads=tmp_path / "heads.json", model=tmp_path / "other").code == 0


@pytest.mark.parametrize("option", ["--unit-tokens", "--pack-tokens", "--window", "--max-document-tokens", "--workers"])
@pytest.mark.parametrize("value", ["0", "-5"])
def test_a_number_that_makes_no_sense_is_refused_by_the_option(
    score: Cli, tmp_path: Path, option: str, value: str
) -> None:
    said = score(option, value)
    assert said.code == 2
    assert f"{option[2:].replace('-', '_')} is {value}" in said.err
    assert not (tmp_path / "scores").exists()


def test_a_damaged_model_is_refused_without_a_traceback(score: Cli, files: Files, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in files.model.iterdir():
        content = file.read_bytes()
        (broken / file.name).write_bytes(content[: len(content) // 2] if file.suffix == ".safetensors" else content)
    said = score(model=broken)
    assert said.code == 1
    assert "cannot load" in said.err


def test_an_out_that_cannot_be_written_is_refused_without_a_traceback(score: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said = score("--out", tmp_path / "file" / "scores")
    assert said.code == 1
    assert "error:" in said.err


def test_influence_of_a_domain_without_scores_is_not_a_number_in_json(score: Cli, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", [{"text": "", "kind": "none"}, {"text": "a good text", "kind": "some"}])
    said = score(corpus, "--domain-column", "kind", "--json")

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} is not JSON")

    none, some = json.loads(said.out, parse_constant=refuse)["domains"]
    assert (none["domain"], none["ranked"], none["mean_influence"]) == ("none", 0, None)
    assert math.isfinite(some["mean_influence"])


def test_a_limit_takes_the_first_documents_of_each_file(cli: Cli, files: Files, tmp_path: Path) -> None:
    corpus = tmp_path / "several"
    corpus.mkdir()
    for number in range(3):
        lines = [{"text": text, "name": f"{number}/{i}"} for i, text in enumerate(texts(9))]
        write_lines(corpus / f"{number}.jsonl", lines)
    pq.write_table(pa.table({"text": texts(9), "name": [f"3/{i}" for i in range(9)]}), corpus / "3.parquet")
    given = ("score", corpus, "--model", files.model, "--heads", files.heads, "--dtype", "fp32", "--id-column", "name")
    limited = cli(*given, "--limit", "10", "--out", tmp_path / "limited", "--unit-tokens", "8")
    assert limited.code == 0, limited.err
    ids = sorted(row["id"] for row in rows_of(tmp_path / "limited"))
    assert ids == [f"{file}/{i}" for file, rows in enumerate((3, 3, 2, 2)) for i in range(rows)]
    fewer = cli(*given, "--limit", "2", "--out", tmp_path / "fewer")
    assert fewer.code == 0, fewer.err
    assert sorted(row["id"] for row in rows_of(tmp_path / "fewer")) == ["0/0", "2/0"]
    again = cli(*given, "--limit", "10", "--out", tmp_path / "limited", "--unit-tokens", "8")
    assert again.code == 0, again.err
    other = cli(*given, "--out", tmp_path / "limited")
    assert (other.code, "begun with --limit 10" in other.err) == (1, True)
    whole = cli(*given, "--limit", "1000", "--out", tmp_path / "whole")
    assert whole.code == 0, whole.err
    assert len(rows_of(tmp_path / "whole")) == 36
