"""The thresholds of an earlier selection, applied to a store of other documents."""

import json
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from attention_influence.corpus.filesystems import open_bytes, open_filesystem
from attention_influence.errors import StoreError, UsageError
from attention_influence.scoring.score_store import ScoreStore
from attention_influence.selection.publish import DONE_MARK
from attention_influence.selection.ranking import Ranking, is_ensemble

# What the columns are called in an input has no part in a score.
_NO_PART_IN_SCORES = {"columns"}
_OF_ONE_STORE = {
    "controlled": "its models were fitted to that selection's store and are not kept",
    "unigram_surprisal": "it is measured against the other documents of a unit",
}


class FrozenCut(NamedTuple):
    """The last document that is chosen, by the ranking's key, tie hash and bucket of values."""

    key: int
    tie_hash: int
    bucket: int


@dataclass(frozen=True)
class FrozenThresholds:
    """What an earlier selection recorded: its ranking and where it cut each domain."""

    url: str
    rank_by: str
    seed: int
    fingerprint: dict[str, Any] | None
    by_domain: dict[str, tuple[float | int, int] | None]
    """Domain → value and tie hash of the last document chosen; None where none was."""

    def check(self, store: ScoreStore) -> None:
        """Raises StoreError, with the reason, when values in this store are not comparable with the thresholds."""
        column = self.rank_by.removeprefix("-")
        if reason := _OF_ONE_STORE.get(column):
            raise StoreError(f"{self.url}: ranked by {column}, which means nothing in another store: {reason}.")
        if is_ensemble(self.rank_by):
            raise StoreError(
                f"{self.url}: ranked by the ensemble {self.rank_by!r}, whose percentiles are those of its own store."
            )
        if column in store.side:
            raise StoreError(
                f"{self.url}: ranked by the added column {column!r}, and a selection does not record what made it. "
                "Select by a share, or by a column that `score` writes."
            )
        theirs, ours = self.fingerprint, store.run.get("fingerprint")
        if not theirs or not ours:
            raise StoreError(f"{store.url if theirs else self.url}: no fingerprint, so scores cannot be compared.")
        for field in sorted({*theirs, *ours} - _NO_PART_IN_SCORES):
            if theirs.get(field) != ours.get(field):
                raise StoreError(
                    f"{store.url} was scored with another {field} than the thresholds of {self.url} "
                    f"({ours.get(field)!r}, there {theirs.get(field)!r}). Score it with the same."
                )

    def cut(self, domain: str, ranking: Ranking) -> FrozenCut | None:
        """Where a domain was cut; None where nothing was chosen."""
        threshold = self.by_domain.get(domain)
        if threshold is None:
            return None
        value, tie_hash = threshold
        try:
            values = pa.array([value], ranking.type)
        except (pa.ArrowException, OverflowError):
            values = pa.nulls(1, ranking.type)
        if values[0].as_py() != value:
            raise StoreError(f"{self.url}: the threshold {value} is no {ranking.type}, as {ranking.column} is here.")
        return FrozenCut(int(ranking.keys(values)[0]), tie_hash, int(ranking.buckets(values)[0]))


def read_frozen(path: str | os.PathLike[str]) -> FrozenThresholds:
    """The thresholds of a selection, given its folder or its selection.json.

    Raises UsageError when there is none, or when it was itself made with frozen thresholds.
    """
    url = os.fspath(path)
    url = url if url.endswith(".json") else f"{url.rstrip('/')}/{DONE_MARK}"
    filesystem, inside = open_filesystem(url)
    try:
        with open_bytes(filesystem, inside) as file:
            record = json.loads(file.read())
        if source := record["rule"].get("apply"):
            raise UsageError(f"--apply {url}: it was itself made with --apply {source}. Apply that one.")
        for option in ("strata", "temperature"):
            if record["rule"].get(option) is not None:
                raise UsageError(f"--apply {url}: it was made with --{option}, so it has no threshold of a domain.")
        return FrozenThresholds(
            url=url,
            rank_by=record["ranking"]["name"],
            seed=record["ranking"].get("seed", 0),
            fingerprint=record["fingerprint"],
            by_domain={
                of_domain["domain"]: None
                if of_domain["threshold"] is None
                else (of_domain["threshold"], int(of_domain["tie_hash"], 16))
                for of_domain in record["thresholds"]
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"--apply {url}: not the record of a selection ({error}). Give the folder that `select --out` made."
        ) from error
