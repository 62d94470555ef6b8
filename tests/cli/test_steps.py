"""Scoring in steps and writing their weights, from the command line, with a tiny model."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from attention_influence import Scorer, load_heads, load_model, read_scores
from attention_influence.store.schema import SCORE_SCHEMA, score_schema
from cli.conftest import Cli, Files, texts, write_lines

BY_LINE = ("--granularity", "step", "--steps", "line")


@pytest.fixture
def in_steps(score: Cli, tmp_path: Path) -> Path:
    assert score(*BY_LINE, "--unit-tokens", "500").code == 0
    return tmp_path / "scores"


def corpus_texts(files: Files) -> list[str]:
    return [json.loads(line)["text"] for line in (files.corpus / "a.jsonl").open(encoding="utf-8")]


def test_steps_are_columns_beside_the_same_scores(in_steps: Path, score: Cli, files: Files, tmp_path: Path) -> None:
    rows = read_scores(in_steps)
    assert rows.schema.equals(score_schema(("line",)))
    documents = corpus_texts(files)
    for document, row in zip(documents, rows.to_pylist(), strict=True):
        ends = row["step_ends"]
        assert [document[a:b] for a, b in zip([0, *ends], ends, strict=False)] == _lines(document)
        assert sum(row["step_n_scored"]) == row["n_scored"]
        total = sum(n * rise for n, rise in zip(row["step_n_scored"], row["step_rise"], strict=True))
        assert total / row["n_scored"] == pytest.approx(row["loss_ref"] - row["loss_base"], abs=1e-6)
    made = Scorer(load_model(str(files.model), "fp32"), load_heads(str(files.heads)))
    in_python = made.score(documents, granularity="step", steps="line")
    for row, scored in zip(rows.to_pylist(), in_python, strict=True):
        assert row["step_ends"] == [step.end for step in scored.steps or ()]
        assert row["step_rise"] == pytest.approx([step.rise for step in scored.steps or ()], abs=1e-5)
    assert score("--out", tmp_path / "whole", "--unit-tokens", "500").code == 0
    whole = read_scores(tmp_path / "whole")
    assert whole.schema.equals(SCORE_SCHEMA)
    assert rows.select(SCORE_SCHEMA.names).equals(whole)


def _lines(document: str) -> list[str]:
    """Lines, those without text joined to what comes before, or at the beginning after."""
    joined: list[str] = []
    waiting = ""
    for line in document.splitlines(keepends=True):
        if line.strip():
            joined.append(waiting + line)
            waiting = ""
        elif joined:
            joined[-1] += line
        else:
            waiting += line
    return joined


def test_a_unit_that_is_done_again_gives_equal_bits(in_steps: Path, score: Cli) -> None:
    units = sorted((in_steps / "scores").glob("*.parquet"))
    assert len(units) > 2
    before = [pq.read_table(unit) for unit in units]
    units[1].unlink()
    assert score(*BY_LINE, "--unit-tokens", "500").code == 0
    assert all(pq.read_table(unit).equals(table) for unit, table in zip(units, before, strict=True))


@pytest.mark.parametrize("given", [(), ("--granularity", "step"), ("--granularity", "step", "--steps", "\\n\\n")])
def test_a_store_is_resumed_only_with_the_same_steps(in_steps: Path, score: Cli, given: tuple[str, ...]) -> None:
    (next((in_steps / "scores").glob("*.parquet"))).unlink()
    said = score(*given)
    assert said.code == 1
    assert "was begun with --granularity step by 'line'" in said.err
    assert "Give the same, or a new --out" in said.err


def test_a_store_without_steps_is_not_resumed_with_them(score: Cli, tmp_path: Path) -> None:
    assert score().code == 0
    said = score("--granularity", "step")
    assert said.code == 1
    assert (
        "was begun without --granularity step, and is now to be resumed with --granularity step by 'sentence'"
        in said.err
    )


def test_steps_without_their_granularity_are_refused(score: Cli) -> None:
    said = score("--steps", "line")
    assert said.code == 2
    assert "give --granularity step as well" in said.err


def test_a_typed_line_break_is_one(score: Cli, tmp_path: Path) -> None:
    write_lines(tmp_path / "c.jsonl", [{"text": "one\n\ntwo\nthree"}, {"text": ""}])
    said = score(tmp_path / "c.jsonl", "--granularity", "step", "--steps", "\\n\\n", "--json")
    assert said.code == 0
    assert json.loads(said.out)["steps"] == 2
    assert read_scores(tmp_path / "scores")["step_ends"].to_pylist() == [[5, 14], None]


def test_other_commands_take_a_store_with_steps(in_steps: Path, cli: Cli, files: Files, tmp_path: Path) -> None:
    assert cli("status", in_steps).code == 0
    assert cli("select", in_steps, "--top", "0.5", "--out", tmp_path / "selected").code == 0
    assert cli("compare", in_steps, "--against", "random").code == 0
    assert cli("report", in_steps, "--out", tmp_path / "page.html", "--selection", tmp_path / "selected").code == 0
    key = read_scores(in_steps, ["source", "row"]).slice(3, 1).to_pylist()[0]
    said = cli("explain", in_steps, "--key", f"{key['source']}:{key['row']}", "--json", "--no-each-head")
    assert said.code == 0
    assert sum(json.loads(said.out)["stored"]["step_n_scored"]) == json.loads(said.out)["score"]["n_scored"]
    refused = cli("select", in_steps, "--rank-by", "step_rise", "--top", "0.5", "--out", tmp_path / "other")
    assert "no ranking 'step_rise'" in refused.err


def test_thresholds_apply_to_a_store_without_steps(in_steps: Path, cli: Cli, score: Cli, tmp_path: Path) -> None:
    assert cli("select", in_steps, "--top", "0.5", "--out", tmp_path / "selected").code == 0
    assert score("--out", tmp_path / "whole").code == 0
    assert cli("select", tmp_path / "whole", "--apply", tmp_path / "selected", "--out", tmp_path / "again").code == 0


def written(path: Path) -> list[list[dict[str, Any]]]:
    return [json.loads(line)["messages"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_weights_come_back_as_the_documents_and_mean_one(
    in_steps: Path, cli: Cli, files: Files, tmp_path: Path
) -> None:
    said = cli("step-weights", in_steps, "--out", tmp_path / "train.jsonl", "--json")
    assert said.code == 0
    documents = written(tmp_path / "train.jsonl")
    assert ["".join(m["content"] for m in document) for document in documents] == corpus_texts(files)
    for document, counts in zip(documents, read_scores(in_steps)["step_n_scored"].to_pylist(), strict=True):
        weights = [message["loss_scale"] for message in document]
        assert sum(n * w for n, w in zip(counts, weights, strict=True)) / sum(counts) == pytest.approx(1, abs=1e-5)
    data = json.loads(said.out)
    assert (data["documents"], data["steps"]) == (20, sum(map(len, documents)))
    again = cli("step-weights", in_steps, "--out", tmp_path / "train.jsonl")
    assert "is there already" in again.err
    assert cli("step-weights", in_steps, "--out", tmp_path / "train.jsonl", "--overwrite").code == 0


def test_only_selected_documents_are_written(in_steps: Path, cli: Cli, tmp_path: Path) -> None:
    assert cli("select", in_steps, "--top", "0.25", "--out", tmp_path / "selected").code == 0
    out = tmp_path / "train.jsonl"
    assert cli("step-weights", in_steps, "--selection", tmp_path / "selected", "--out", out).code == 0
    chosen = {json.loads(line)["text"] for file in (tmp_path / "selected/data").iterdir() for line in file.open()}
    assert {"".join(m["content"] for m in document) for document in written(out)} == chosen
    assert len(chosen) == 5


def test_a_prompt_ends_where_a_step_does(score: Cli, cli: Cli, tmp_path: Path) -> None:
    rows = [{"text": f"{text} A: {text}"} for text in texts(3)] + [{"text": "no end. of a prompt"}]
    write_lines(tmp_path / "c.jsonl", rows)
    assert score(tmp_path / "c.jsonl", "--granularity", "step", "--steps", "sentence", "--steps", "A:").code == 0
    out = tmp_path / "train.jsonl"
    said = cli("step-weights", tmp_path / "scores", "--prompt-end", "A:", "--out", out, "--json")
    assert json.loads(said.out)["left_out"] == {"no_prompt_end": 1}
    assert [document[0] for document in written(out)] == [
        {"role": "user", "content": f"{text} A:"} for text in texts(3)
    ]
    said = cli("step-weights", tmp_path / "scores", "--prompt-end", "B:", "--out", tmp_path / "none.jsonl")
    assert said.code == 2
    assert "score with --steps 'B:' as well" in said.err
    assert not (tmp_path / "none.jsonl").exists()


def test_a_text_that_changed_is_not_written(score: Cli, cli: Cli, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", [{"text": text} for text in texts(3)])
    assert score(corpus, *BY_LINE).code == 0
    write_lines(corpus, [{"text": text} for text in texts(3, seed=1)])
    said = cli("step-weights", tmp_path / "scores", "--out", tmp_path / "out" / "train.jsonl")
    assert said.code == 1
    assert "c.jsonl is gone or has changed" in said.err
    assert not list((tmp_path / "out").iterdir())


def test_what_cannot_be_written_is_refused(in_steps: Path, score: Cli, cli: Cli, tmp_path: Path) -> None:
    assert "ends in .jsonl" in cli("step-weights", in_steps, "--out", tmp_path / "train.parquet").err
    assert "from 0 to 1" in cli("step-weights", in_steps, "--uniform", "1.5", "--out", tmp_path / "t.jsonl").err
    assert score("--out", tmp_path / "whole").code == 0
    said = cli("step-weights", tmp_path / "whole", "--out", tmp_path / "t.jsonl")
    assert said.code == 1
    assert "holds no steps. Score the corpus with --granularity step" in said.err
