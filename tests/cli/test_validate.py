"""`validate` from the command line, on a tiny model."""

import json
from pathlib import Path

import pytest

from cli.conftest import Cli, Files, Said, write_lines
from cli.test_detect import SENTENCES


@pytest.fixture
def validate(cli: Cli, files: Files, tmp_path: Path) -> Cli:
    texts = write_lines(tmp_path / "texts.jsonl", [{"text": " ".join(SENTENCES)}])

    def call(*arguments: object) -> Said:
        usual = {
            "--model": files.model,
            "--heads": files.heads,
            "--sentences": texts,
            "--items-per-task": 2,
            "--context": 900,
            "--dtype": "fp32",
            "--out": tmp_path / "validity.json",
        }
        given = dict(zip(arguments[::2], arguments[1::2], strict=True))
        return cli("validate", *(part for pair in (usual | given).items() for part in pair))

    return call


def test_all_figures_are_written_with_the_exact_heads_and_a_picture(
    validate: Cli, files: Files, tmp_path: Path
) -> None:
    own = write_lines(
        tmp_path / "own.jsonl",
        [{"task": "mine", "prompt": f"{i} is", "choices": ["odd", "even"], "answer": i % 2} for i in range(6)]
        + [{"task": "mine", "prompt": "x" * 2000, "answer": "y"}],
    )
    said = validate(
        "--corpus",
        files.corpus,
        "--domain-column",
        "kind",
        "--sample-tokens",
        1000,
        "--items",
        own,
        "--items-per-task",
        10,
    )
    assert said.code == 0, said.err
    record = json.loads((tmp_path / "validity.json").read_text())
    tasks = {figures["task"]: figures for figures in record["tasks"]}
    made = {"retrieval", "in-context classification", "in-context copying", "in-context arithmetic"}
    assert set(tasks) == made | {"mine", "text: a", "text: b"}
    assert tasks["mine"]["items"] == 6
    assert tasks["mine"]["chance"] == 0.5
    assert record["left_out"] == {"mine": 1}
    assert record["window"] == 900
    assert "windows of at most 900 tokens" in said.out
    assert [one["kind"] for one in record["conditions"]] == ["chosen"] + ["random"] * 5 + ["matched"] * 5
    assert record["conditions"][0]["heads"] == json.loads(files.heads.read_text())
    order = [figures["loss_excess"]["mean"] for figures in record["tasks"]]
    assert order == sorted(order, reverse=True)
    for figures in record["tasks"]:
        for change in figures["loss_changes"].values():
            assert change["worse"] == pytest.approx(change["mean"] - figures["loss"])
        for change in figures["accuracy_changes"].values():
            assert change["worse"] == pytest.approx(figures["accuracy"] - change["mean"])
    assert (tmp_path / "validity.png").read_bytes().startswith(b"\x89PNG")
    # These heads were not detected: nothing says that they retrieve.
    assert "does not hurt retrieval more" in said.out


def test_the_same_seed_gives_the_same_file(validate: Cli, tmp_path: Path) -> None:
    out = tmp_path / "validity.json"
    said = validate()
    assert said.code == 0
    assert "too few items to say" in said.out
    first = out.read_bytes()
    assert validate().code == 0
    assert out.read_bytes() == first
    assert validate("--seed", 1).code == 0
    assert json.loads(out.read_bytes())["tasks"] != json.loads(first)["tasks"]


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--draws", 4, "at least 5"),
        ("--benchmarks", "gsm8k,bbh", "benchmark 'bbh' is unknown"),
        ("--out", "validity.txt", "it is a .json file"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_loaded(
    validate: Cli, option: str, value: object, said: str
) -> None:
    refused = validate(option, value, "--model", "/nowhere")
    assert refused.code == 2
    assert said in refused.err
