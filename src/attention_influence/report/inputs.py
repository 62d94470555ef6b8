"""The JSON files of stability, validate, judge and experiment, as the report takes them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attention_influence.errors import CorpusError
from attention_influence.storage.errors import refused
from attention_influence.storage.filesystems import read_file


def read_stability(path: str) -> Mapping[str, Any]:
    """What `stability` wrote. Raises CorpusError for anything else."""
    return _read(path, "stability", ("reference", "variations", "certainty"))


def read_validity(path: str) -> Mapping[str, Any]:
    """What `validate` wrote. Raises CorpusError for anything else."""
    return _read(path, "validate", ("conditions", "tasks", "warnings"))


def read_judged(path: str) -> Mapping[str, Any]:
    """What `judge` wrote. Raises CorpusError for anything else."""
    return _read(path, "judge", ("judge", "rankings", "shares", "by_length", "by_order"))


def read_experiment(path: str) -> Mapping[str, Any]:
    """What `experiment` wrote. Raises CorpusError for anything else."""
    return _read(path, "experiment", ("arms", "seeds", "whole", "missing", "means", "differences", "curves", "notes"))


def _read(path: str, subcommand: str, needed: Sequence[str]) -> Mapping[str, Any]:
    try:
        record = json.loads(read_file(path))
    except (OSError, ValueError) as error:
        raise refused(f"read {path}", error) or CorpusError(
            f"{path} cannot be read ({error}); write it with `attention-influence {subcommand}`"
        ) from error
    if not isinstance(record, dict) or (missing := [name for name in needed if name not in record]):
        lacks = f"no {missing[0]!r}" if isinstance(record, dict) else "not an object"
        raise CorpusError(f"{path} is not what `attention-influence {subcommand}` writes ({lacks}); write it again")
    return record
