"""What a selection decided, as its selection.json says."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_influence.errors import CorpusError


@dataclass(frozen=True)
class Cut:
    """One domain's share of a selection."""

    threshold: float | None
    """The lowest chosen influence; None where nothing was chosen, or the ranking went by something else."""
    chosen: int
    tokens_chosen: int


@dataclass(frozen=True)
class Selected:
    """The cuts by domain; `rank_by` names the column that decided."""

    cuts: Mapping[str, Cut]
    rank_by: str


def read_selection(path: Path) -> Selected:
    """The cuts in a selection.json, or in the selection.json of a folder. Raises CorpusError when it is none."""
    path = path / "selection.json" if path.is_dir() else path
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rank_by = str((record.get("rule") or record).get("rank_by", "influence"))
        cuts = {str(entry["domain"]): _cut(entry, rank_by) for entry in record["thresholds"]}
    except OSError as error:
        raise CorpusError(f"{path} cannot be read ({error}); write it with `attention-influence select`") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorpusError(
            f"{path} is not what `attention-influence select` writes: {type(error).__name__} {error}; select again"
        ) from error
    return Selected(cuts, rank_by)


def _cut(entry: Mapping[str, Any], rank_by: str) -> Cut:
    lowest = entry["threshold"]
    threshold = float(lowest) if rank_by == "influence" and lowest is not None else None
    return Cut(threshold, entry["chosen"], entry["tokens_chosen"])
