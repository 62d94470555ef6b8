"""What a selection decided, as its selection.json says, and which rows of a store it kept."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.corpus.filesystems import open_filesystem
from attention_influence.errors import CorpusError
from attention_influence.selection.publish import DONE_MARK
from attention_influence.selection.ranking import Ranking
from attention_influence.selection.ranking_key import Keys

_ALL_ONES = 2**64 - 1


@dataclass(frozen=True)
class Cut:
    """One domain's share of a selection."""

    threshold: float | None
    """The lowest chosen influence; None where nothing was chosen, or the ranking went by something else."""
    chosen: int
    tokens_chosen: int
    value: float | int | None = None
    """The ranking's value of the last chosen document; None where nothing was chosen."""
    tie_hash: int = _ALL_ONES
    """The largest tie hash of a chosen document of exactly that value."""


@dataclass(frozen=True)
class Selected:
    """The cuts by domain; `rank_by` names the column that decided."""

    cuts: Mapping[str, Cut]
    rank_by: str
    record: Mapping[str, Any] = field(default_factory=dict)
    """selection.json as it is."""

    @property
    def seed(self) -> int:
        return int((self.record.get("ranking") or {}).get("seed", 0))

    @property
    def undecided(self) -> list[str]:
        """Domains of which documents were chosen, and no threshold says which: drawn, or by length bins."""
        return sorted(name for name, cut in self.cuts.items() if cut.chosen and cut.value is None)

    def kept(
        self, ranking: Ranking, values: pa.Array, domains: pa.Array, hashes: Keys, ranked: npt.NDArray[np.bool_]
    ) -> npt.NDArray[np.bool_]:
        """Which rows were chosen, given the ranking's values of theirs, their tie hashes and which are `ranked`."""
        names = domains.dictionary_encode()
        cuts = [self.cuts.get(name) for name in names.dictionary.to_pylist()]
        values_at = [cut.value if cut else None for cut in cuts]
        floor = ranking.keys(pa.array(values_at, ranking.type))
        last = np.array([cut.tie_hash if cut else 0 for cut in cuts], dtype=np.uint64)
        some = np.array([value is not None for value in values_at], dtype=np.bool_)
        codes, keys = names.indices.to_numpy(), ranking.keys(values)
        level = (keys == floor[codes]) & (hashes <= last[codes])
        return np.asarray(ranked & some[codes] & ((keys > floor[codes]) | level), dtype=np.bool_)


def read_selection(path: str | os.PathLike[str]) -> Selected:
    """The cuts in a selection.json, or in that of a folder, by path or URL. Raises CorpusError when it is none."""
    url = os.fspath(path)
    url = url if url.endswith(".json") else f"{url.rstrip('/')}/{DONE_MARK}"
    filesystem, inside = open_filesystem(url)
    try:
        record: dict[str, Any] = json.loads(filesystem.cat_file(inside))
        rank_by = str((record.get("rule") or record).get("rank_by", "influence"))
        cuts = {str(entry["domain"]): _cut(entry, rank_by) for entry in record["thresholds"]}
    except OSError as error:
        raise CorpusError(f"{url} cannot be read ({error}); write it with `attention-influence select`") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorpusError(
            f"{url} is not what `attention-influence select` writes: {type(error).__name__} {error}; select again"
        ) from error
    return Selected(cuts, rank_by, record)


def _cut(entry: Mapping[str, Any], rank_by: str) -> Cut:
    value, tie_hash = entry["threshold"], entry.get("tie_hash")
    threshold = float(value) if rank_by == "influence" and value is not None else None
    return Cut(
        threshold,
        entry["chosen"],
        entry["tokens_chosen"],
        value,
        _ALL_ONES if tie_hash is None else int(tie_hash, 16),
    )
