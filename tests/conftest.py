"""Settings that hold for every test; lies here so that `tiny_models` is importable everywhere."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")


@pytest.fixture(autouse=True, scope="module")
def one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tiny products are slower on several threads than on one; real models keep them all."""
    before = torch.get_num_threads()
    if "e2e" not in request.path.parts:
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
