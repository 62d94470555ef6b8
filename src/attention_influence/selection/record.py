"""selection.json: what a selection decided of each domain. Written here, and read here alone."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from attention_influence.errors import CorpusError, StoreError, UsageError
from attention_influence.selection.cutting.cut import Cut
from attention_influence.selection.output.staging import DONE_MARK
from attention_influence.selection.ranking.ranking import Ranking, is_ensemble
from attention_influence.storage.errors import refused
from attention_influence.storage.filesystems import open_filesystem
from attention_influence.store.reader import ScoreStore
from attention_influence.store.run import differing_fields

# What the columns are called in an input has no part in a document's score, nor has how it is cut into steps.
_NO_PART_IN_SCORES = {"columns", "steps"}
_OF_ONE_STORE = {
    "controlled": "its models were fitted to that selection's store and are not kept",
    "unigram_surprisal": "it is measured against other documents of its own run",
}
_ALL_ONES = 2**64 - 1


@dataclass(frozen=True)
class Threshold:
    """One domain's share in a selection.

    A ranked document is chosen when its value comes before `value` (is above it; for a ranking with the lowest first,
    below), or equals it and its tie hash is at most `tie_hash`.
    """

    domain: str
    value: float | int | None
    """The ranking's value of the last chosen document; None when none is, or documents were drawn."""
    tie_hash: int | None
    documents: int
    ranked: int
    """Documents whose scores are finite; the others are never chosen."""
    unranked: Mapping[str, int]
    """Reason → documents."""
    chosen: int
    tokens: int
    """Tokens of the ranked documents."""
    tokens_chosen: int

    def to_json(self) -> dict[str, Any]:
        record = {"threshold" if name == "value" else name: value for name, value in vars(self).items()}
        # As text: many readers of JSON round integers beyond 53 bits.
        record["tie_hash"] = None if self.tie_hash is None else f"{self.tie_hash:016x}"
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Threshold":
        """Of a record that may come from elsewhere: only its threshold and what was chosen are needed."""
        return cls(
            domain=record["domain"],
            value=record["threshold"],
            tie_hash=_ALL_ONES if record.get("tie_hash") is None else int(record["tie_hash"], 16),
            documents=record.get("documents", 0),
            ranked=record.get("ranked", 0),
            unranked=record.get("unranked", {}),
            chosen=record["chosen"],
            tokens=record.get("tokens", 0),
            tokens_chosen=record["tokens_chosen"],
        )


@dataclass(frozen=True)
class SelectionRecord:
    """An earlier selection: its ranking, its rule, and where it cut each domain."""

    url: str
    rank_by: str
    seed: int
    thresholds: Mapping[str, Threshold]
    """By domain."""
    content: Mapping[str, Any]
    """The file as it is."""

    @property
    def undecided(self) -> list[str]:
        """Domains of which documents were chosen, and no threshold says which: they were drawn."""
        return sorted(name for name, at in self.thresholds.items() if at.chosen and at.value is None)

    def influence_threshold(self, domain: str) -> float | None:
        """The lowest chosen influence; None where nothing was chosen, or the ranking went by something else."""
        at = self.thresholds.get(domain)
        return float(at.value) if at and at.value is not None and self.rank_by == "influence" else None

    def cut(self, ranking: Ranking) -> Cut:
        """Its cut of any store by this ranking. Raises StoreError for a value that the ranking's type does not hold."""
        values = self._values(ranking)
        keys = ranking.keys(pa.array(list(values.values()), ranking.type)).tolist()
        hashes = (self.thresholds[name].tie_hash for name in values)
        return Cut(ranking, {name: (key, hash_ or 0) for name, key, hash_ in zip(values, keys, hashes, strict=True)})

    def buckets(self, ranking: Ranking) -> dict[str, int]:
        """Domain → the bucket of the ranking's values in which its threshold lies, where there is one."""
        values = self._values(ranking)
        buckets = ranking.buckets(pa.array(list(values.values()), ranking.type)).tolist()
        return dict(zip(values, buckets, strict=True))

    def check_applies(self, store: ScoreStore) -> None:
        """Raises UsageError when it has no thresholds to apply, StoreError, with the reason, when values in this store
        are not comparable with them.
        """
        rule = self.content.get("rule") or {}
        if source := rule.get("apply"):
            raise UsageError(f"--apply {self.url}: it was itself made with --apply {source}. Apply that one.")
        if rule.get("temperature") is not None:
            raise UsageError(f"--apply {self.url}: it was made with --temperature, so it has no threshold of a domain.")
        column = self.rank_by.removeprefix("-")
        if reason := _OF_ONE_STORE.get(column):
            raise StoreError(f"{self.url}: ranked by {column}, which means nothing in another store: {reason}.")
        if is_ensemble(self.rank_by):
            raise StoreError(
                f"{self.url}: ranked by the ensemble {self.rank_by!r}, whose percentiles are those of its own store."
            )
        if column in store.added:
            raise StoreError(
                f"{self.url}: ranked by the added column {column!r}, and a selection does not record what made it. "
                "Select by a share, or by a column that `score` writes."
            )
        recorded, current = self.content.get("fingerprint"), store.run.get("fingerprint")
        if not recorded or not current:
            raise StoreError(f"{store.url if recorded else self.url}: no fingerprint, so scores cannot be compared.")
        for name in sorted({*differing_fields(recorded, current)} - _NO_PART_IN_SCORES):
            raise StoreError(
                f"{store.url} was scored with another {name} than the thresholds of {self.url} "
                f"({current.get(name)!r}, there {recorded.get(name)!r}). Score it with the same."
            )

    def _values(self, ranking: Ranking) -> dict[str, float | int]:
        values = {name: at.value for name, at in self.thresholds.items() if at.value is not None}
        for value in values.values():
            try:
                same = pa.scalar(value, ranking.type).as_py() == value
            except (pa.ArrowException, OverflowError):
                same = False
            if not same:
                raise StoreError(
                    f"{self.url}: the threshold {value} is no {ranking.type}, as {ranking.column} is here."
                )
        return values


def read_selection(path: str | os.PathLike[str]) -> SelectionRecord:
    """The record of a selection, given its folder or its selection.json, by path or URL.

    Raises UsageError when there is none, CorpusError when the file is something else.
    """
    url = os.fspath(path)
    url = url if url.endswith(".json") else f"{url.rstrip('/')}/{DONE_MARK}"
    filesystem, inside = open_filesystem(url)
    try:
        content: dict[str, Any] = json.loads(filesystem.cat_file(inside))
        ranking = content.get("ranking") or {}
        rank_by = ranking.get("name") or (content.get("rule") or content).get("rank_by") or "influence"
        seed = int(ranking.get("seed", 0))
        thresholds = [Threshold.from_json(record) for record in content["thresholds"]]
    except OSError as error:
        raise refused(f"read {url}", error) or UsageError(
            f"{url}: not the record of a selection ({error}). Give the folder that `attention-influence select --out` "
            "made."
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorpusError(
            f"{url} is not what `attention-influence select` writes ({type(error).__name__}: {error}). Select again."
        ) from error
    return SelectionRecord(url, rank_by, seed, {at.domain: at for at in thresholds}, content)
