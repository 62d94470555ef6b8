"""Which cluster of Ray is taken, and what is said where nobody answers."""

import socket
from pathlib import Path

import pytest

from attention_influence.errors import UsageError
from attention_influence.runs.ray_cluster import ray_cluster

pytest.importorskip("ray")


@pytest.fixture
def dead() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_at_which_nobody_answers_is_refused_at_once(dead: str, scheme: str) -> None:
    with pytest.raises(UsageError, match=rf"at {scheme}{dead} \(--address\): .*refused.*--address local"):
        ray_cluster(scheme + dead).__enter__()


def test_that_of_the_environment_is_named_as_such(dead: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", dead)
    with pytest.raises(UsageError, match=rf"{dead} \(RAY_ADDRESS\)"):
        ray_cluster(None).__enter__()


@pytest.mark.parametrize("wrong", ["10.0.0.1", "host:port", "127.0.0.1:99999"])
def test_what_is_no_address_is_said(wrong: str) -> None:
    with pytest.raises(UsageError, match=f"no Ray cluster at {wrong}.*such as 10.0.0.1:6379"):
        ray_cluster(wrong).__enter__()


def test_auto_means_a_cluster_that_runs(dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(dead)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(UsageError, match=rf"{dead} \(the last one here\)"):
        ray_cluster("auto").__enter__()
