"""Which part of the plan is this process's own, when several are started for one store."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from attention_influence.errors import UsageError

Unit = TypeVar("Unit")


def own_units(units: Sequence[Unit], shard: str | None, environment: Mapping[str, str] = os.environ) -> list[Unit]:
    """Every n-th unit from the i-th on, for `shard` = "i/n" with i from 0; by default from Slurm's array variables.

    The others are stolen when these are done. Raises UsageError.
    """
    index, count = _parse(shard) if shard is not None else _from_slurm(environment)
    return [*units[index::count]]


def _parse(shard: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)/(\d+)", shard)
    if match is None or not int(match[1]) < int(match[2]):
        raise UsageError(f"--shard {shard}: write i/n with i from 0 to n − 1, such as 0/8")
    return int(match[1]), int(match[2])


def _from_slurm(environment: Mapping[str, str]) -> tuple[int, int]:
    try:
        first = int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
        step = int(environment.get("SLURM_ARRAY_TASK_STEP", "1"))
        count = int(environment["SLURM_ARRAY_TASK_COUNT"])
        index = (int(environment["SLURM_ARRAY_TASK_ID"]) - first) // max(step, 1)
    except (KeyError, ValueError):
        return 0, 1
    return (index % count, count) if count > 0 else (0, 1)
