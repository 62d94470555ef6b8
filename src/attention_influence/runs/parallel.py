"""Calls of one function, spread over processes here or over a Ray cluster; results in the order of the calls.

For work that needs no model; units of a score store have engines of their own.
"""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Any, TypeVar

from attention_influence.concurrency import in_order
from attention_influence.errors import AttentionInfluenceError
from attention_influence.runs.ray_cluster import ray_cluster

Task = TypeVar("Task")
Result = TypeVar("Result")


def over_processes(do: Callable[[Task], Result], tasks: Iterable[Task], workers: int) -> Iterator[Result]:
    """What `do` makes of each task, in this process or in several; no more tasks are held than keep them busy.

    `do` and tasks must pickle. Raises what `do` raised; the processes end with this one, even if it is killed.
    """
    if workers == 1:
        yield from map(do, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _follow, (os.getpid(),)) as pool:
        try:
            yield from in_order(lambda task: pool.submit(do, task).result, tasks, workers)
        except BrokenProcessPool as error:
            raise AttentionInfluenceError(
                f"one of {workers} workers died (often too little memory). What was finished is kept; run the same "
                "command again to resume, with fewer --workers if memory was short"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def over_ray(
    do: Callable[[Task], Result], tasks: Iterable[Task], workers: int | None, address: str | None, on_gpus: bool = False
) -> Iterator[Result]:
    """The same as tasks of the Ray cluster at `address`, one CPU each; a task whose worker dies is done again.

    `on_gpus`: one GPU each as well, if the cluster has any. `workers` None: as many as it has room for. `address`: see
    `ray_cluster`.
    """
    with ray_cluster(address) as ray:
        there = ray.cluster_resources()
        gpus = int(on_gpus and there.get("GPU", 0) >= 1)
        at_once = workers or max(1, int(there.get("GPU" if gpus else "CPU", 1)))
        remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(do)
        yield from in_order(lambda task: partial(_of_ray, ray, remote.remote(task)), tasks, at_once - 1)


def follow_parent(parent: int) -> None:
    """Ends this process soon after its parent was killed: nobody would read what it reports."""
    while os.getppid() == parent:
        threading.Event().wait(1.0)
    os._exit(1)


def _follow(parent: int) -> None:
    threading.Thread(target=follow_parent, args=(parent,), daemon=True).start()


def _of_ray(ray: Any, call: Any) -> Any:
    try:
        return ray.get(call)
    except ray.exceptions.RayTaskError as failed:
        raise failed.cause from None
