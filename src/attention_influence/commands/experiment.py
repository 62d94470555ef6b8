"""`experiment`: arms × seeds of language models, matched in tokens, trained and compared."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from attention_influence.commands.printing.experiment_text import analysis_text, estimate_text, plan_text
from attention_influence.commands.printing.result import Result
from attention_influence.config import ExperimentConfig
from attention_influence.errors import UsageError
from attention_influence.experiment.configuration import read_experiment
from attention_influence.experiment.data.tokenizer import open_tokenizer
from attention_influence.experiment.measuring.evaluation import check_evaluation, leave_out
from attention_influence.experiment.plan import Plan, Run, freeze
from attention_influence.experiment.prepare import prepare
from attention_influence.experiment.record import write_analysis
from attention_influence.experiment.spread import alone, is_distributed, is_first, keep_first_gpu, run_all
from attention_influence.experiment.training.network import configuration_of, parameters_of
from attention_influence.experiment.training.speed import estimate
from attention_influence.experiment.training.train import training_arguments
from attention_influence.progress import note
from attention_influence.runs.shard import own_units
from attention_influence.storage.preflight import check_writable_folder


def experiment_command(config: ExperimentConfig) -> Result:
    experiment = read_experiment(config.file)
    if "://" in config.out:
        raise UsageError(f"--out {config.out}: the Trainer writes checkpoints to a folder of this machine. Name one")
    check_writable_folder(config.out)
    gpus = keep_first_gpu()
    out = Path(config.out).absolute()
    try:  # what would stop the first run stops the command before any work
        training_arguments(experiment, out, Run(next(iter(experiment.arms)), experiment.seeds[0]))
        check_evaluation(experiment.evaluation)
        with _in_turn(out):
            plan = prepare(experiment, config.file, out, leave_out)
        parameters_of(configuration_of(experiment, open_tokenizer(plan.tokenizer)))
    except UsageError as error:
        raise error if config.file in str(error) else UsageError(f"{config.file}: {error}") from error
    about = plan_text(plan)
    if config.dry_run:
        took = estimate(plan)
        return Result(f"{about}\n\n{estimate_text(took, plan)}", plan.to_json() | {"estimate": asdict(took)})
    note(about)
    if is_first():
        freeze(plan)
    return _run(plan, config, gpus)


def _run(plan: Plan, config: ExperimentConfig, gpus: Sequence[str]) -> Result:
    failed = []
    writes = is_first()
    own = own_units(plan.runs, config.shard)
    for outcome in run_all(plan, own, config.workers, config.engine, config.address, gpus):
        if outcome.result is None:
            failed.append(f"{outcome.run.arm}, seed {outcome.run.seed}: {outcome.reason}")
        if writes:
            write_analysis(plan)
    if not writes:
        return Result("")
    record = write_analysis(plan)
    lines = [analysis_text(record), *failed]
    if record["missing"]:
        lines.append(
            f"{len(record['whole'])} of {len(plan.runs)} runs are whole; run the same command again for the others"
        )
    # An experiment that should have found what is in its corpus, and did not, has failed.
    missed = not record["missing"] and record.get("planted", {}).get("found", True) is not True
    return Result(
        "\n".join([*lines, f"written: {plan.out}"]), record | {"failed": failed}, exit_code=int(bool(failed) or missed)
    )


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
