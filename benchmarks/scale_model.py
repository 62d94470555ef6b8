"""A large run played on a simulated clock: makespan against ideal, the tail, wasted work, requests a second.

    python benchmarks/scale_model.py --workers 1000 --tokens 1e13 --tokens-per-second 100000 --json

The plan, leases, listings and stealing are the library's own code (`make_plan`, `Worker`, `OpenUnits`, `Leases`); the
clock, the store and the time that scoring takes are not. Each worker is a node of its own. Nodes are killed without
notice, at random, every --preempt-hours on average, and come back --restart-seconds later under a new name; a share of
them is slow. Ideal is the time that all workers would take which are never slow, killed or without work.
"""

import argparse
import json
import random
from collections import Counter
from functools import partial
from typing import Any, ClassVar

import fsspec

from attention_influence.commands.printing.result import table
from attention_influence.corpus import Columns, Source
from attention_influence.corpus.slices import BYTES_PER_TOKEN
from attention_influence.runs import open_units, worker
from attention_influence.runs.shard import own_units
from attention_influence.scoring.score_unit import Reading
from attention_influence.storage import atomic_files, exclusive_files
from attention_influence.store import leases
from attention_influence.store.plan import Unit, default_unit_tokens, make_plan
from attention_influence.store.reader import open_store
from simulation import Node, Simulation, simulated
from steal_scale import CountedStore, IdleStore, IdleWorker, Scored

# Requests a second that S3 serves for one prefix, as its documentation says: writes, and reads with listings.
S3_WRITES, S3_READS = 3_500, 5_500
_WRITES = ("put", "delete")
# Seconds over which requests are counted for the peak.
_PEAK_SECONDS = 10
# Width of the distribution of a unit's true work around the plan's estimate of it, where no store tells it.
_SPREAD = 0.1


