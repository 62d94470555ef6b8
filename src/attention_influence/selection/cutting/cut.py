"""Where a ranking is cut in each domain, and whether a row is inside."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.selection.ranking.ranking import Ranking
from attention_influence.store.row_hashes import Keys, coded, tie_hashes

Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Cut:
    """The last document that is chosen of each domain; all that come before it are inside, and no other."""

    ranking: Ranking
    last: Mapping[str, tuple[int, int]]
    """Domain → the key of its last document, by the ranking, and its tie hash; no entry where none is chosen."""

    def inside(self, batch: pa.RecordBatch, values: pa.Array | None = None) -> npt.NDArray[np.bool_]:
        """Which rows of a batch of the store are chosen; `values` are the ranking's, computed here when not given."""
        values = self.ranking.values(batch) if values is None else values
        names, codes = coded(batch.column("domain"))

        def hashes(at: Places) -> Keys:
            tied = batch.select(["source", "row"]).take(pa.array(at))
            return tie_hashes(tied.column("source"), tied.column("row").to_numpy())

        return self.inside_keys(names, codes, self.ranking.keys(values), hashes) & self.ranking.ranked(batch, values)

    def inside_keys(
        self, domains: Sequence[str], domain: npt.NDArray[np.integer], keys: Keys, hashes: Callable[[Places], Keys]
    ) -> npt.NDArray[np.bool_]:
        """The same of ranked documents: `domain` [documents] counts in `domains`, `keys` [documents] are the ranking's.

        `hashes` gives the tie hashes of the documents at some places; it is asked only where keys equal the last one's.
        """
        ends = [self.last.get(name) for name in domains]
        some = np.array([end is not None for end in ends], dtype=np.bool_)
        last_key = np.array([end[0] if end else 0 for end in ends], dtype=np.uint64)[domain]
        last_hash: Keys = np.array([end[1] if end else 0 for end in ends], dtype=np.uint64)
        inside: npt.NDArray[np.bool_] = some[domain] & (keys >= last_key)
        level = np.flatnonzero(inside & (keys == last_key))
        inside[level] = hashes(level) <= last_hash[domain[level]]
        return inside
