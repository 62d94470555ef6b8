"""The Ray cluster that work is given to, for as long as it lasts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attention_influence.errors import UsageError
from attention_influence.progress import stage


@contextmanager
def ray_cluster(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at `address` until the block ends.

    `address` None: that in RAY_ADDRESS, or a cluster on this machine, or a new one here. Raises UsageError when Ray is
    not installed or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'attention-influence[ray]'") from None
    try:
        with stage("starting Ray" if address is None else f"connecting to Ray at {address}"):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(f"no Ray cluster at --address {address}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()
