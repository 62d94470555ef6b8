import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from attention_influence.errors import AttentionInfluenceError, UsageError
from attention_influence.experiment.plan import Plan, Run
from attention_influence.experiment.results import read_result
from attention_influence.experiment.spread import keep_first_gpu, run_all
from attention_influence.experiment.training.train import train
from experiment.experiments import TINY, experiment_of, plan_of, write_config
from tiny_models import tokenizer

RUN = Run("selected", 1)


class Stopped(Exception):
    """Stands for a kill."""


def nothing(network: Any, tokenizer: Any) -> list[dict[str, Any]]:
    return [{"name": "parameters", "value": float(network.num_parameters()), "unit": "", "lower_is_better": True}]


def losses(folder: Path) -> list[list[str]]:
    with (folder / "losses.csv").open() as file:
        return list(csv.reader(file))


def weights(folder: Path) -> dict[str, bytes]:
    return {name: values.tobytes() for name, values in load_file(folder / "model" / "model.safetensors").items()}


def stopping_at(tokens: int) -> Any:
    done = 0.0

    def advance(more: float) -> None:
        nonlocal done
        done += more
        if done >= tokens:
            raise Stopped

    return advance


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """A plan, one of whose runs was trained without a stop."""
    plan = plan_of(tmp_path_factory.mktemp("whole"))
    train(plan, RUN, nothing)
    return plan


def test_a_result_and_a_curve_of_every_step(whole: Plan) -> None:
    folder = whole.folder(RUN)
    result = read_result(folder)
    assert result is not None
    assert {name: result[name] for name in ("arm", "seed", "tokens", "steps", "device")} == {
        "arm": "selected",
        "seed": 1,
        "tokens": 1280,
        "steps": 10,
        "device": "cpu",
    }
    assert result["metrics"][0]["value"] == result["parameters"]
    heading, *lines = losses(folder)
    assert heading == ["step", "tokens", "loss", "learning_rate"]
    assert [(int(step), int(tokens)) for step, tokens, *_ in lines] == [(n, n * 128) for n in range(1, 11)]
    assert not (folder / "checkpoints").exists()
    assert float(lines[-1][2]) < float(lines[0][2])


def test_the_learning_rate_rises_stays_and_falls(whole: Plan) -> None:
    rates = [float(line[3]) for line in losses(whole.folder(RUN))[1:]]
    # Of 10 steps: 1 of warm-up, from 0; the last 2 (a quarter, rounded to even) fall to 0 after the end.
    assert rates == pytest.approx([0, *[0.01] * 8, 0.005])


@pytest.mark.parametrize(
    "steps", [5, *(pytest.param(steps, marks=pytest.mark.slow) for steps in (2, 6, 7, 10))], ids=str
)
def test_a_stopped_run_goes_on_exactly(whole: Plan, tmp_path: Path, steps: int) -> None:
    shutil.copytree(whole.data_folder, tmp_path / "data")
    plan = Plan(tmp_path, whole.experiment, whole.arms, whole.data, whole.identity)
    with pytest.raises(Stopped):
        train(plan, RUN, nothing, stopping_at(steps * 128))
    assert read_result(plan.folder(RUN)) is None
    done: list[float] = []
    train(plan, RUN, nothing, done.append)
    # Checkpoints are written every 3 steps, after the step has been recorded.
    resumed_at = (steps - 1) // 3 * 3
    assert done[0] == resumed_at * 128
    assert len(done) == 1 + 10 - resumed_at
    assert losses(plan.folder(RUN)) == losses(whole.folder(RUN))
    assert weights(plan.folder(RUN)) == weights(whole.folder(RUN))


@pytest.mark.slow
def test_a_checkpoint_that_was_half_written_is_not_taken_for_whole(whole: Plan, tmp_path: Path) -> None:
    shutil.copytree(whole.data_folder, tmp_path / "data")
    plan = Plan(tmp_path, whole.experiment, whole.arms, whole.data, whole.identity)
    with pytest.raises(Stopped):
        train(plan, RUN, nothing, stopping_at(8 * 128))
    newest = plan.folder(RUN) / "checkpoints" / "checkpoint-6"
    (newest / "whole").unlink()
    (newest / "optimizer.pt").write_bytes(b"")
    train(plan, RUN, nothing)
    assert weights(plan.folder(RUN)) == weights(whole.folder(RUN))


def test_a_stop_while_measuring_costs_no_training(whole: Plan, tmp_path: Path) -> None:
    shutil.copytree(whole.data_folder, tmp_path / "data")
    plan = Plan(tmp_path, whole.experiment, whole.arms, whole.data, whole.identity)

    def stopped(network: Any, tokenizer: Any) -> Any:
        raise Stopped

    with pytest.raises(Stopped):
        train(plan, RUN, stopped)
    done: list[float] = []
    train(plan, RUN, nothing, done.append)
    assert done == [1280]
    assert weights(plan.folder(RUN)) == weights(whole.folder(RUN))
    assert losses(plan.folder(RUN)) == losses(whole.folder(RUN))


