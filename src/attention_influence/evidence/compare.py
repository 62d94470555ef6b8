"""How far two rankings agree, of one store or of two stores of a corpus, and what only one of them picks.

Documents are joined by key. Statistics and domains are those of the first store; rankings are compared within each
domain, among the documents that both can rank.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import rankdata

from attention_influence.errors import StoreError
from attention_influence.evidence.statistics import Overlap, in_top, overlap
from attention_influence.rank_correlation import spearman
from attention_influence.selection.key_sample import KeySample
from attention_influence.selection.ranking.ranking import Ranking
from attention_influence.store.reader import ScoreStore
from attention_influence.store.row_hashes import salted, tie_hashes

STATISTICS = ("loss_base", "n_tokens", "copy_share", "influence")
"""Columns whose means are compared."""
_SALT = "compare"


@dataclass(frozen=True)
class Picked:
    """Some documents, and the means of their statistics; None where no document has the statistic."""

    documents: int
    means: dict[str, float | None]


@dataclass(frozen=True)
class Example:
    """A document that only one of the two rankings picks."""

    source: str
    row: int
    id: str | None
    rank_a: int
    """1 is the first of the domain; equal values share their best rank."""
    rank_b: int


@dataclass(frozen=True)
class Agreement:
    """Of ranking A with one ranking B in one domain."""

    domain: str
    against: str
    documents: int
    """That both rank."""
    spearman: float | None
    top: Overlap
    both: Picked
    only_a: Picked
    only_b: Picked
    examples_a: tuple[Example, ...]
    """Of what only A picks, those that B ranks lowest in comparison."""
    examples_b: tuple[Example, ...]


@dataclass(frozen=True)
class Comparison:
    """All rankings B by domain, and what could not be compared."""

    agreements: tuple[Agreement, ...]
    documents: int
    """Joined: those that both stores have."""
    only_a: int
    """Documents that the second store lacks."""
    only_b: int
    moved: int
    """Documents whose domain differs between the stores."""
    is_sample: bool
    """Whether there were more documents than were to be compared; then all counts are of the sample."""


def compare(
    a: ScoreStore,
    ranking: Ranking,
    b: ScoreStore | None,
    against: Sequence[Ranking],
    *,
    top: float,
    examples: int,
    sample: int,
) -> Comparison:
    """`ranking` of `a` with each of `against`, rankings of `b`, or of `a` too where `b` is None.

    Of more than `sample` documents, those with the smallest hashes of their keys are compared, the same from both
    stores. Raises StoreError when a store holds a document twice, or there is no document that both rank.
    """
    taken_a = KeySample(sample)
    _gather(a, [ranking, *(against if b is None else ())], "a", taken_a)
    rows_a = taken_a.rows()
    if b is None:
        joined, only_a, only_b, is_sample = rows_a, 0, 0, taken_a.is_full
        columns_b = [f"a {number}" for number in range(1, 1 + len(against))]
    else:
        taken_b = KeySample(sample, taken_a.bound)
        _gather(b, against, "b", taken_b)
        rows_b = taken_b.rows()
        hashes = salted(rows_a["hash a"].to_numpy(), _SALT)
        rows_a = rows_a.filter(pa.array(hashes <= np.uint64(taken_b.bound)))
        joined = rows_a.join(rows_b, keys=["source", "row"], join_type="inner")
        if not len(joined):
            names = [min(rows["source"].to_pylist(), default="none") for rows in (rows_a, rows_b)]
            raise StoreError(
                f"{a.url} and {b.url} have no document in common, so there is nothing to compare. Documents are "
                f"identified by source and row; the first sources are {names[0]!r} and {names[1]!r}. A source's name "
                "begins with the folder that was scored: score the same folder, or one of the same name, with both"
            )
        only_a, only_b = len(rows_a) - len(joined), len(rows_b) - len(joined)
        is_sample = taken_a.is_full or taken_b.is_full
        columns_b = [f"b {number}" for number in range(len(against))]
    joined = joined.sort_by([("source", "ascending"), ("row", "ascending")]).combine_chunks()
    _check_unique(a, joined)
    moved = 0 if b is None else int(pc.sum(pc.not_equal(joined["domain a"], joined["domain b"])).as_py() or 0)
    agreements = [
        agreement
        for column, other in zip(columns_b, against, strict=True)
        for agreement in _agreements(joined, column, other.name, top, examples)
    ]
    return Comparison(tuple(agreements), len(joined), only_a, only_b, moved, is_sample)


def _gather(store: ScoreStore, rankings: Sequence[Ranking], side: str, sample: KeySample) -> None:
    """Adds to the sample: key, statistics, and each ranking's key or null where it does not rank the document."""
    statistics = ("id", "domain", *STATISTICS)
    needed = ["source", "row", *statistics, *(name for ranking in rankings for name in ranking.columns)]
    for batch in store.batches(list(dict.fromkeys(needed))):
        hashes = tie_hashes(batch.column("source"), batch.column("row").to_numpy())
        places = salted(hashes, _SALT)
        kept = places <= np.uint64(sample.bound)
        batch, hashes, places = batch.filter(pa.array(kept)), hashes[kept], places[kept]
        columns = {"source": batch.column("source"), "row": batch.column("row"), f"hash {side}": pa.array(hashes)}
        columns |= {f"{name} {side}": batch.column(name) for name in statistics}
        for number, ranking in enumerate(rankings):
            values = ranking.values(batch)
            columns[f"{side} {number}"] = pa.array(ranking.keys(values), mask=~ranking.ranked(batch, values))
        sample.add(pa.table(columns), places)


