"""The Ray cluster that work is given to, for as long as it lasts."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attention_influence.errors import UsageError
from attention_influence.progress import stage

# For a connection to a cluster's port (seconds). Ray itself tries for a quarter of an hour where nobody answers.
_ANSWERS_WITHIN = 5.0


@contextmanager
def ray_cluster(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at `address` until the block ends.

    `address` None: that in RAY_ADDRESS, or a cluster on this machine that answers, or a new one here. Raises UsageError
    when Ray is not installed or there is no such cluster.
    """
    try:
        import ray
    except ImportError:
        raise UsageError("--engine ray needs Ray: pip install 'attention-influence[ray]'") from None
    address = _answering(address)
    try:
        with stage("starting Ray" if address in (None, "local") else f"connecting to Ray at {address}"):
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UsageError(f"no Ray cluster at --address {address}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _answering(address: str | None) -> str | None:
    """What to give to Ray for `address`: that of a cluster that answers, or what makes it start one.

    A cluster that was killed on this machine is still written down here as the current one: instead of it, a new one is
    started. Raises UsageError when nobody answers at an address that the user gave.
    """
    from ray._private.services import find_bootstrap_address  # the only way to know which cluster Ray takes

    is_any = address in (None, "auto")
    given = os.environ.get("RAY_ADDRESS") if is_any else address
    found = given or find_bootstrap_address(None)
    where = "--address" if not is_any else "RAY_ADDRESS" if given else "the last one here"
    if found is None or found in ("auto", "local"):
        return found or address
    host, _, port = found.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _ANSWERS_WITHIN).close()
    except (OSError, ValueError, OverflowError) as error:
        if not given and address is None:
            return "local"
        raise UsageError(
            f"no Ray cluster at {found} ({where}): {error}. Give the address of its head, such as 10.0.0.1:6379, or "
            "--address local for a new cluster"
        ) from error
    return found
