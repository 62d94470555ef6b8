"""A random sample of a store's ranked documents: their statistics, how each ranking orders them, and what was kept.

The sample depends on keys alone. One pass over the store; memory is that of the sample and one batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.evidence.statistics import Overlap, overlap
from attention_influence.selection.ranking.controlled import COLUMNS, DomainControl, fit_samples, observed
from attention_influence.selection.ranking.keys import as_float64
from attention_influence.selection.ranking.ranking import Ranking, open_ranking
from attention_influence.selection.record import SelectionRecord
from attention_influence.selection.screened import representatives
from attention_influence.shares import count_in
from attention_influence.store.reader import ScoreStore
from attention_influence.store.row_hashes import coded, salted, tie_hashes

DOCUMENTS = 20_000
"""About how many are drawn."""
TOP = 0.2
"""Share of each domain that counts as kept where there is no selection."""
BASELINES = ("controlled", "random", "perplexity", "length", "copy_share")

# However many domains there are, each shows something.
_FEWEST_OF_A_DOMAIN = 50
# The largest domains, each of which takes about a second.
_MOST_CONTROLLED = 50
_STATISTICS = ("n_tokens", "loss_base", "loss_ref", "copy_share", "repeat_share", "compression", "unigram_surprisal")

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """The documents sampled, by domain and then in a random order; arrays have one entry for each."""

    keys: tuple[tuple[str, int], ...]
    """(source, row)"""
    ids: tuple[str | None, ...]
    flags: tuple[str | None, ...]
    domains: npt.NDArray[np.str_]
    statistics: Mapping[str, Array]
    """influence, controlled and columns of the store by name; NaN where there is no value."""
    rank_values: Mapping[str, Array]
    """Ranking → what it ranks by, highest first; NaN where it does not rank the document."""
    ties: npt.NDArray[np.uint64]
    """Of equal values the smallest comes first."""
    kept: Mask
    margin: Array
    """Place within the domain by the selection's ranking; rises with it."""
    controls: Mapping[str, DomainControl]
    """What was fitted in each domain for controlled influence; empty where it could not be."""
    is_all: bool
    """Whether these are all ranked documents."""
    is_preview: bool
    """Whether `kept` is the top 20% by influence, because there is no selection."""

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def baselines(self) -> list[str]:
        """Those of `BASELINES` that rank any of the documents."""
        return [name for name in BASELINES if name in self.rank_values]

    def parts(self) -> dict[str, slice]:
        """Domain → its documents, by name."""
        return _parts(self.domains)

    def chosen_by(self, ranking: str, share: float | None = None) -> Mask:
        """The top of each domain by a ranking, of the documents that it ranks: as many as were kept, or that share."""
        chosen = np.zeros(len(self), dtype=np.bool_)
        values = self.rank_values[ranking]
        for part in self.parts().values():
            ranked = part.start + np.flatnonzero(~np.isnan(values[part]))
            count = int(self.kept[ranked].sum()) if share is None else count_in(share, len(ranked))
            chosen[_first(ranked, values, self.ties, count)] = True
        return chosen

    def agreement(self, ranking: str) -> Overlap:
        """Of what was kept and what a ranking would have kept, among the documents that it ranks."""
        ranked = ~np.isnan(self.rank_values[ranking])
        return overlap(self.kept[ranked], self.chosen_by(ranking)[ranked])


