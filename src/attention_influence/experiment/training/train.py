"""One run: transformers' Trainer over packed rows, resumed exactly from its last whole checkpoint.

A run's folder holds `losses.csv` (a line for each step), `checkpoints/`, and when it is done `model/` and, written
last, `result.json`.
"""

import csv
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from attention_influence.errors import AttentionInfluenceError, UsageError
from attention_influence.experiment.data.token_file import open_tokens, read_documents
from attention_influence.experiment.data.tokenizer import open_tokenizer
from attention_influence.experiment.plan import Plan, Run
from attention_influence.experiment.results import LOSSES, RESULT, read_result
from attention_influence.experiment.settings import Experiment
from attention_influence.experiment.training.network import (
    check_packing,
    configuration_of,
    learning_rate_of,
    new_network,
)
from attention_influence.experiment.training.packing import Rows
from attention_influence.storage.atomic_files import flush, write_atomically, write_json

_HEADINGS = ("step", "tokens", "loss", "learning_rate")
_WHOLE = "whole"
"""The file that is written into a checkpoint when all else is on disk."""
_CHECKPOINTS = 20
# Tokens on a device at once: more than a CPU's cache holds only slow it down.
_DEVICE_TOKENS = {"cpu": 4_096, "cuda": 16_384}
_TRACKERS = ("trackio", "wandb", "tensorboard", "mlflow")

