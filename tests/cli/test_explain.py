"""`explain` as it is typed: documents of a store and texts, and every way to name one wrongly."""

import io
import json
import os
import re
import shutil
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from attention_influence import read_scores
from cli.conftest import Cli, Files, Said, save_model, write_lines
from terminal import Shown, run_on_terminal


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows: list[dict[str, object]] = [
        {
            "text": f"the tide of {n} feet came over the old road, and the old road of {n} feet came back",
            "name": f"n{n}",
        }
        for n in range(6)
    ]
    rows += [{"text": "twice", "name": "twice"}, {"text": "twice again", "name": "twice"}]
    rows += [{"text": "  ", "name": "blank"}, {"text": "a long road. " * 200, "name": "long"}]
    folder = tmp_path_factory.mktemp("corpus") / "explain"
    folder.mkdir()
    return write_lines(folder / "a.jsonl", rows)


@pytest.fixture(scope="module")
def store(files: Files, corpus: Path) -> Path:
    """In a process of its own, as the fixture for calls in this one lives no longer than a test."""
    out = corpus.parent / "scores"
    arguments = ["score", str(corpus), "--model", str(files.model), "--heads", str(files.heads), "--id-column", "name"]
    shown = run_on_terminal([*arguments, "--dtype", "fp32", "--max-bad-rate", "0.5", "--out", str(out)])
    assert shown.code == 0, shown.text
    return out


def as_data(said: Said) -> dict:
    assert said.code == 0, said.err
    return json.loads(said.out)


def test_every_document_is_explained_as_it_was_scored(cli: Cli, store: Path) -> None:
    rows = [row for row in read_scores(store).to_pylist() if row["reason"] is None]
    assert len(rows) == 9
    for row in rows[::3]:
        data = as_data(cli("explain", store, "--key", f"{row['source']}:{row['row']}", "--json"))
        assert data["stored"] == row
        for name in ("loss_base", "loss_ref", "influence"):
            assert data["score"][name] == pytest.approx(row[name], abs=1e-5)
        for name in ("n_chars", "n_tokens", "n_scored", "n_windows", "flag"):
            assert data["score"][name] == row[name]
        rises = [token["rise"] for token in data["tokens"] if token["rise"] is not None]
        assert sum(rises) / row["n_scored"] == pytest.approx(row["loss_ref"] - row["loss_base"], abs=1e-5)
        assert len(data["heads"]) == len(data["masked"]) == 3
        assert data["warnings"] == []


def test_an_id_stands_for_the_key(cli: Cli, store: Path) -> None:
    data = as_data(cli("explain", store, "--id", "n3", "--json"))
    assert data["stored"]["id"] == "n3"
    assert "of 3 feet" in "".join(token["text"] for token in data["tokens"])


def test_rows_of_parquet_are_numbers(cli: Cli, score: Cli, tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    rows = [f"the tide of {n} feet came over the old road" for n in range(3)]
    pq.write_table(pa.table({"text": rows}), tmp_path / "p" / "a.parquet")
    assert score(tmp_path / "p", "--out", tmp_path / "out").code == 0
    data = as_data(cli("explain", tmp_path / "out", "--key", "p/a.parquet:2", "--no-each-head", "--json"))
    assert "".join(token["text"] for token in data["tokens"]) == rows[2]
    said = cli("explain", tmp_path / "out", "--key", "p/a.parquet:3")
    assert "no row 3 of p/a.parquet; the nearest are 1 and 2. ROW is a row's number" in said.err
    assert "holds no ids" in cli("explain", tmp_path / "out", "--id", "x").err


def test_a_text_is_explained_with_the_stores_model_or_a_given_one(
    cli: Cli, store: Path, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.txt").write_text("the old road, the old röad")
    given = ["--model", files.model, "--heads", files.heads, "--dtype", "fp32", "--window", 1024, "--json"]
    by_store = as_data(cli("explain", store, "--file", tmp_path / "t.txt", "--json"))
    by_model = as_data(cli("explain", *given, "--text", "the old road, the old röad"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "t.txt").read_bytes())))
    by_stdin = as_data(cli("explain", *given, "--file", "-"))
    assert by_store["score"] == by_model["score"] == by_stdin["score"]
    assert by_store["stored"] is None
    assert (by_store["store"], by_model["store"]) == (str(store), None)


