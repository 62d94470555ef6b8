"""The same units through Ray: an actor for each device, on one machine or on a cluster.

Actors take units by the store's own leases, as every worker does; Ray only keeps them alive. So a run that Ray began
can be finished by processes or by a Slurm array, and the other way round.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from attention_influence.errors import AttentionInfluenceError, UsageError
from attention_influence.runs.canary import BrokenDevice
from attention_influence.runs.local import Job, crash, leave_device, terminated_like_interrupted
from attention_influence.runs.ray_cluster import ray_cluster
from attention_influence.scoring.score_unit import Progress
from attention_influence.store.failures import quarantined_units
from attention_influence.store.leases import worker_name
from attention_influence.store.plan import Unit

# Between looks at the actors (seconds).
_POLL_SECONDS = 1.0
# Deaths of one actor, without a unit published by anyone in between, after which starting it again is given up.
_MOST_DEATHS = 3


@dataclass(frozen=True)
class Actors:
    """How many workers, and what Ray reserves for each."""

    count: int | None = None
    """None: as many as there is room for when the run begins."""
    cpus: float = 1.0
    gpus: float = 0.0
    """May be a part of a GPU, but Ray knows no parts beside whole ones."""

    def __post_init__(self) -> None:
        if self.cpus < 0 or self.gpus < 0 or (self.gpus > 1 and self.gpus != int(self.gpus)):
            raise UsageError(
                f"worker_cpus={self.cpus:g}, worker_gpus={self.gpus:g}: Ray reserves 0 or more of each, and of GPUs a "
                "part of one or a whole number"
            )


def run_on_ray(job: Job, mine: Sequence[Unit], actors: Actors, address: str | None, progress: Progress) -> None:
    """Scores the units of `mine` and steals others, with actors on the Ray cluster at `address`.

    `address`: see `ray_cluster`. An actor that dies, alone or with its node, is started again where there is room; the
    unit that it was at is done again. Raises what a worker raised, and UsageError when there is no room for a worker.
    """
    with ray_cluster(address) as ray, terminated_like_interrupted():
        count = actors.count or _room(ray.nodes(), actors)
        if not count:
            raise UsageError(f"no node of the Ray cluster has {actors.cpus:g} CPUs and {actors.gpus:g} GPUs free")
        make = ray.remote(num_cpus=actors.cpus, num_gpus=actors.gpus, max_restarts=-1, max_concurrency=2)(_Actor)
        # Tested where it runs: the devices of the cluster need not be like this one.
        leave_device(job.model)
        elsewhere = replace(job, scorer=job.scorer | {"tested": None}) if actors.gpus else job
        shared = ray.put(elsewhere)
        tasks = {make.remote(): (shared, list(mine[i::count]), actors.gpus > 0) for i in range(count)}
        _watch(ray, job, tasks, progress)


class _Actor:
    """A worker in a process of Ray's."""

    def __init__(self) -> None:
        self._counted = [0, 0, 0]
        self._lock = threading.Lock()

    def work(self, job: Job, mine: Sequence[Unit], on_cuda: bool) -> None:
        job.worker(job.model.on("cuda") if on_cuda else job.model, self._count).work(mine)

    def counted(self) -> list[int]:
        """Rows, bad rows and tokens since the last call."""
        with self._lock:
            counted, self._counted = self._counted, [0, 0, 0]
        return counted

    def _count(self, *more: int) -> None:
        with self._lock:
            self._counted = [a + b for a, b in zip(self._counted, more, strict=True)]


def _watch(ray: Any, job: Job, tasks: Mapping[Any, tuple[Any, ...]], progress: Progress) -> None:
    """Keeps the actors at work, each with its task, until nothing is left that they could do."""
    working = {actor.work.remote(*task): actor for actor, task in tasks.items()}
    counting = {actor.counted.remote(): actor for actor in tasks}
    idle: list[Any] = []
    deaths: dict[Any, int] = {}
    published = 0
    error: AttentionInfluenceError | None = None
    while working:
        for call in ray.wait(list(working), timeout=_POLL_SECONDS)[0]:
            actor = working.pop(call)
            try:
                ray.get(call)
                idle.append(actor)
            except ray.exceptions.RayActorError:
                if (now := len(job.store.published())) > published:
                    published, deaths = now, {}
                deaths[actor] = deaths.get(actor, 0) + 1
                if deaths[actor] < _MOST_DEATHS:
                    working[actor.work.remote(*tasks[actor])] = actor
                else:
                    error = AttentionInfluenceError(
                        f"a worker died {_MOST_DEATHS} times in a row (often too little memory). Finished "
                        "units are kept; run the same command again to resume, with fewer --workers if memory was short"
                    )
                # The others may have ended before this one's lease did.
                working |= {other.work.remote(*tasks[other]): other for other in idle}
                idle = []
            except ray.exceptions.RayTaskError as failed:
                if not isinstance(failed.cause, AttentionInfluenceError):
                    raise crash(job.store.url, worker_name(), failed) from None
                if not isinstance(failed.cause, BrokenDevice):
                    raise failed.cause from None
                error = failed.cause
        counting = _collect(ray, counting, progress)
        if (idle or error) and not _left(job):
            break  # an actor that waits for room would wait for ever
    for _ in range(2):  # what was asked for, then what was counted since
        counting = _collect(ray, counting, progress, patience=_POLL_SECONDS)
    if error is not None and _left(job):
        raise error


def _collect(ray: Any, counting: dict[Any, Any], progress: Progress, patience: float = 0) -> dict[Any, Any]:
    """Passes on what actors have counted, and asks those that answered again."""
    asked = {}
    for call in ray.wait(list(counting), num_returns=len(counting), timeout=patience)[0]:
        actor = counting.pop(call)
        with suppress(ray.exceptions.RayActorError):  # what it had counted is lost, and done again
            progress(*ray.get(call))
        asked[actor.counted.remote()] = actor
    return counting | asked


def _left(job: Job) -> bool:
    """Whether any unit is neither published nor quarantined."""
    done = job.store.published() | quarantined_units(job.store.url)
    return any(unit.name not in done for unit in job.store.units)


def _room(nodes: Sequence[dict[str, Any]], actors: Actors) -> int:
    """Workers that the cluster's nodes have room for."""
    room = 0
    for node in nodes:
        if node["Alive"]:
            has = node["Resources"]
            by_need = [_fit(has.get("CPU", 0), actors.cpus)] if actors.cpus else []
            if 0 < actors.gpus < 1:  # a part is of one GPU, never the rests of two
                by_need.append(int(has.get("GPU", 0)) * _fit(1, actors.gpus))
            elif actors.gpus:
                by_need.append(_fit(has.get("GPU", 0), actors.gpus))
            room += min(by_need, default=1)
    return room


def _fit(has: float, need: float) -> int:
    return int(has / need + 1e-9)  # a tenth is a little more than a tenth
