"""Exact percentiles of documents within their domain: sorted on disk, in memory that does not grow with the rows."""

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.storage.disk_tables import disk_tables, fill
from attention_influence.storage.temporary_folders import temporary_room
from attention_influence.store.row_hashes import Keys, rows_of_each

Array = npt.NDArray[np.float64]

Number = TypeVar("Number", bound=np.generic)

_AT_A_TIME = 1 << 16


@dataclass(frozen=True)
class Percentiles:
    """Of one order of documents: the distinct keys of each domain, ascending, on disk, and the percentile of each."""

    spans: dict[str, tuple[int, int]]
    """Domain → where its keys lie."""
    keys: Keys
    shares: Array

    def of(self, domains: pa.Array, keys: Keys) -> Array:
        """The share of its domain that lies below each document, plus half the share that equals it, in (0, 1).

        Only for documents that `percentiles` was given.
        """
        shares = np.zeros(len(keys))
        for name, of_domain in rows_of_each(domains):
            start, end = self.spans[name]
            shares[of_domain] = self.shares[start + np.searchsorted(self.keys[start:end], keys[of_domain])]
        return shares


def percentiles(documents: Iterable[tuple[pa.Array, Sequence[Keys]]], orders: int) -> list[Percentiles]:
    """The percentiles of each of several orders; `documents`: domains, and the keys that rise with each order, in lots.

    They lie in the system's temporary folder (TMPDIR) for as long as they are held.
    """
    names = [f"key_{order}" for order in range(orders)]
    schema = pa.schema([("domain", pa.string()), *((name, pa.uint64()) for name in names)])
    with disk_tables() as database:
        lots = (pa.table([domains, *map(pa.array, keys)], schema=schema) for domains, keys in documents)
        fill(database, "documents", schema, lots)
        return [
            _read(
                database.sql(
                    f"""SELECT domain, key,
                    (2 * sum(n) OVER (PARTITION BY domain ORDER BY key) - n)::DOUBLE
                    / (2 * sum(n) OVER (PARTITION BY domain))::DOUBLE AS share
                    FROM (SELECT domain, {name} AS key, count(*) AS n FROM documents GROUP BY ALL)
                    ORDER BY domain, key"""
                ).to_arrow_reader(_AT_A_TIME)
            )
            for name in names
        ]


def _read(sorted_keys: pa.RecordBatchReader) -> Percentiles:
    spans: dict[str, tuple[int, int]] = {}
    count = 0
    with temporary_room(), tempfile.TemporaryFile() as keys, tempfile.TemporaryFile() as shares:
        for batch in sorted_keys:
            keys.write(batch.column("key").to_numpy().tobytes())
            shares.write(batch.column("share").to_numpy().tobytes())
            for run in batch.column("domain").value_counts().to_pylist():
                start, end = spans.get(run["values"], (count, count))
                count += run["counts"]
                spans[run["values"]] = (start, end + run["counts"])
        return Percentiles(
            spans, _mapped(keys, np.dtype(np.uint64), count), _mapped(shares, np.dtype(np.float64), count)
        )


def _mapped(file: BinaryIO, kind: np.dtype[Number], count: int) -> npt.NDArray[Number]:
    """What was written, as pages that memory may drop; the file is gone once nothing holds them."""
    file.flush()
    return np.memmap(file, kind, "r", shape=(count,)) if count else np.zeros(0, kind)
