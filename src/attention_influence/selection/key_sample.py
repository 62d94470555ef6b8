"""Random samples of bounded size out of a stream of rows, the same in whatever order they come."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.store.row_hashes import Keys, rows_of_each


class KeySample:
    """The rows with the smallest hashes among all that were added, at most `most` of them."""

    def __init__(self, most: int, bound: int = 2**64 - 1) -> None:
        self.bound = bound
        """Only rows up to this hash are kept; it falls as rows are added."""
        self.is_full = False
        """Whether rows had to be left out."""
        self._most = most
        self._held: list[pa.Table] = []
        self._hashes: list[Keys] = []
        self._count = 0

    def add(self, rows: pa.Table, hashes: Keys) -> None:
        """Adds rows of one schema, each with the hash of its key."""
        kept = hashes <= np.uint64(self.bound)
        self._held.append(rows.filter(pa.array(kept)))
        self._hashes.append(hashes[kept])
        self._count += int(kept.sum())
        if self._count > 2 * self._most:
            self._trim()

    def rows(self) -> pa.Table:
        """By rising hash. At least one table must have been added."""
        self._trim()
        return self._held[0].take(pa.array(np.argsort(self._hashes[0], kind="stable")))

    def _trim(self) -> None:
        rows, hashes = pa.concat_tables(self._held), np.concatenate(self._hashes)
        if len(hashes) > self._most:
            self.is_full = True
            self.bound = int(np.partition(hashes, self._most - 1)[self._most - 1])
            kept = hashes <= np.uint64(self.bound)
            rows, hashes = rows.filter(pa.array(kept)), hashes[kept]
        self._held, self._hashes, self._count = [rows.combine_chunks()], [hashes], len(hashes)


class DomainSamples:
    """Such a sample of each domain, at most `most` rows of it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._samples: dict[str, KeySample] = {}

    def add(self, rows: pa.Table, hashes: Keys, counted: npt.NDArray[np.bool_] | None = None) -> None:
        """Adds rows of one schema with a column `domain`; with `counted`, only those. Domains count with none, too."""
        for name, of_domain in rows_of_each(rows["domain"]):
            which = of_domain if counted is None else of_domain & counted
            sample = self._samples.setdefault(name, KeySample(self._most))
            sample.add(rows.filter(pa.array(which)), hashes[which])

    def rows(self) -> dict[str, pa.Table]:
        """Domain → its rows by rising hash, the domains by name."""
        return {name: self._samples[name].rows() for name in sorted(self._samples)}
