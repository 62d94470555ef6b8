"""Settings that hold for every test; lies here so that `tiny_models` is importable everywhere."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

if not Path("/dev/nvidiactl").exists():  # Triton is imported by torch, and looks once
    os.environ.setdefault("TRITON_INTERPRET", "1")
os.environ.setdefault("RAY_worker_niceness", "0")  # by default, Ray's workers let all other tests go first
if "PYTEST_XDIST_WORKER" in os.environ:  # more threads than cores wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="module")
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tiny products are slower on several threads than on one; real models keep what there are."""
    before = torch.get_num_threads()
    if "e2e" not in request.path.parts:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