def draw_sample(
    store: ScoreStore, ranked: Mapping[str, int], selected: SelectionRecord | None, documents: int, seed: int
) -> Sample:
    """About `documents` of the store's ranked documents, as many of each domain; `ranked` counts them by domain. Of
    screened domains only those of their own samples are drawn, for the others are no random choice.

    Where there are so many domains that each would have too few, only the largest are drawn from.
    """
    ranking = open_ranking(store, selected.rank_by if selected else "influence", selected.seed if selected else seed)
    cut = selected.cut(ranking) if selected else None
    influence = open_ranking(store, "influence")
    representative = representatives(store)
    counts = representative.counts(ranked)
    largest = sorted(counts, key=lambda name: (-counts[name], name))[: max(1, documents // _FEWEST_OF_A_DOMAIN)]
    share = documents // max(len(largest), 1)
    bounds = {name: min(1.0, share / count) if (count := counts[name]) else 0.0 for name in largest}
    own = [name for name in (*_STATISTICS, *ranking.columns) if name in store.schema.names]
    columns = list(dict.fromkeys(["source", "row", "id", "domain", "influence", "flag", *own]))
    tables = [pa.schema([*(store.schema.field(name) for name in columns), ("kept", pa.bool_())]).empty_table()]
    for batch in store.batches(columns):
        batch = batch.select(columns)
        values = influence.values(batch)
        hashes = tie_hashes(batch.column("source"), batch.column("row").to_numpy())
        places = salted(hashes, f"report {seed}").astype(np.float64) / 2.0**64
        names, codes = coded(batch.column("domain"))
        bound = np.array([bounds.get(name, 0.0) for name in names])
        drawn = (places < bound[codes]) & representative.among(batch) & influence.ranked(batch, values)
        batch = batch.filter(pa.array(drawn))
        kept = cut.inside(batch) if cut else np.zeros(batch.num_rows, dtype=np.bool_)
        tables.append(pa.Table.from_batches([batch.append_column("kept", pa.array(kept))]))
    rows = pa.concat_tables([table.cast(tables[0].schema) for table in tables]).combine_chunks()
    sample = _sample(store, rows, ranking, selected is None, sum(ranked.values()), seed)
    if selected is None:
        sample.kept[:] = sample.chosen_by("influence", TOP)
        return sample
    for name in set(selected.undecided) & sample.parts().keys():
        part = sample.parts()[name]
        candidates = part.start + np.flatnonzero(~np.isnan(sample.margin[part]))
        # As much of the top stands for what no threshold tells.
        count = round(len(candidates) * selected.thresholds[name].chosen / ranked[name])
        sample.kept[_first(candidates, sample.margin, sample.ties, count)] = True
    return sample


def _sample(store: ScoreStore, rows: pa.Table, ranking: Ranking, is_preview: bool, ranked: int, seed: int) -> Sample:
    ties = tie_hashes(rows["source"], rows["row"].to_numpy())
    domains = np.array(rows["domain"].to_pylist(), dtype=np.str_)
    order = np.lexsort((salted(ties, f"report {seed}"), domains))
    rows, ties, domains = rows.take(pa.array(order)), ties[order], domains[order]
    batch = pa.RecordBatch.from_arrays([column.combine_chunks() for column in rows.columns], schema=rows.schema)
    statistics = {name: as_float64(rows[name]) for name in ("influence", *_STATISTICS) if name in rows.column_names}
    rank_values = {"influence": statistics["influence"]}
    for name in BASELINES:
        if name != "controlled":
            rank_values[name] = _rank_values(open_ranking(store, name, seed), batch)
    statistics["controlled"], controls = _controlled(rows, domains, seed)
    rank_values["controlled"] = statistics["controlled"]
    return Sample(
        keys=tuple(zip(rows["source"].to_pylist(), rows["row"].to_pylist(), strict=True)),
        ids=tuple(rows["id"].to_pylist()),
        flags=tuple(rows["flag"].to_pylist()),
        domains=domains,
        statistics=statistics,
        rank_values={
            name: values for name, values in rank_values.items() if name == "influence" or not np.isnan(values).all()
        },
        ties=ties,
        kept=np.array(rows["kept"], dtype=np.bool_),
        margin=_rank_values(ranking, batch),
        controls=controls,
        is_all=len(rows) == ranked,
        is_preview=is_preview,
    )


def _rank_values(ranking: Ranking, batch: pa.RecordBatch) -> Array:
    values = ranking.values(batch)
    numbers = np.where(ranking.ranked(batch, values), as_float64(values), np.nan)
    return -numbers if ranking.lowest_first else numbers


def _controlled(rows: pa.Table, domains: npt.NDArray[np.str_], seed: int) -> tuple[Array, Mapping[str, DomainControl]]:
    """Controlled influence, by models fitted on the sample alone, and those models."""
    if not set(COLUMNS) <= set(rows.column_names):
        return np.full(len(rows), np.nan), {}
    values = np.full(len(rows), np.nan)
    _, _, known = observed(rows)
    parts = _parts(domains)
    largest = sorted(parts, key=lambda name: (parts[name].start - parts[name].stop, name))[:_MOST_CONTROLLED]
    of_domain = {name: rows.slice(parts[name].start, parts[name].stop - parts[name].start) for name in largest}
    samples = {name: part.filter(pa.array(known[parts[name]])) for name, part in of_domain.items()}
    control = fit_samples(samples, seed)
    for name, part in of_domain.items():
        values[parts[name]] = as_float64(control.values(part))
    return values, control.domains


def largest(domains: npt.NDArray[np.str_], most: int) -> list[str]:
    """By name, the `most` domains that come most often among those of documents."""
    names, counts = np.unique(domains, return_counts=True)
    return sorted(names[np.argsort(-counts, kind="stable")][:most].tolist())


def _parts(domains: npt.NDArray[np.str_]) -> dict[str, slice]:
    names, starts = np.unique(domains, return_index=True)
    bounds = [*starts.tolist(), len(domains)]
    return {name: slice(*ends) for name, ends in zip(names.tolist(), pairwise(bounds), strict=True)}


def _first(
    places: npt.NDArray[np.int64], values: Array, ties: npt.NDArray[np.uint64], count: int
) -> npt.NDArray[np.int64]:
    """Of these places in the sample, the `count` of highest value."""
    return places[np.lexsort((ties[places], -values[places]))[:count]]