def test_plain_output_is_tables_without_colours_and_the_page_is_named(cli: Cli, store: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    said = cli("explain", store, "--id", "n3", "--tokens", 2, "--out", page)
    assert said.code == 0
    assert "\x1b" not in said.out
    assert "Tokens whose loss rises most" in said.out
    assert said.out.count("[[") >= 2
    assert "rise in nats:" not in said.out
    assert f"written: {page}" in said.out
    assert "</html>" in page.read_text(encoding="utf-8")


def test_heads_alone_may_be_left_out(cli: Cli, store: Path, tmp_path: Path) -> None:
    said = cli("explain", store, "--id", "n3", "--no-each-head", "--out", tmp_path / "p.html")
    assert said.code == 0
    assert "alone:" not in said.out
    assert "alone is masked" not in said.out
    assert 'id="heads"' not in (tmp_path / "p.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "which document? Give one of --key, --id, --text, --file"),
        (["--key", "explain/a.jsonl:0", "--id", "x"], "--key and --id exclude each other"),
        (["--key", "a.jsonl"], "write it as SOURCE:ROW"),
        (["--key", "nowhere.jsonl:0"], "no source 'nowhere.jsonl'; of its 1 there are explain/a.jsonl."),
        (["--key", "explain/a.jsonl:1"], "no row 1 of explain/a.jsonl; the nearest are 0 and "),
        (["--id", "n99"], "no document with the id 'n99'; ids are such as 'n0', 'n1'"),
        (["--id", "twice"], "the id 'twice' occurs 2 times: explain/a.jsonl:"),
        (["--id", "blank"], "has no score (reason: whitespace)"),
        (["--id", "n1", "--window", "100"], "--window belongs to a text without a store"),
        (["--text", ""], "the text is empty"),
        (["--text", " \n"], "white space"),
        (["--file", "nowhere.txt"], "nowhere.txt: no such file"),
        (["--file", "."], "is a folder"),
    ],
)
def test_a_wrong_document_is_one_line_that_says_what_to_do(
    cli: Cli, store: Path, arguments: list[str], said: str
) -> None:
    result = cli("explain", store, *arguments)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("attention-influence: error: ")
    assert said in result.err
    assert result.err.count("\n") == 1


def test_a_key_needs_a_store_and_a_text_a_model(cli: Cli) -> None:
    assert "explain STORE --id" in cli("explain", "--id", "x").err
    assert "--model is missing" in cli("explain", "--text", "x").err


def test_another_model_heads_or_precision_than_the_stores_is_refused(
    cli: Cli, store: Path, files: Files, tmp_path: Path
) -> None:
    save_model(tmp_path / "other", seed=1)
    (tmp_path / "heads.json").write_text("[[0, 0]]")
    for arguments, what in (
        (["--model", tmp_path / "other"], "other weights"),
        (["--heads", tmp_path / "heads.json"], "other heads"),
        (["--dtype", "bf16"], "other precision"),
    ):
        said = cli("explain", store, "--id", "n3", *arguments)
        assert said.code == 1
        assert f"{store} was scored with {what}" in said.err
    same = ["--model", files.model, "--heads", files.heads, "--dtype", "float32"]
    assert cli("explain", store, "--id", "n3", *same, "--no-each-head").code == 0


def test_a_model_that_moved_and_a_corpus_that_changed_are_said(
    files: Files, store: Path, cli: Cli, corpus: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "store"
    copy.mkdir()
    (copy / "scores").symlink_to(store / "scores")
    (copy / "plan.parquet").symlink_to(store / "plan.parquet")
    run = json.loads((store / "run.json").read_text())
    run["configuration"]["model"] = str(tmp_path / "gone")
    (copy / "run.json").write_text(json.dumps(run))
    said = cli("explain", copy, "--id", "n3")
    assert said.code == 1
    assert "say with --model where it is now" in said.err
    whole, then = corpus.read_bytes(), corpus.stat().st_mtime_ns
    corpus.write_bytes(whole + b"\n")
    said = cli("explain", store, "--id", "n3")
    corpus.write_bytes(whole)
    os.utime(corpus, ns=(then, then))
    assert said.code == 1
    assert "changed since it was scored" in said.err
    assert "give the text itself: --file" in said.err


def test_losses_that_are_not_those_of_the_store_are_a_warning(cli: Cli, store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "store")
    (unit,) = (tmp_path / "store" / "scores").glob("*.parquet")
    table = pq.read_table(unit)
    place = table.column_names.index("influence")
    table = table.set_column(place, "influence", pc.add(table["influence"], pa.scalar(0.01, pa.float32())))
    pq.write_table(table, unit)
    said = cli("explain", tmp_path / "store", "--id", "n3", "--no-each-head", "--out", tmp_path / "p.html")
    assert "warning: the influence differs by 1.0e-02 from the one in the store" in said.out
    assert "Read with care" in (tmp_path / "p.html").read_text(encoding="utf-8")


def lines(shown: Shown) -> list[str]:
    """What stays on the screen, without codes."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.text))


@pytest.mark.parametrize("columns", [40, *(pytest.param(width, marks=pytest.mark.slow) for width in (80, 120))])
def test_on_a_terminal_tokens_are_coloured_and_lines_fit(files: Files, columns: int) -> None:
    text = "the old röad. 海の道。\x1b[31mred " * 12
    arguments = ["explain", "--text", text, "--model", str(files.model), "--heads", str(files.heads), "--dtype", "fp32"]
    shown = run_on_terminal(arguments, columns, environment={"TERM": "xterm-256color", "COLORTERM": "truecolor"})
    assert shown.code == 0, shown.text
    assert re.search(r"\x1b\[[0-9;]*48;2;", shown.text), "no token has a background"
    assert "rise in nats" in shown.text
    assert "\x1b[31mred" not in shown.text, "what a text says to the terminal is shown, not obeyed"
    assert "␛[31mred" in "".join(lines(shown))
    assert "海" in shown.text
    assert max(len(line.rstrip()) for line in lines(shown)) <= columns


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_where_no_colours_are_wanted_there_are_none(files: Files, environment: dict[str, str]) -> None:
    arguments = ["explain", "--text", "the old road " * 9, "--model", str(files.model), "--heads", str(files.heads)]
    shown = run_on_terminal([*arguments, "--dtype", "fp32", "--quiet"], environment=environment)
    assert shown.code == 0, shown.text
    assert "\x1b" not in shown.text
    assert "Tokens whose loss rises most" in shown.text
