"""Requests and time of many workers on one store of many units, with the library's own leases; scoring takes no time.

    python benchmarks/steal_scale.py --units 200000 --workers 64

The store is a dictionary in memory behind fsspec's interface, so what is measured is what the workers ask for and what
this library adds; a request takes no time. The plan is not sharded: every worker begins at the same unit.
"""

import argparse
import json
import resource
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

from attention_influence.corpus import Columns, Source
from attention_influence.corpus.slices import Slice
from attention_influence.runs.worker import Worker
from attention_influence.scoring.score_unit import Reading
from attention_influence.store.plan import Unit, make_unit
from attention_influence.store.run import RunStore


class CountedStore(MemoryFileSystem):
    """A flat store that counts requests; listings come in pages of 1,000 names, as object stores give them."""

    protocol = "counted"
    files: ClassVar[dict[str, dict[str, bytes]]] = {}
    requests: ClassVar[Counter[str]] = Counter()
    lock = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("counted://").strip("/")

    def _count(self, what: str, times: int = 1) -> None:
        with self.lock:
            self.requests[what] += times

    def _folder(self, path: str) -> tuple[dict[str, bytes], str]:
        folder, _, name = self._strip_protocol(path).rpartition("/")
        return self.files.setdefault(folder, {}), name

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        self._count("put")
        folder, name = self._folder(path)
        with self.lock:
            if mode == "create" and name in folder:
                raise FileExistsError(path)
            folder[name] = value

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        self._count("get")
        folder, name = self._folder(path)
        try:
            return folder[name][start:end]
        except KeyError:
            raise FileNotFoundError(path) from None

    def exists(self, path: str, **_: Any) -> bool:
        self._count("head")
        folder, name = self._folder(path)
        return name in folder

    def rm_file(self, path: str) -> None:
        self._count("delete")
        folder, name = self._folder(path)
        with self.lock:
            folder.pop(name, None)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        folder = self._strip_protocol(path)
        with self.lock:
            held = dict(self.files.get(folder, {}))
        self._count("list", 1 + len(held) // 1000)
        if not held:
            raise FileNotFoundError(path)
        if not detail:
            return [f"{folder}/{name}" for name in held]
        return [{"name": f"{folder}/{name}", "size": len(value), "type": "file"} for name, value in held.items()]


SCORER: Any = None


class IdleWorker(Worker):
    """Takes units, scores nothing, publishes a few bytes."""

    done = 0
    unit_seconds = 0.0

    def _attempt(self, unit: Unit, leases: Any) -> bool:
        attempted = super()._attempt(unit, leases)
        self.done += attempted
        return attempted

    def _check_device(self) -> None:
        pass

    def _score(self, unit: Unit) -> Any:
        time.sleep(self.unit_seconds)
        return Scored()

    def _circumstances(self, seconds: float) -> dict[str, Any]:
        return {"seconds": seconds}


class Scored:
    """What a worker publishes."""

    table = None

    def about(self) -> dict[str, Any]:
        return {"rows": 0}


class IdleStore(RunStore):
    """Publishes without a table."""

    def publish(self, unit: Unit, scores: Any, about: Any) -> None:
        filesystem, path = fsspec.core.url_to_fs(f"{self.url}/scores/{unit.name}.parquet")
        filesystem.pipe_file(path, json.dumps(about).encode())


def run(units: int, workers: int, unit_seconds: float) -> dict[str, Any]:
    """Requests by kind, units done twice, seconds and memory."""
    fsspec.register_implementation("counted", CountedStore, clobber=True)
    CountedStore.files.clear()
    CountedStore.requests.clear()
    source = Source("c.jsonl", "file:///c.jsonl", "jsonl", None, 1000 * units, "")
    plan = tuple(make_unit(i, [Slice(source, 1000 * i, 1000 * (i + 1))]) for i in range(units))
    store = IdleStore("counted://store", {}, plan)
    team = [IdleWorker(store, SCORER, Reading(Columns()), name=f"worker-{i}") for i in range(workers)]
    for worker in team:
        worker.unit_seconds = unit_seconds
    began = time.monotonic()
    with ThreadPoolExecutor(workers) as pool:
        for finished in [pool.submit(worker.work, plan) for worker in team]:
            finished.result()
    requests = dict(CountedStore.requests)
    scores = CountedStore.files["/store/scores"]
    assert len(scores) == units, "a unit is missing"
    return {
        "units": units,
        "workers": workers,
        "seconds": round(time.monotonic() - began, 1),
        "requests": requests,
        "requests_per_unit": round(sum(requests.values()) / units, 2),
        "done_twice": sum(worker.done for worker in team) - units,
        "leases_left": len(CountedStore.files.get("/store/leases", {})),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--units", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--unit-seconds", type=float, default=0.05)
    given = parser.parse_args()
    print(json.dumps(run(given.units, given.workers, given.unit_seconds)))


if __name__ == "__main__":
    main()
