"""Near a run's end units are asked for, not listed; whatever became of their leases, what is left is known."""

import json
from dataclasses import asdict
from typing import Any

import fsspec
import pytest

from attention_influence.corpus import Columns, Source
from attention_influence.corpus.slices import Slice
from attention_influence.runs.open_units import OpenUnits
from attention_influence.scoring.score_unit import Reading
from attention_influence.store.leases import EXPIRY, Lease, Leases
from attention_influence.store.plan import Unit, make_unit
from steal_scale import SCORER, CountedStore, IdleStore, IdleWorker

UNITS = 2500


@pytest.fixture
def store() -> IdleStore:
    """Of its units all but the last two are done."""
    fsspec.register_implementation("counted", CountedStore, clobber=True)
    CountedStore.files.clear()
    source = Source("c.jsonl", "file:///c.jsonl", "jsonl", None, UNITS, "")
    store = IdleStore("counted://store", {}, tuple(make_unit(i, [Slice(source, i, i + 1)]) for i in range(UNITS)))
    for unit in store.units[:-2]:
        store.publish(unit, None, {})
    return store


def lease(store: IdleStore, unit: Unit, renewed: float) -> None:
    filesystem, path = fsspec.core.url_to_fs(f"{store.url}/leases/{unit.name}.json")
    filesystem.pipe_file(path, json.dumps(asdict(Lease("other", "elsewhere", 1, renewed))).encode())


def listings(units: OpenUnits) -> int:
    before = CountedStore.requests["list"]
    units.refresh()
    return CountedStore.requests["list"] - before


def test_what_is_left_is_asked_for(store: IdleStore) -> None:
    *_, one, other = store.units
    lease(store, one, 1e12)
    units = OpenUnits(store, Leases(store.url, "me"), store.units)
    assert (set(units.held), units.next(), units.next()) == ({one.name}, other, None)
    assert listings(units) == 2, "leases and failures, one page each; the 2,498 done are three pages more"
    store.publish(other, None, {})
    assert listings(units) == 2
    assert (set(units.held), units.next()) == ({one.name}, None)


def test_what_was_published_by_one_that_died_before_it_gave_up_its_lease_is_done(store: IdleStore) -> None:
    one = store.units[-2]
    lease(store, one, -EXPIRY)

    class Worker(IdleWorker):
        def _score(self, unit: Unit) -> Any:
            store.publish(one, None, {})
            return super()._score(unit)

    worker = Worker(store, SCORER, Reading(Columns()), name="me")
    worker.work(())
    assert store.published() == {unit.name for unit in store.units}
    assert (worker.done, CountedStore.files["/store/leases"]) == (1, {})