# What the experiment decides; the rest of TrainingArguments is the user's.
_OWN = (
    *("output_dir", "max_steps", "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps"),
    *("learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "weight_decay", "adam_beta1"),
    *("adam_beta2", "max_grad_norm", "seed", "data_seed", "train_sampling_strategy", "remove_unused_columns"),
    *("logging_strategy", "logging_steps", "logging_nan_inf_filter", "save_strategy", "save_steps"),
    *("save_total_limit", "save_only_model", "ignore_data_skip", "resume_from_checkpoint", "auto_find_batch_size"),
)

Measure = Callable[[Any, Any], Sequence[Mapping[str, Any]]]
"""From a trained network and its tokenizer to metrics of name, value, unit and lower_is_better."""


def train(
    plan: Plan, run: Run, measure: Measure, advance: Callable[[float], None] = lambda tokens: None
) -> dict[str, Any]:
    """Trains and measures one network, from where an earlier call was stopped; the content of result.json.

    `advance` takes tokens as they are trained on. Raises UsageError for a model that cannot be trained like this, and
    AttentionInfluenceError when the loss is no longer finite.
    """
    folder = plan.folder(run)
    if (result := read_result(folder)) is not None:
        return result
    tokenizer = open_tokenizer(plan.tokenizer)
    network = new_network(configuration_of(plan.experiment, tokenizer), run.seed)
    check_packing(network)
    documents = read_documents(plan.data_folder)
    rows = Rows(
        *(documents, open_tokens(plan.data_folder), plan.pool(run, documents), run.seed),
        *(plan.experiment.recipe.context, plan.experiment.rows),
    )
    arguments = training_arguments(plan.experiment, folder / "checkpoints", run)
    resumed = _last_checkpoint(folder / "checkpoints", arguments.should_save)
    record = _Record(folder, plan.experiment.recipe.batch_tokens, advance)
    trainer = Trainer(network, arguments, data_collator=_collate, train_dataset=rows, callbacks=[record])
    trainer.remove_callback(PrinterCallback)
    began = time.monotonic()
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    trainer.accelerator.unwrap_model(trainer.model).config.use_cache = True
    trainer.save_model(str(folder / "model"))
    if not arguments.should_save:
        return {}
    result = {
        "arm": run.arm,
        "seed": run.seed,
        "tokens": plan.experiment.trained_tokens,
        "steps": plan.experiment.steps,
        "seconds": record.seconds_before + time.monotonic() - began,
        "device": str(arguments.device),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "final_loss": record.last_loss,
    }
    tokenizer.save_pretrained(folder / "model")
    if trainer.is_fsdp_enabled:  # this process has a part of the weights only
        whole: Any = AutoModelForCausalLM.from_pretrained(folder / "model")
        network = whole.to(arguments.device)
    result["metrics"] = list(measure(network.eval(), tokenizer))
    write_json(str(folder / RESULT), result)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return result


def training_arguments(experiment: Experiment, folder: Path, run: Run) -> TrainingArguments:
    """The recipe as the Trainer takes it, for this process's device. Raises UsageError for a wrong key of `trainer`."""
    recipe, given = experiment.recipe, experiment.trainer
    known = TrainingArguments.__dataclass_fields__
    for key in given:
        if key in _OWN:
            raise UsageError(f"trainer.{key}: the experiment decides it; see the keys tokens, seeds and recipe")
        if key not in known:
            raise UsageError(f"trainer.{key}: transformers' TrainingArguments have no such argument")
    _check_trackers(given.get("report_to"))
    cpu = device_of(experiment) == "cpu"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    rows, accumulated = device_batch(experiment, world, device_of(experiment))
    checkpoint_steps = recipe.checkpoint_steps or max(1, experiment.steps // _CHECKPOINTS)
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "max_steps": experiment.steps,
        "per_device_train_batch_size": rows,
        "gradient_accumulation_steps": accumulated,
        "learning_rate": learning_rate_of(experiment),
        "lr_scheduler_type": "warmup_stable_decay",
        "lr_scheduler_kwargs": {
            "num_decay_steps": round(recipe.decay * experiment.steps),
            "decay_type": recipe.decay_shape,
        },
        "warmup_steps": round(recipe.warmup * experiment.steps),
        "weight_decay": recipe.weight_decay,
        "adam_beta1": recipe.beta1,
        "adam_beta2": recipe.beta2,
        "max_grad_norm": recipe.clip,
        "seed": run.seed,
        "data_seed": run.seed,
        "train_sampling_strategy": "sequential",
        "remove_unused_columns": False,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_steps": checkpoint_steps,
        # The one before stays until the newest is whole.
        "save_total_limit": 2,
        "bf16": not cpu and torch.cuda.is_bf16_supported(including_emulation=False),
        "use_cpu": cpu,
        "dataloader_pin_memory": not cpu,
        "report_to": "none",
        "run_name": f"{run.arm}-seed-{run.seed}",
        "disable_tqdm": True,
    }
    try:
        return TrainingArguments(**(arguments | dict(given)))
    except (ValueError, TypeError, ImportError) as error:
        raise UsageError(f"trainer: {str(error).splitlines()[0]}") from error


def device_of(experiment: Experiment) -> str:
    """cpu or cuda."""
    return "cuda" if torch.cuda.is_available() and not experiment.trainer.get("use_cpu") else "cpu"


def device_batch(experiment: Experiment, world: int, device: str) -> tuple[int, int]:
    """(rows on a device at once, how often before a step)."""
    recipe = experiment.recipe
    rows = recipe.batch_tokens // recipe.context
    if rows % world:
        raise UsageError(f"a batch of {rows} rows does not divide over {world} processes. Change recipe.batch_tokens")
    rows //= world
    most = recipe.device_rows or max(1, _DEVICE_TOKENS[device] // recipe.context)
    at_once = max(count for count in range(1, min(most, rows) + 1) if rows % count == 0)
    return at_once, rows // at_once


def _check_trackers(given: Any) -> None:
    for name in given if isinstance(given, list) else [given]:
        if name in (None, "none"):
            continue
        if name not in _TRACKERS:
            raise UsageError(f"trainer.report_to: {name!r} is none of {', '.join(_TRACKERS)}")
        if find_spec(name) is None:
            raise UsageError(f"trainer.report_to: {name} is not installed: pip install {name}, or omit the key")


def _collate(rows: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.stack([torch.from_numpy(row[name]) for row in rows]) for name in rows[0]}


class _Record(TrainerCallback):
    """Writes the loss of each step, and marks checkpoints as whole."""

    def __init__(self, folder: Path, batch_tokens: int, advance: Callable[[float], None]) -> None:
        self._folder, self._batch_tokens, self._advance = folder, batch_tokens, advance
        self._began = time.monotonic()
        self.seconds_before = 0.0
        self.last_loss: float | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """Lines after the checkpoint that is resumed from will come again."""
        if not state.is_world_process_zero:
            return
        lines = _kept_lines(self._folder / LOSSES, state.global_step)
        if lines:
            self.last_loss = float(lines[-1][2])
        text = "".join(f"{','.join(line)}\n" for line in (_HEADINGS, *lines))
        write_atomically(str(self._folder / LOSSES), text.encode())
        with_time = Path(args.output_dir) / f"checkpoint-{state.global_step}" / _WHOLE
        self.seconds_before = float(with_time.read_text()) if with_time.exists() else 0.0
        self._advance(state.global_step * self._batch_tokens)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        if not logs or "loss" not in logs:
            return
        # Kept in losses.csv; in the state it would be written again with every checkpoint.
        state.log_history.clear()
        loss = float(logs["loss"])
        if not math.isfinite(loss):
            raise AttentionInfluenceError(
                f"{self._folder}: the loss at step {state.global_step:,} is {loss}. Lower recipe.learning_rate; new "
                "learning rate needs a new --out"
            )
        if not state.is_world_process_zero:
            return
        self.last_loss = loss
        line = (state.global_step, state.global_step * self._batch_tokens, loss, float(logs["learning_rate"]))
        with (self._folder / LOSSES).open("a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow([repr(value) for value in line])
        self._advance(self._batch_tokens)

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        if state.is_world_process_zero:
            checkpoint = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            for path in checkpoint.rglob("*"):
                flush(str(path))
            seconds = self.seconds_before + time.monotonic() - self._began
            write_atomically(str(checkpoint / _WHOLE), repr(seconds).encode())


def _kept_lines(path: Path, steps: int) -> list[list[str]]:
    try:
        with path.open(newline="") as file:
            lines = list(csv.reader(file))[1:]
    except FileNotFoundError:
        return []
    return [line for line in lines if len(line) == len(_HEADINGS) and line[0].isdigit() and int(line[0]) <= steps]


def _last_checkpoint(folder: Path, may_remove: bool) -> Path | None:
    """The newest whole checkpoint; what a kill left half-written is removed."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        if (path / _WHOLE).exists():
            whole.append(path)
        elif may_remove:
            shutil.rmtree(path)
    return max(whole, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
