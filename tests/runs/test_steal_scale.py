"""Many workers on one store: few requests for each unit, none done twice."""

import pytest

from steal_scale import run


@pytest.mark.parametrize("units", [100, 400])
def test_requests_of_many_workers_grow_with_the_units_and_not_with_units_times_workers(units: int) -> None:
    found = run(units, workers=12, unit_seconds=0.05)
    assert found["requests_per_unit"] < 20
    assert (found["done_twice"], found["leases_left"]) == (0, 0)
