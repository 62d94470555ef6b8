"""The rows that may be chosen, on disk: those at or above the bucket in which their group's budget runs out."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from attention_influence.scoring.score_store import ScoreStore
from attention_influence.selection.groups import Numbers
from attention_influence.selection.passes import over_units
from attention_influence.selection.rank_order import RECORD, RankOrder
from attention_influence.selection.ranking import Ranking
from attention_influence.selection.ranking_key import tie_hashes
from attention_influence.selection.record_files import Records, append, read
from attention_influence.selection.tally import Tally, tokens_of


class Candidates:
    """The candidates in the store's order, each named by its place."""

    def __init__(self, path: Path, shown: Ranking) -> None:
        self.dtype = np.dtype(
            [
                ("source", "<u4"),
                ("row", "<i8"),
                ("group", "<u4"),
                ("n_tokens", "<i8"),
                ("influence", "<f4"),
                ("value", np.dtype(shown.type.to_pandas_dtype())),
            ]
        )
        self.sources: list[str] = []
        """Names of the sources, by number."""
        self.count = 0
        self._path = path
        self._numbers: dict[str, int] = {}

    def add(self, rows: Records, names: list[str]) -> None:
        """Adds the rows of a unit, whose `source` counts in `names`."""
        for name in names:
            if self._numbers.setdefault(name, len(self.sources)) == len(self.sources):
                self.sources.append(name)
        rows["source"] = np.array([self._numbers[name] for name in names], dtype=np.uint32)[rows["source"]]
        append(self._path, rows)
        self.count += len(rows)

    def read(self, first: int, count: int) -> Records:
        """So many candidates from that place on."""
        return read(self._path, self.dtype, first, count)


def find_candidates(
    store: ScoreStore, order: Ranking, shown: Ranking, tally: Tally, lowest: Numbers, folder: Path
) -> tuple[Candidates, RankOrder]:
    """The rows whose place in the histogram is at most their group's `lowest`, and their records by rank.

    `order` ranks them; `shown` gives the value that is kept with them.
    """
    documents, _ = tally.histogram.falling(len(lowest))
    inside = np.arange(documents.shape[1]) <= lowest[:, None]
    by_rank = RankOrder(folder, np.where(inside, documents, 0))
    candidates = Candidates(folder / "candidates", shown)

    def of_unit(batches: Iterator[pa.RecordBatch]) -> tuple[Records, list[str], Records, Numbers]:
        names: dict[str, int] = {}
        parts = [_of_batch(batch, order, shown, tally, lowest, by_rank, candidates.dtype, names) for batch in batches]
        empty = (np.zeros(0, candidates.dtype), np.zeros(0, RECORD), np.zeros(0, np.int64))
        rows, records, pieces = (np.concatenate(part) for part in zip(empty, *parts, strict=True))
        return rows, list(names), records, pieces

    columns = ["source", "row", "domain", "n_tokens", "influence", *order.columns, *shown.columns]
    for rows, names, records, pieces in over_units(store, columns, of_unit):
        records["place"] = np.arange(candidates.count, candidates.count + len(records), dtype=np.uint64)
        candidates.add(rows, names)
        by_rank.write(records, pieces)
    return candidates, by_rank


def _of_batch(
    batch: pa.RecordBatch,
    order: Ranking,
    shown: Ranking,
    tally: Tally,
    lowest: Numbers,
    by_rank: RankOrder,
    dtype: np.dtype[np.void],
    names: dict[str, int],
) -> tuple[Records, Records, Numbers]:
    values = order.values(batch)
    groups = tally.groups.of(batch.column("domain"), tokens_of(batch))
    places = tally.histogram.places(order.buckets(values))
    near = order.ranked(batch, values) & (places <= lowest[groups])
    mask = pa.array(near)
    batch, values, groups, places = batch.filter(mask), values.filter(mask), groups[near], places[near]
    encoded = batch.column("source").dictionary_encode()
    numbers = np.array([names.setdefault(name, len(names)) for name in encoded.dictionary.to_pylist()], np.uint32)
    row = batch.column("row").to_numpy()
    rows = np.empty(len(row), dtype)
    rows["source"] = numbers[encoded.indices.to_numpy()]
    rows["row"], rows["group"], rows["n_tokens"] = row, groups, tokens_of(batch)
    rows["influence"] = batch.column("influence").to_numpy()
    rows["value"] = shown.values(batch).to_numpy(zero_copy_only=False)
    records = np.empty(len(row), RECORD)
    records["group"], records["falling"], records["tokens"] = groups, ~order.keys(values), rows["n_tokens"]
    records["hash"] = tie_hashes(batch.column("source"), row)
    return rows, records, by_rank.pieces_of(groups, places)
