"""Nothing lost and nothing doubled, whatever is killed when."""

import pytest

from chaos import chaos
from s3_server import BUCKET, s3_server

pytestmark = pytest.mark.slow

KILLS = 5


def test_killed_runs_on_a_local_disk_end_with_exactly_the_undisturbed_rows(tmp_path):
    outcome = chaos(str(tmp_path / "root"), tmp_path, KILLS)
    assert outcome.kills >= KILLS
    assert outcome.is_exact, outcome
    assert outcome.largest_difference <= 1e-5


def test_runs_killed_in_turn_under_ray_and_without_it_end_with_exactly_the_undisturbed_rows(tmp_path):
    outcome = chaos(str(tmp_path / "root"), tmp_path, 3, seed=2, engines=("ray", "local"))
    assert sum("ray" in said for said in outcome.rounds) >= 1
    assert sum("local" in said for said in outcome.rounds) >= 1
    assert outcome.is_exact, outcome
    assert outcome.largest_difference <= 1e-5


@pytest.fixture
def failing_s3():
    with s3_server(failing=0.05) as endpoint:
        yield endpoint


def test_killed_runs_on_an_s3_that_fails_requests_end_with_exactly_the_undisturbed_rows(tmp_path, failing_s3):
    outcome = chaos(f"s3://{BUCKET}/x", tmp_path, 3, seed=1, documents=80)
    assert outcome.kills >= 3
    assert outcome.is_exact, outcome
    assert outcome.largest_difference <= 1e-5
