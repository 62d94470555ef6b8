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

_VISIBLE = "CUDA_VISIBLE_DEVICES"


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
    gpus: tuple[str, ...]
    """Names of this machine's, of which each worker takes one; none where a launcher or Ray gives them."""
    threads: int | None


def run_all(
    plan: Plan,
    runs: Sequence[Run],
    workers: int | None,
    engine: Literal["local", "ray"] = "local",
    address: str | None = None,
    gpus: Sequence[str] = (),
) -> Iterator[Outcome]:
    """Trains the runs that are not done, and gives what became of each, in their order.

    A run whose loss is no longer finite, or that another process trains, does not stop the others. `gpus`: what
    `keep_first_gpu` gave.
    """
    if is_distributed():  # all processes train each run together
        yield from (_train(_Task(plan, run, (), None)) for run in runs)
        return
    if engine == "ray":
        tasks = [_Task(plan, run, (), None) for run in runs]
        yield from over_ray(_train, tasks, workers, address, on_gpus=True)
        return
    count = min(workers or max(1, len(gpus)), len(runs)) or 1
    threads = None if count == 1 else max(1, (os.cpu_count() or 1) // count)
    yield from over_processes(_train, [_Task(plan, run, tuple(gpus), threads) for run in runs], count)


def _train(task: _Task) -> Outcome:
    if task.gpus:
        os.environ[_VISIBLE] = task.gpus[_own_number() % len(task.gpus)]
    from attention_influence.experiment.measuring.evaluation import measure_of
    from attention_influence.experiment.training.train import train

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


def keep_first_gpu() -> tuple[str, ...]:
    """Names of the GPUs that this process sees; from now on it sees the first only.

    With several, the Trainer would split its batches over all of them. To be called before anything asks CUDA; asking
    for their number does not.
    """
    import torch

    count = 0 if is_distributed() else torch.cuda.device_count()
    given = os.environ.get(_VISIBLE)
    names = tuple(given.split(",")[:count] if given else map(str, range(count)))
    if names:
        os.environ[_VISIBLE] = names[0]
    return names
