"""The real model and texts, fetched once for all tests that need them."""

import pytest

from attention_influence.demo import Assets, fetch


@pytest.fixture(scope="session")
def assets() -> Assets:
    return fetch()