class TimedStore(CountedStore):
    """A request takes time; those that reach the folder of leases, and those of all folders, are counted over time."""

    protocol = "timed"
    simulation: ClassVar[Simulation]
    request_seconds: ClassVar[float] = 0.05
    over_time: ClassVar[Counter[tuple[str, int]]] = Counter()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("timed://").strip("/")

    def _count(self, what: str, times: int = 1) -> None:
        self.simulation.sleep(self.request_seconds * times)
        kind = "writes" if what in _WRITES else "reads"
        self.requests[what] += times
        self.over_time[kind, int(self.simulation.now // _PEAK_SECONDS)] += times


class Run:
    """One run, played."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.random = given, random.Random(given.seed)
        self.simulation = Simulation()
        size = round(given.tokens * BYTES_PER_TOKEN / given.files)
        sources = [Source(f"{i}.jsonl", f"file:///{i}.jsonl", "jsonl", None, size, "") for i in range(given.files)]
        planned = given.unit_tokens or default_unit_tokens("cuda", given.parameters)
        self.units = make_plan(sources, planned, may_grow=given.unit_tokens is None)
        self.store = PlayedStore("timed://store", {}, tuple(self.units))
        speeds = _speeds(given.rates)
        self.seconds = {
            unit.name: tokens_of(unit) / given.tokens_per_second * self._spread(speeds) for unit in self.units
        }
        self.ideal = sum(self.seconds.values()) / given.workers
        self.left = len(self.units)
        self.wasted, self.twice, self.kills = 0.0, 0, 0
        self.finished: list[tuple[float, float]] = []
        """When each unit was published, and its seconds of work."""

    def play(self) -> dict[str, Any]:
        fsspec.register_implementation("timed", TimedStore, clobber=True)
        TimedStore.files, TimedStore.requests, TimedStore.over_time = {}, Counter(), Counter()
        TimedStore.simulation, TimedStore.request_seconds = self.simulation, self.given.request_seconds
        exclusive_files._knows_conditional_puts.cache_clear()
        PlayedStore.run_of = self
        modules = (worker, open_units, leases, atomic_files, exclusive_files)
        this_host, runs = leases._this_host, leases._runs
        try:
            leases._this_host = lambda: self.simulation.running().node.name
            leases._runs = lambda pid: True
            with simulated(self.simulation, *modules):
                for number in range(self.given.workers):
                    self.simulation.at(
                        self.random.uniform(0, self.given.start_seconds), partial(self._begin, number, 0)
                    )
                self.simulation.run()
        finally:
            leases._this_host, leases._runs = this_host, runs
        return self._figures()

    def _begin(self, number: int, life: int) -> None:
        """A worker's node, until it has nothing to do or is killed."""
        if not self.left:
            return
        slowness = self.given.slowness if self.random.random() < self.given.slow_share else 1.0
        node = Node(f"node-{number}-{life}", slowness)
        played = PlayedWorker(self.store, None, Reading(Columns()), name=node.name)  # type: ignore[arg-type]
        played.run_of, played.node = self, node
        mine = own_units(self.units, f"{number}/{self.given.workers}")
        self.simulation.start(node, lambda: self._work(played, mine))
        if self.given.preempt_hours:
            lives = self.random.expovariate(1 / (3600 * self.given.preempt_hours))
            self.simulation.at(lives, lambda: self._kill(played, number, life))

    def _work(self, played: "PlayedWorker", mine: list[Unit]) -> None:
        played.work(mine)
        played.has_ended = True

    def _kill(self, played: "PlayedWorker", number: int, life: int) -> None:
        if played.has_ended or not self.left:
            return
        played.node.die()
        self.kills += 1
        if played.scoring_since is not None:
            self.wasted += (self.simulation.now - played.scoring_since) / played.node.slowness
        self.simulation.at(self.given.restart_seconds, partial(self._begin, number, life + 1))

    def published(self, unit: Unit, is_new: bool) -> None:
        if not is_new:
            self.twice += 1
            self.wasted += self.seconds[unit.name]
            return
        self.left -= 1
        self.finished.append((self.simulation.now, self.seconds[unit.name]))

    def _spread(self, speeds: list[float]) -> float:
        return self.random.choice(speeds) if speeds else self.random.lognormvariate(0, _SPREAD)

    def _figures(self) -> dict[str, Any]:
        assert not self.left, f"{self.left} units were never done"
        total, makespan = sum(self.seconds.values()), max(at for at, _ in self.finished)
        requests, over_time = TimedStore.requests, TimedStore.over_time
        peaks = {
            kind: max((n for (of, _), n in over_time.items() if of == kind), default=0) / _PEAK_SECONDS
            for kind in ("writes", "reads")
        }
        return {
            "workers": self.given.workers,
            "tokens": self.given.tokens,
            "units": len(self.units),
            "tokens_per_unit": round(tokens_of(self.units[0])),
            "hours": makespan / 3600,
            "ideal_hours": self.ideal / 3600,
            "efficiency": self.ideal / makespan,
            "tail_seconds": makespan - _when(self.finished, 0.99 * total),
            "kills": self.kills,
            "wasted_share": self.wasted / total,
            "units_done_twice": self.twice,
            "requests_per_unit": sum(requests.values()) / len(self.units),
            "requests_per_s": sum(requests.values()) / makespan,
            "peak_writes_per_s": peaks["writes"],
            "peak_reads_per_s": peaks["reads"],
            "requests": dict(requests),
            "leases_left": len(TimedStore.files.get("/store/leases", {})),
        }


class PlayedWorker(IdleWorker):
    """Scores by letting time pass."""

    run_of: Run
    node: Node
    scoring_since: float | None = None
    has_ended = False

    def _score(self, unit: Unit) -> Any:
        self.scoring_since = self.run_of.simulation.now
        self.run_of.simulation.sleep(self.run_of.seconds[unit.name] * self.node.slowness)
        self.scoring_since = None
        return Scored()


class PlayedStore(IdleStore):
    """Says what was published, and whether it was for the first time."""

    run_of: ClassVar[Run]

    def publish(self, unit: Unit, scores: Any, about: Any) -> None:
        is_new = f"{unit.name}.parquet" not in TimedStore.files.get("/store/scores", {})
        super().publish(unit, scores, about)
        self.run_of.published(unit, is_new)


def tokens_of(unit: Unit) -> float:
    """What the plan takes a unit to hold."""
    return sum((part.end or part.source.size) - part.start for part in unit.slices) / BYTES_PER_TOKEN


def _when(finished: list[tuple[float, float]], seconds: float) -> float:
    """The time by which so much work was done."""
    done = 0.0
    for at, of_unit in sorted(finished):
        done += of_unit
        if done >= seconds:
            return at
    return finished[-1][0]


def _speeds(store: str | None) -> list[float]:
    """Seconds for a token of a real store's units, against their mean."""
    if store is None:
        return []
    records = [about for about in open_store(store).records().values() if about["tokens"]]
    mean = sum(about["seconds"] for about in records) / sum(about["tokens"] for about in records)
    return [about["seconds"] / about["tokens"] / mean for about in records]


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--tokens", type=float, default=1e13)
    parser.add_argument("--files", type=int, help="of the corpus (default: a gigabyte each)")
    parser.add_argument("--unit-tokens", type=int, help="default: as `score` chooses on a GPU")
    parser.add_argument("--parameters", type=int, default=135_000_000, help="of the model, which decide that")
    parser.add_argument("--tokens-per-second", type=float, default=100_000, help="of one worker, when it scores")
    parser.add_argument("--rates", help="score store whose units' measured speeds are drawn from")
    parser.add_argument("--preempt-hours", type=float, default=4.0, help="mean life of a node; 0: for ever")
    parser.add_argument("--restart-seconds", type=float, default=180.0)
    parser.add_argument("--start-seconds", type=float, default=60.0, help="over which the workers begin")
    parser.add_argument("--slow-share", type=float, default=0.01)
    parser.add_argument("--slowness", type=float, default=3.0)
    parser.add_argument("--request-seconds", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    given.files = given.files or max(1, round(given.tokens * BYTES_PER_TOKEN / 1e9))
    random.seed(given.seed)
    figures = Run(given).play()
    if given.json:
        print(json.dumps(figures))
    else:
        rows = [(name, f"{value:,.4g}" if isinstance(value, float) else str(value)) for name, value in figures.items()]
        print(table(("", ""), rows))
        print(f"S3 serves {S3_WRITES:,} writes and {S3_READS:,} reads a second for each prefix, by its documentation")
    return figures


if __name__ == "__main__":
    main()
