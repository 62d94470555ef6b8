"""The chosen rows with their ranks, by source and row; they lie on disk, so their number is bounded by disk alone."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.errors import StoreError
from attention_influence.scoring.score_store import ScoreStore
from attention_influence.selection.candidates import Candidates, find_candidates
from attention_influence.selection.choice import AtThresholds, Budgeted
from attention_influence.selection.cuts import Cuts, cut
from attention_influence.selection.frozen import FrozenThresholds
from attention_influence.selection.groups import Numbers
from attention_influence.selection.passes import in_threads
from attention_influence.selection.ranking import Ranking
from attention_influence.selection.record_files import Records, append, parted
from attention_influence.selection.rows_by_key import RowsByKey
from attention_influence.selection.rule import Rule
from attention_influence.selection.tally import take_tally
from attention_influence.selection.thresholds import Threshold, thresholds

# Candidates that get their ranks at a time.
_BLOCK_ROWS = 1 << 20
_PLACED = np.dtype([("place", "<u8"), ("rank", "<i8")])


@dataclass(frozen=True)
class ChosenRows:
    """The chosen rows on local disk, while `rank_chosen` is open."""

    cuts: Cuts
    thresholds: tuple[Threshold, ...]
    sources: tuple[str, ...]
    """Those that have chosen rows, by name."""
    rows: RowsByKey

    def batches(self) -> Iterator[pa.RecordBatch]:
        """source, row, domain, n_tokens, influence, value and rank (1 = first in its domain), by source and row; source
        and domain as dictionaries.

        Raises StoreError when a (source, row) comes twice.
        """
        names = np.array(self.rows.names, dtype=object)
        domains = np.array([group.domain for group in self.cuts.groups.all], dtype=object)
        last: tuple[str, int] | None = None
        for rows in self.rows.in_order():
            sources = _encoded(rows["source"], names)
            same = rows["source"][1:] == rows["source"][:-1]
            doubled = np.flatnonzero(same & (rows["row"][1:] == rows["row"][:-1]))
            if last == (sources[0].as_py(), rows["row"][0]) or len(doubled):
                at = int(doubled[0]) if len(doubled) else 0
                raise StoreError(
                    f"{sources[at].as_py()}, row {rows['row'][at]:,}: scored in two units of the store, "
                    "so the counts cannot be trusted. Score into a new folder."
                )
            last = (sources[-1].as_py(), int(rows["row"][-1]))
            columns = {"source": sources, "row": rows["row"], "domain": _encoded(rows["group"], domains)}
            columns |= {name: rows[name] for name in ("n_tokens", "influence", "value", "rank")}
            yield pa.RecordBatch.from_pydict(
                {
                    name: pa.array(np.ascontiguousarray(column)) if isinstance(column, np.ndarray) else column
                    for name, column in columns.items()
                }
            )


@contextmanager
def rank_chosen(
    store: ScoreStore,
    rule: Rule,
    order: Ranking,
    *,
    shown: Ranking | None = None,
    frozen: FrozenThresholds | None = None,
) -> Iterator[ChosenRows]:
    """What a rule, or frozen thresholds, choose of a store; in the system's temporary folder until the block ends.

    `order` ranks the rows; `shown`, by default the same, gives their value. Raises StoreError when no document is
    ranked, UsageError when the rule's limits cannot be held.
    """
    with tempfile.TemporaryDirectory(prefix="attention-influence-") as name:
        folder = Path(name)
        tally = take_tally(store, order, rule.strata == "length")
        choice = Budgeted(tally, rule) if frozen is None else AtThresholds(tally, order, frozen)
        candidates, by_rank = find_candidates(store, order, shown or order, tally, choice.lowest, folder)

        def keep(records: Records, ranks: Numbers) -> None:
            placed = np.empty(len(records), _PLACED)
            placed["place"], placed["rank"] = records["place"], ranks
            for block, part in parted(placed, (records["place"] // _BLOCK_ROWS).astype(np.int64)):
                append(folder / f"ranks-{block}", part)

        cuts = cut(by_rank, tally.groups, order, choice.chooses(by_rank), keep)
        rows = _with_ranks(candidates, folder)
        found = thresholds(tally, cuts, candidates, drawn=rule.temperature is not None)
        yield ChosenRows(cuts, found, rows.sources, rows)


def _with_ranks(candidates: Candidates, folder: Path) -> RowsByKey:
    """The chosen ones among the candidates."""
    rows = RowsByKey(folder / "chosen", np.dtype([*candidates.dtype.descr, ("rank", "<i8")]), candidates.sources)

    def of_block(number: int) -> Records:
        path = folder / f"ranks-{number}"
        placed = np.fromfile(path, dtype=_PLACED) if path.exists() else np.empty(0, _PLACED)
        placed = placed[np.argsort(placed["place"])]
        first = number * _BLOCK_ROWS
        block = candidates.read(first, _BLOCK_ROWS)[placed["place"].astype(np.int64) - first]
        chosen = np.empty(len(block), rows.dtype)
        for field in candidates.dtype.fields or ():
            chosen[field] = block[field]
        chosen["rank"] = placed["rank"]
        return chosen

    for chosen in in_threads(of_block, range(-(-candidates.count // _BLOCK_ROWS))):
        rows.add(chosen)
    return rows


def _encoded(numbers: npt.NDArray[Any], names: npt.NDArray[np.object_]) -> pa.DictionaryArray:
    used, indices = np.unique(numbers, return_inverse=True)
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int32)), pa.array(names[used], pa.string()))