@pytest.mark.slow
def test_arms_of_one_seed_begin_alike_and_seeds_do_not(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, more=TINY.replace("tokens: 1280", "tokens: 128").replace("1e-2", "1e-9"))
    trained = {}
    for run in (Run("corpus", 0), Run("selected", 0), Run("corpus", 1)):
        train(plan, run, nothing)
        trained[run] = load_file(plan.folder(run) / "model" / "model.safetensors")["model.embed_tokens.weight"]
    first, other_arm, other_seed = trained.values()
    assert np.abs(first - other_arm).max() < 1e-7 < np.abs(first - other_seed).max()


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_the_run_and_not_the_others(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, more=TINY.replace("1e-2", "1e30"))
    with pytest.raises(AttentionInfluenceError, match=r"selected/seed-1: the loss at step \d+ is"):
        train(plan, RUN, nothing)
    outcomes = list(run_all(plan, plan.runs[:2], 1))
    assert [outcome.run for outcome in outcomes] == list(plan.runs[:2])
    assert all("learning_rate" in (outcome.reason or "") for outcome in outcomes)


@pytest.mark.parametrize(
    ("trainer", "says"),
    [
        ("{learning_rate: 1}", "trainer.learning_rate: the experiment decides it"),
        ("{learnin: 1}", "trainer.learnin: transformers' TrainingArguments have no such argument"),
        ("{report_to: trackio}", "trackio is not installed"),
        ("{report_to: paper}", "trainer.report_to: 'paper' is none of"),
        ("{optim: sdg}", "trainer: "),
    ],
)
def test_arguments_of_the_trainer_are_checked(tmp_path: Path, trainer: str, says: str) -> None:
    from attention_influence.experiment.training.train import training_arguments

    experiment = experiment_of(tmp_path, more=f"{TINY}trainer: {trainer}\n")
    with pytest.raises(UsageError, match=says):
        training_arguments(experiment, tmp_path, RUN)


@pytest.mark.slow
def test_a_killed_command_goes_on_exactly(tmp_path: Path) -> None:
    more = TINY.replace("tokens: 1280", "tokens: 5120").replace("seeds: 2", "seeds: 1")
    experiment_of(tmp_path)
    config = write_config(tmp_path / "arms.yaml", tmp_path / "corpus", tmp_path / "scores", more=more)

    def command(out: str) -> list[str]:
        return [sys.executable, "-m", "attention_influence", "experiment", str(config), "--out", str(tmp_path / out)]

    def steps_done() -> int:
        return sum(len(path.read_text().splitlines()) for path in (tmp_path / "killed").glob("runs/*/*/losses.csv"))

    subprocess.run(command("calm"), check=True, capture_output=True)
    for steps in (20, 70):  # of 4 runs of 40
        with subprocess.Popen(command("killed"), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
            while steps_done() < steps:
                assert child.poll() is None
                time.sleep(0.01)
            child.send_signal(signal.SIGKILL)
    subprocess.run(command("killed"), check=True, capture_output=True)
    for arm in ("corpus", "selected", "random", "only"):
        calm, killed = (tmp_path / out / "runs" / arm / "seed-0" for out in ("calm", "killed"))
        assert weights(calm) == weights(killed)
        assert losses(calm) == losses(killed)
        one, other = (json.loads((folder / "result.json").read_text()) for folder in (calm, killed))
        assert one["metrics"] == other["metrics"]


def test_a_process_keeps_one_gpu_and_knows_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for given, names in ((None, ("0", "1")), ("4,7", ("4", "7"))):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if given:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
        assert keep_first_gpu() == names
        assert os.environ["CUDA_VISIBLE_DEVICES"] == names[0]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert keep_first_gpu() == ()


def test_a_tokenizer_and_a_model_that_are_given(tmp_path: Path) -> None:
    tokenizer().save_pretrained(tmp_path / "tokenizer")
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "vocab_size": 400})
    )
    more = TINY.replace("{vocabulary: 310}", f"{tmp_path}/tokenizer").replace("tokens: 1280", "tokens: 256")
    lines = [line if not line.startswith("model:") else f"model: {tmp_path}/config.json" for line in more.split("\n")]
    plan = plan_of(tmp_path, more="\n".join(lines))
    result = train(plan, RUN, nothing)
    assert result["steps"] == 2
    assert not (plan.data_folder / "tokenizer").exists()
    config = json.loads((plan.folder(RUN) / "model" / "config.json").read_text())
    assert (config["model_type"], config["vocab_size"], config["bos_token_id"]) == ("gpt2", 400, 0)
