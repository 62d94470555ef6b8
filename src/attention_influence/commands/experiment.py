"""`experiment`: arms × seeds of language models, matched in tokens, trained and compared."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attention_influence.commands.printing.result import Result, table
from attention_influence.config import ExperimentConfig
from attention_influence.errors import UsageError
from attention_influence.experiment.configuration import read_experiment
from attention_influence.experiment.network import configuration_of, learning_rate_of, parameters_of
from attention_influence.experiment.plan import Plan, freeze
from attention_influence.experiment.prepare import prepare
from attention_influence.experiment.speed import Estimate, estimate
from attention_influence.experiment.spread import Outcome, alone, is_distributed, run_all
from attention_influence.experiment.tokenizer import open_tokenizer
from attention_influence.experiment.train import read_result, training_arguments
from attention_influence.progress import note
from attention_influence.runs.shard import own_units
from attention_influence.storage.preflight import check_writable_folder


def experiment_command(config: ExperimentConfig) -> Result:
    experiment = read_experiment(config.file)
    if "://" in config.out:
        raise UsageError(
            f"--out {config.out}: the Trainer writes its checkpoints to a folder of this machine. Name one"
        )
    check_writable_folder(config.out)
    out = Path(config.out).absolute()
    training_arguments(experiment, out, Plan(out, experiment, (), {}, {}).runs[0])  # before any work
    with _in_turn(out):
        plan = prepare(experiment, config.file, out, lambda sources, columns: lambda key, text: None)
    about = plan_text(plan)
    if config.dry_run:
        parameters = parameters_of(configuration_of(experiment, open_tokenizer(plan.tokenizer)))
        took = estimate(plan, parameters)
        return Result(f"{about}\n{_estimate_text(took, plan)}", plan.to_json() | {"estimate": asdict(took)})
    note(about)
    freeze(plan)
    own = own_units(plan.runs, config.shard)
    outcomes = list(run_all(plan, own, config.workers, config.engine, config.address))
    return _result(plan, outcomes)


@contextmanager
def _in_turn(out: Path) -> Iterator[None]:
    """One process after another: the first one writes, the others find it written."""
    if is_distributed():
        from accelerate import PartialState

        with PartialState().main_process_first():
            yield
        return
    with alone(out, "prepare", wait=True):
        yield


def plan_text(plan: Plan) -> str:
    """What every arm is trained on."""
    experiment = plan.experiment
    rows = [
        (arm.name, part.name, part.documents, part.tokens, f"{part.epochs:.2f}")
        for arm in plan.arms
        for part in arm.parts
    ]
    lines = [
        f"{len(experiment.arms)} arms × {len(experiment.seeds)} seeds, each {experiment.trained_tokens:,} tokens in "
        f"{experiment.steps:,} steps of {experiment.recipe.batch_tokens:,}",
        f"{plan.data['documents']:,} documents, {plan.data['tokens']:,} tokens; held out {plan.data['held_out']:,}",
    ]
    if plan.data["left_out"]:
        lines.append("left out: " + ", ".join(f"{count:,} {why}" for why, count in plan.data["left_out"].items()))
    lines += ["", table(("arm", "part", "documents", "tokens", "epochs"), rows)]
    lines += [
        f"arm {arm.name}: what is in {part.name} is seen {part.epochs:.1f} times"
        for arm in plan.arms
        for part in arm.parts
        if part.epochs > _MANY_EPOCHS
    ]
    return "\n".join(lines)


_MANY_EPOCHS = 4.0
"""Up to which repeated tokens are worth nearly as much as new ones (Muennighoff et al. 2023)."""


def _estimate_text(took: Estimate, plan: Plan) -> str:
    lines = [
        "",
        f"{took.parameters:,} parameters, learning rate {learning_rate_of(plan.experiment):g}",
        f"{took.flops:.2g} FLOPs a run (6 × parameters × tokens)",
    ]
    if took.seconds is not None:
        lines.append(
            f"about {_duration(took.seconds)} a run on this machine's {took.device}, "
            f"{_duration(took.seconds * len(plan.runs))} for all {len(plan.runs)} one after another"
        )
    else:
        lines.append(
            f"too large to be timed here: a GPU that sustains 400 TFLOP/s takes {_duration(took.flops / 4e14)} a run"
        )
    return "\n".join([*lines, f"tokens and choices are ready in {plan.data_folder}; nothing was trained"])


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} seconds"


def _result(plan: Plan, outcomes: Sequence[Outcome]) -> Result:
    results = {run: found for run in plan.runs if (found := read_result(plan.folder(run))) is not None}
    failed = [outcome for outcome in outcomes if outcome.result is None]
    missing = [run for run in plan.runs if run not in results]
    data: dict[str, Any] = {
        "out": str(plan.out),
        "runs": list(results.values()),
        "missing": [list(run) for run in missing],
    }
    lines = [_metrics_table(plan, list(results.values()))]
    lines += [f"{one.run.arm}, seed {one.run.seed}: {one.reason}" for one in failed]
    if missing:
        lines.append(f"{len(results)} of {len(plan.runs)} runs are whole; run the same command again for the others")
    lines.append(f"written: {plan.out}")
    return Result("\n".join(lines), data, exit_code=int(bool(failed)))


def _metrics_table(plan: Plan, results: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(metric["name"] for result in results for metric in result["metrics"]))
    rows = []
    for name in names:
        means: list[float | None] = []
        for arm in plan.experiment.arms:
            values = [m["value"] for r in results if r["arm"] == arm for m in r["metrics"] if m["name"] == name]
            means.append(sum(values) / len(values) if values else None)
        rows.append((name, *means))
    return table(("mean over seeds", *plan.experiment.arms), rows)