def _check_unique(store: ScoreStore, rows: pa.Table) -> None:
    sources, row = rows["source"].to_numpy(), rows["row"].to_numpy()
    twice = np.flatnonzero((sources[1:] == sources[:-1]) & (row[1:] == row[:-1]))
    if len(twice):
        raise StoreError(
            f"{store.url}: {sources[twice[0]]}, row {row[twice[0]]:,} appears twice, so the comparison cannot be "
            "trusted. Score into a new folder."
        )


def _agreements(rows: pa.Table, column: str, against: str, top: float, examples: int) -> list[Agreement]:
    rows = rows.filter(pc.and_(rows["a 0"].is_valid(), rows[column].is_valid()))
    if not len(rows):
        raise StoreError(
            f"No document has a finite influence and a finite {against!r}, so there is nothing to compare."
        )
    found = []
    for name in sorted(rows["domain a"].unique().to_pylist()):
        of_domain = rows.filter(pc.equal(rows["domain a"], name))
        ties = of_domain["hash a"].to_numpy()
        value_a, value_b = (rankdata(of_domain[key].to_numpy()) for key in ("a 0", column))
        in_a, in_b = in_top(value_a, top, ties), in_top(value_b, top, ties)
        rank_a, rank_b = (rankdata(-value, method="min").astype(np.int64) for value in (value_a, value_b))
        found.append(
            Agreement(
                domain=name,
                against=against,
                documents=len(of_domain),
                spearman=spearman(value_a, value_b),
                top=overlap(in_a, in_b),
                both=_picked(of_domain, in_a & in_b),
                only_a=_picked(of_domain, in_a & ~in_b),
                only_b=_picked(of_domain, in_b & ~in_a),
                examples_a=_examples(of_domain, in_a & ~in_b, rank_b - rank_a, rank_a, rank_b, examples),
                examples_b=_examples(of_domain, in_b & ~in_a, rank_a - rank_b, rank_a, rank_b, examples),
            )
        )
    return found


def _picked(rows: pa.Table, picked: npt.NDArray[np.bool_]) -> Picked:
    some = rows.filter(pa.array(picked))
    return Picked(len(some), {name: pc.mean(some[f"{name} a"]).as_py() for name in STATISTICS})


def _examples(
    rows: pa.Table,
    picked: npt.NDArray[np.bool_],
    difference: npt.NDArray[np.int64],
    rank_a: npt.NDArray[np.int64],
    rank_b: npt.NDArray[np.int64],
    count: int,
) -> tuple[Example, ...]:
    places = np.flatnonzero(picked)
    chosen = places[np.argsort(-difference[places], kind="stable")[:count]]
    records = rows.select(["source", "row", "id a"]).take(pa.array(chosen)).to_pylist()
    return tuple(
        Example(record["source"], record["row"], record["id a"], int(rank_a[place]), int(rank_b[place]))
        for record, place in zip(records, chosen.tolist(), strict=True)
    )
