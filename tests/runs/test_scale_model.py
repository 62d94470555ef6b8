"""Large runs on a simulated clock: nothing is lost with workers that die, few requests, and a clock that is right."""

from collections.abc import Iterator
from types import ModuleType

import pytest

from scale_model import main
from simulation import Gone, Node, Simulation, simulated

SMALL = ["--tokens", "4e9", "--unit-tokens", "10000000", "--seed", "3", "--json"]


def test_every_unit_is_done_once_though_workers_die_and_some_are_slow() -> None:
    found = main([*SMALL, "--workers", "20", "--preempt-hours", "0.3", "--slow-share", "0.1"])
    assert found["kills"] > 10
    assert (found["units"], found["leases_left"]) == (400, 0)
    assert found["units_done_twice"] <= 2
    assert 0 < found["wasted_share"] < 0.3
    assert 0.5 < found["efficiency"] < 1


def test_without_kills_and_slow_nodes_nothing_but_requests_and_the_last_units_is_lost() -> None:
    found = main([*SMALL, "--workers", "4", "--preempt-hours", "0", "--slow-share", "0", "--start-seconds", "0"])
    assert (found["kills"], found["wasted_share"], found["units_done_twice"]) == (0, 0.0, 0)
    assert found["efficiency"] > 0.98


def test_workers_without_work_do_not_read_each_others_leases_all_the_time() -> None:
    """The 150 end within 100 seconds of each other; if each read all leases, a look would be 22,500 requests."""
    found = main([*SMALL, "--workers", "150", "--preempt-hours", "0", "--slow-share", "0"])
    assert found["requests"]["get"] < 150 * 32 * 5
    assert found["efficiency"] > 0.7


def test_a_simulation_is_the_same_each_time() -> None:
    arguments = [*SMALL, "--workers", "10", "--preempt-hours", "0.5"]
    assert main(arguments) == main(arguments)


@pytest.fixture
def module() -> Iterator[ModuleType]:
    import threading
    import time

    made = ModuleType("made")
    made.time, made.threading = time, threading  # type: ignore[attr-defined]
    yield made
    assert (made.time, made.threading) == (time, threading)


def test_sleeps_events_and_threads_follow_the_simulated_clock(module: ModuleType) -> None:
    simulation, node, seen = Simulation(), Node("a"), []

    def renew(finished: object) -> None:
        while not finished.wait(10):  # type: ignore[attr-defined]
            seen.append(("renewed", simulation.now))

    def work() -> None:
        finished = module.threading.Event()
        thread = module.threading.Thread(target=lambda: renew(finished), daemon=True)
        thread.start()
        module.time.sleep(25)
        finished.set()
        thread.join()
        seen.append(("worked", module.time.monotonic()))

    with simulated(simulation, module):
        simulation.start(node, work)
        simulation.run()
    assert seen == [("renewed", 10), ("renewed", 20), ("worked", 25)]
    assert node.processes == []


def test_a_node_that_dies_does_nothing_more_not_even_at_the_end_of_its_blocks(module: ModuleType) -> None:
    simulation, node, seen = Simulation(), Node("a"), []

    def work() -> None:
        try:
            module.time.sleep(100)
            seen.append("woke up")
        finally:
            try:
                module.time.sleep(1)
                seen.append("cleaned up")
            except Gone:
                seen.append("gone")

    with simulated(simulation, module):
        simulation.start(node, work)
        simulation.at(50, node.die)
        simulation.run()
    assert seen == ["gone"]
