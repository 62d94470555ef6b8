"""Runs spread over processes here, a Ray cluster, or the tasks of a Slurm array; each is trained by one at a time."""

import multiprocessing
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from attention_influence.errors import AttentionInfluenceError
from attention_influence.experiment.plan import Plan, Run
from attention_influence.experiment.results import read_result
from attention_influence.progress import progress
from attention_influence.runs.parallel import over_processes, over_ray
from attention_influence.store.leases import Leases, worker_name


@dataclass(frozen=True)
class Outcome:
    """What became of one run: a result, or why there is none."""

    run: Run
    result: Mapping[str, Any] | None
    reason: str | None = None


@dataclass(frozen=True)
class _Task:
    """Pickles."""

    plan: Plan
    run: Run
    gpus: int
    """Of this machine, of which each worker takes one; 0 where Ray or the user gives them."""
    threads: int | None


def run_all(
    plan: Plan,
    runs: Sequence[Run],
    workers: int | None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
) -> Iterator[Outcome]:
    """Trains the runs that are not done, and gives what became of each, in their order.

    A run whose loss is no longer finite, or that another process trains, does not stop the others.
    """
    if is_distributed():  # all processes train each run together
        yield from (_train(_Task(plan, run, 0, None)) for run in runs)
        return
    if engine == "ray":
        tasks = [_Task(plan, run, 0, None) for run in runs]
        yield from over_ray(_train, tasks, workers, address, gpus=_gpus_for_ray())
        return
    gpus = _gpus()
    count = min(workers or max(1, gpus), len(runs)) or 1
    threads = None if count == 1 else max(1, (os.cpu_count() or 1) // count)
    yield from over_processes(_train, [_Task(plan, run, gpus, threads) for run in runs], count)


def _train(task: _Task) -> Outcome:
    if task.gpus and "CUDA_VISIBLE_DEVICES" not in os.environ:
        # One GPU for a process: with several, the Trainer would split its batches over all of them.
        os.environ["CUDA_VISIBLE_DEVICES"] = str(_own_number() % task.gpus)
    from attention_influence.experiment.evaluation import measure_of
    from attention_influence.experiment.train import train

    if task.threads is not None and "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(task.threads)
    plan, run = task.plan, task.run
    if (result := read_result(plan.folder(run))) is not None:
        return Outcome(run, result)
    with alone(plan.out, f"{run.arm}-seed-{run.seed}") as is_alone:
        if not is_alone:
            return Outcome(run, None, "another process trains it")
        with progress(f"{run.arm}, seed {run.seed}", plan.experiment.trained_tokens, "tokens") as advance:
            try:
                return Outcome(run, train(plan, run, measure_of(plan), advance))
            except AttentionInfluenceError as error:
                return Outcome(run, None, str(error))


def is_distributed() -> bool:
    """Whether a launcher such as torchrun started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this process writes what a launcher's processes have done together."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def alone(out: Path, name: str, wait: bool = False) -> Iterator[bool]:
    """Whether no other process does what `name` says in the folder, for as long as the context lasts.

    `wait`: until the other one is done.
    """
    if is_distributed():
        yield True
        return
    leases = Leases(str(out), worker_name())
    while not (taken := leases.take(name)) and wait:
        time.sleep(1.0)
    with leases.kept(name) if taken else nullcontext():
        yield taken


def _own_number() -> int:
    """Of a worker process, from 0; 0 in the command's own."""
    identity = multiprocessing.current_process()._identity
    return identity[-1] - 1 if identity else 0


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _gpus_for_ray() -> float:
    return float(_gpus() > 0)
