import json
from pathlib import Path

import pytest

from runs.runs import Command, rows_of, texts, write_lines


def test_a_bad_row_that_is_an_error_is_named_by_file_and_row(cli: Command, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", ["good", "", "good"])
    said = cli.score(corpus, tmp_path / "scores", "--on-bad-row", "error")
    assert said.code == 3
    assert "c.jsonl, row 17: empty" in said.err
    assert "--on-bad-row keep" in said.err


@pytest.mark.parametrize(("bad", "good", "code"), [(800, 199, 0), (990, 11, 3), (49, 951, 0), (51, 949, 3)])
def test_the_share_of_bad_rows_is_judged_from_a_thousand_rows_on(
    cli: Command, tmp_path: Path, bad: int, good: int, code: int
) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", [""] * bad + ["good"] * good)
    said = cli.score(corpus, tmp_path / "scores", "--unit-tokens", 10_000)
    assert said.code == code, said.err
    if code:
        assert "--max-bad-rate 0.05" in said.err
        assert cli.score(corpus, tmp_path / "scores", "--max-bad-rate", 1, "--unit-tokens", 10_000).code == 0


@pytest.mark.parametrize(("bad", "good", "code"), [(1, 0, 3), (50, 1, 3), (990, 9, 3), (9, 1, 0), (6, 10, 0)])
def test_a_run_in_which_hardly_a_row_has_a_score_fails_at_any_size(
    cli: Command, tmp_path: Path, bad: int, good: int, code: int
) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", [""] * bad + ["good"] * good)
    said = cli.score(corpus, tmp_path / "scores")
    assert said.code == code, said.err
    if code:
        assert f"{bad:,} of {bad + good:,} rows have no score ({bad:,} empty)" in said.err
        assert "--text-column" in said.err
        assert cli.score(corpus, tmp_path / "scores", "--max-bad-rate", 1).code == 0


def test_a_git_lfs_pointer_is_named_before_the_model_is_loaded(cli: Command, tmp_path: Path) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    said = cli.score(corpus, tmp_path / "scores", "--model", tmp_path / "nowhere")
    assert said.code == 3
    assert "c.jsonl: cannot be read as JSON lines: it is a Git LFS pointer" in said.err
    assert not (tmp_path / "scores").exists()


def test_what_is_left_out_is_said_and_recorded(cli: Command, tmp_path: Path) -> None:
    write_lines(tmp_path / "c.jsonl", texts(3))
    (tmp_path / "notes.txt").write_text("not corpus")
    line = "left out of the corpus: 1 of another kind (notes.txt)"
    said = cli.score(tmp_path, tmp_path / "scores")
    assert said.code == 0
    assert line in said.err
    assert cli.score(tmp_path, tmp_path / "scores").code == 0  # the store in the corpus is no corpus
    assert line in cli.run("status", tmp_path / "scores").out


def test_reasons_and_duplicate_ids_are_counted(cli: Command, tmp_path: Path) -> None:
    corpus = tmp_path / "c.jsonl"
    lines = [json.dumps({"text": text, "id": number % 7}) for number, text in enumerate(texts(10))]
    lines += ['{"text": null}', '{"text": "\\ud800 alone"}', '{"text": ""}', '{"text": ""}', "{", '{"id": 3}']
    corpus.write_text("\n".join(lines) + "\n")
    assert cli.score(corpus, tmp_path / "scores", "--id-column", "id").code == 0
    said = cli.run("status", tmp_path / "scores", "--json")
    assert said.data["reasons"] == {"empty": 2, "null_text": 1, "invalid_utf8": 1, "invalid_json": 1, "missing_text": 1}
    assert said.data["duplicate_ids"] == 4
    assert said.data["rows"] == 16


def test_a_column_that_a_selection_would_add_is_said_before_scoring(
    cli: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = tmp_path / "c.jsonl"
    corpus.write_text("".join(json.dumps({"text": text, "Influence": 1}) + "\n" for text in texts(3)))
    said = cli.score(corpus, tmp_path / "scores", "--json")
    assert said.code == 0
    [warning] = said.data["warnings"]
    assert "there is a column 'Influence', and `select` adds one: it will need --column-prefix" in warning
    assert warning in caplog.text


def test_a_nul_byte_is_a_character_like_any_other(cli: Command, tmp_path: Path) -> None:
    corpus = write_lines(tmp_path / "c.jsonl", ["the tide\0rose \0\0", "\0"])
    assert cli.score(corpus, tmp_path / "scores").code == 0
    rows = [*rows_of(tmp_path / "scores").values()]
    assert [row["n_chars"] for row in rows] == [16, 1]
    assert all(row["reason"] is None and row["loss_base"] > 0 for row in rows)
