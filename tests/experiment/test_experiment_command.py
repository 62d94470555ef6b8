import json
from pathlib import Path

import pytest

from attention_influence.cli import main
from experiment.experiments import TINY, experiment_of, write_config

SMALL = TINY.replace("tokens: 1280", "tokens: 384") + "evaluation: {probes: 0}\n"
TWO = "arms:\n  corpus: {}\n  random: {add: random, share: 0.2}\n"


def config_in(folder: Path, more: str = SMALL, arms: str = TWO) -> str:
    experiment_of(folder, more=more, arms=arms)
    return str(write_config(folder / "arms.yaml", folder / "corpus", folder / "scores", arms, more))


def run(*arguments: str, code: int = 0) -> None:
    assert main(["experiment", *arguments, "-q"]) == code


def test_arms_and_seeds_are_tried_trained_compared_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = config_in(tmp_path), tmp_path / "out"
    run(config, "--out", str(out), "--dry-run")
    said = capsys.readouterr().out
    assert "2 arms × 2 seeds, each 384 tokens in 3 steps of 128" in said
    assert "parameters, learning rate 0.01" in said
    assert "nothing was trained" in said
    assert not (out / "runs").exists()
    assert not (out / "plan.json").exists()
    run(config, "--out", str(out), "--shard", "0/2", "--json")
    half = json.loads(capsys.readouterr().out)
    assert half["whole"] == [["corpus", 0], ["corpus", 1]]
    assert half["missing"] == [["random", 0], ["random", 1]]
    result = out / "runs" / "corpus" / "seed-0" / "result.json"
    before = result.stat().st_mtime_ns
    run(config, "--out", str(out))
    assert "random − corpus: bits per byte" in capsys.readouterr().out
    record = json.loads((out / "experiment.json").read_text())
    assert record["missing"] == []
    assert {one["arm"] for one in record["differences"]} >= {"random"}
    assert [curve["runs"] for curve in record["curves"]] == [2, 2]
    assert result.stat().st_mtime_ns == before
    assert not list((out / "leases").glob("*.json"))


def test_bad_input_is_a_usage_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(config_in(tmp_path), "--out", "s3://bucket/out", code=2)
    assert "the Trainer writes checkpoints to a folder of this machine" in capsys.readouterr().err
    run(config_in(tmp_path, more=SMALL + "trainer: {learning_rate: 1}\n"), "--out", str(tmp_path / "out"), code=2)
    run(config_in(tmp_path, more=SMALL.replace("probes: 0", "benchmarks: [gsm9k]")), "--out", str(tmp_path), code=2)
    assert "benchmark 'gsm9k' is unknown" in capsys.readouterr().err
    more = SMALL.replace("hidden_size: 16", "hidden_size: 15")
    run(config_in(tmp_path, more=more), "--out", str(tmp_path / "out"), "--dry-run", code=2)
    assert "model: " in capsys.readouterr().err
    assert not (tmp_path / "out" / "runs").exists()


def test_documents_that_hold_an_item_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    experiment_of(tmp_path)
    long = max((tmp_path / "corpus" / "sea.jsonl").read_text().splitlines(), key=len)
    item = {"prompt": json.loads(long)["text"], "answer": " tide"}
    (tmp_path / "items.jsonl").write_text(json.dumps(item) + "\n")
    more = SMALL.replace("probes: 0", f"probes: 0, items: [{tmp_path}/items.jsonl]")
    run(config_in(tmp_path, more=more), "--out", str(tmp_path / "out"), "--dry-run")
    assert "left out: 1 contaminated" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [["--workers", "2"], ["--engine", "ray", "--address", "local", "--workers", "2"]],
    ids=["processes", "ray"],
)
def test_several_at_once_train_the_same(tmp_path: Path, how: list[str]) -> None:
    config = config_in(tmp_path)
    run(config, "--out", str(tmp_path / "one"))
    run(config, "--out", str(tmp_path / "several"), *how)
    for arm in ("corpus", "random"):
        one, several = (tmp_path / out / "runs" / arm / "seed-1" / "losses.csv" for out in ("one", "several"))
        assert one.read_bytes() == several.read_bytes()
