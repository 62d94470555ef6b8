"""Many processes on a clock that stands still while they work: a discrete-event simulation on greenlets.

Code under test keeps its own calls of `time` and `threading`: its modules are given `Simulation.time` and
`Simulation.threading` in their place (`simulated`). A process that belongs to a node that dies is never resumed, as
after SIGKILL; none of its `finally` blocks has an effect.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any

from greenlet import getcurrent, greenlet

# Seconds since the epoch at which simulations begin: a file that is older than any other is taken for a dead one's.
_EPOCH = 1.8e9


class Gone(RuntimeError):
    """What the code of a dead node gets, which runs because it is ended."""


@dataclass(eq=False)
class Node:
    """A machine, until it dies."""

    name: str
    slowness: float = 1.0
    is_dead: bool = False
    processes: list["Process"] = field(default_factory=list)

    def die(self) -> None:
        """Ends its processes: their `finally` blocks run now, and get Gone for what they ask for. For events only."""
        self.is_dead = True
        while self.processes:
            self.processes.pop().greenlet.throw()


class Process:
    """One flow of control on a node."""

    def __init__(self, simulation: "Simulation", node: Node, run: Callable[[], Any]) -> None:
        self.node, self.has_ended, self.sleeps = node, False, 0
        self.waiting: list[Process] = []
        self.greenlet = greenlet(partial(self._main, simulation, run), simulation.hub)

    def _main(self, simulation: "Simulation", run: Callable[[], Any]) -> None:
        run()
        self.has_ended = True
        for process in self.waiting:
            simulation.wake(process)
        self.node.processes.remove(self)


class Simulation:
    """A clock, and what happens when."""

    def __init__(self) -> None:
        self.now = 0.0
        self.hub = getcurrent()
        self.current: Process | None = None
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.time = SimpleNamespace(time=lambda: _EPOCH + self.now, monotonic=lambda: self.now, sleep=self.sleep)
        self.threading = SimpleNamespace(Event=partial(Event, self), Thread=partial(Thread, self))

    def at(self, seconds: float, call: Callable[[], None]) -> None:
        """Calls so many seconds from now."""
        heapq.heappush(self._due, (self.now + seconds, next(self._order), call))

    def start(self, node: Node, run: Callable[[], Any]) -> Process:
        """A process of a node that begins now."""
        process = Process(self, node, run)
        node.processes.append(process)
        self.wake(process)
        return process

    def sleep(self, seconds: float | None) -> None:
        """The process that calls goes on so much later, or when it is woken."""
        process = self.running()
        process.sleeps += 1
        if seconds is not None:
            self.at(seconds, partial(self._resume, process, process.sleeps))
        self.hub.switch()

    def wake(self, process: Process) -> None:
        self.at(0, partial(self._resume, process, process.sleeps))

    def running(self) -> Process:
        """The process that calls. Raises Gone for one of a dead node."""
        if self.current is None or self.current.node.is_dead or getcurrent() is not self.current.greenlet:
            raise Gone
        return self.current

    def run(self) -> None:
        """Until nothing is left to happen."""
        while self._due:
            self.now, _, call = heapq.heappop(self._due)
            call()
        self.current = None

    def _resume(self, process: Process, sleep: int) -> None:
        if not (process.node.is_dead or process.has_ended or process.sleeps != sleep):
            self.current = process
            process.greenlet.switch()


class Event:
    """As threading's."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation, self._is_set = simulation, False
        self._waiting: list[Process] = []

    def wait(self, timeout: float | None = None) -> bool:
        if not self._is_set:
            self._waiting = [self._simulation.running()]
            self._simulation.sleep(timeout)
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for process in self._waiting:
            self._simulation.wake(process)


class Thread:
    """As threading's."""

    def __init__(self, simulation: Simulation, target: Callable[[], Any], daemon: bool) -> None:
        self._simulation, self._target = simulation, target
        self._process: Process | None = None

    def start(self) -> None:
        self._process = self._simulation.start(self._simulation.running().node, self._target)

    def join(self) -> None:
        assert self._process is not None
        while not self._process.has_ended and not self._process.node.is_dead:
            self._process.waiting.append(self._simulation.running())
            self._simulation.sleep(None)


@contextmanager
def simulated(simulation: Simulation, *modules: ModuleType) -> Iterator[None]:
    """Gives modules the simulation's `time` and `threading` for as long as the context lasts."""
    own = [
        (module, name, getattr(module, name))
        for module in modules
        for name in ("time", "threading")
        if hasattr(module, name)
    ]
    for module, name, _ in own:
        setattr(module, name, getattr(simulation, name))
    try:
        yield
    finally:
        for module, name, value in own:
            setattr(module, name, value)
