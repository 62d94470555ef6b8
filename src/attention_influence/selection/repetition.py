"""Whether what influence chose is mostly repetition, and what controlled influence would have chosen instead.

One pass over the store: the shares of tokens are exact; the comparison is made on a random sample of each domain.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.selection.cutting.chosen import ChosenRows
from attention_influence.selection.cutting.cut import Cut
from attention_influence.selection.key_sample import KeySample
from attention_influence.selection.ranking.controlled import COLUMNS, Control, Method, add_by_domain, fit_samples
from attention_influence.selection.ranking.keys import coded, salted, tie_hashes
from attention_influence.store.reader import ScoreStore

MOSTLY = 0.5
"""Above this `copy_share` a document mostly repeats itself; above this share of chosen tokens in such documents, the
choice does."""
SAMPLE = 10_000
"""Documents of a domain on which the two rankings are compared."""
# Of very many domains the largest are compared, and trees, which take about a second, are tried only in a few.
_MOST_DOMAINS = 50
_MOST_WITH_TREES = 5


@dataclass(frozen=True)
class Means:
    """Over documents."""

    copy_share: float | None
    loss_base: float
    n_tokens: float


@dataclass(frozen=True)
class Instead:
    """What controlled influence would have chosen, as many documents of the sample as influence did."""

    sampled: int
    chosen: int
    overlap: float
    """Share of either choice that is in both."""
    chance: float
    """What the overlap would be if the two had nothing to do with each other."""
    method: Method
    explained: float
    """Share of the variance of influence (as log ratio) that length, loss and repetition explain."""
    influence: Means
    controlled: Means


@dataclass(frozen=True)
class Repetition:
    """How repetitive the choice is in one domain."""

    domain: str
    chosen: float | None
    """Share of the chosen tokens in documents that repeat themselves; None when nothing is chosen."""
    ranked: float | None
    """The same of all ranked tokens."""
    instead: Instead | None
    """None where nothing could be controlled."""

    def warning(self) -> str | None:
        """For a domain whose choice is mostly repetition."""
        if self.chosen is None or self.chosen <= MOSTLY:
            return None
        return (
            f"domain {self.domain}: {self.chosen:.0%} of the chosen tokens are in documents that repeat themselves "
            f"({self.ranked:.0%} of all tokens). Look at some, and at --rank-by controlled"
        )


def repetition_of(store: ScoreStore, chosen: ChosenRows, seed: int) -> tuple[Repetition, ...]:
    """How repetitive the choice is in each domain, by name.

    A document repeats itself when its flag says `repetitive` (more than 0.3 of its 5-grams stood earlier in it), or its
    `copy_share` is above 0.5. Without the columns of controlled influence there is no comparison.
    """
    controlled = set(COLUMNS) <= set(store.schema.names)
    largest = sorted(chosen.thresholds, key=lambda domain: (-domain.ranked, domain.domain))[:_MOST_DOMAINS]
    samples = {
        # Twice as many as needed, because some lack a statistic; all others are skipped by their hash alone.
        domain.domain: KeySample(SAMPLE, min(2**65 * SAMPLE // max(domain.ranked, 1), 2**64 - 1))
        for domain in (largest if controlled else ())
    }
    ranked, chosen_tokens = _tokens(store, chosen.cut, samples, f"repetition {seed}")
    rows_of = {name: sample.rows() for name, sample in samples.items() if sample.has_rows}
    control = fit_samples(rows_of, seed, trees=[domain.domain for domain in largest[:_MOST_WITH_TREES]])
    return tuple(
        Repetition(
            domain.domain,
            chosen=_share(chosen_tokens[domain.domain], domain.tokens_chosen),
            ranked=_share(ranked[domain.domain], domain.tokens),
            instead=_instead(control, domain.domain, rows_of[domain.domain]) if domain.domain in rows_of else None,
        )
        for domain in chosen.thresholds
    )


def _tokens(
    store: ScoreStore, cut: Cut, samples: Mapping[str, KeySample], salt: str
) -> tuple[Counter[str], Counter[str]]:
    """Domain → tokens of ranked, and of chosen documents that repeat themselves; fills the samples in the same pass."""
    own = ("source", "row", "domain", "influence", "n_tokens")
    needed = list(dict.fromkeys([*own, *cut.ranking.columns]))

    def of_unit(batches: Iterator[pa.RecordBatch]) -> tuple[Counter[str], Counter[str], list[pa.RecordBatch]]:
        ranked, chosen, sampled = Counter[str](), Counter[str](), []
        for batch in batches:
            repeats = batch.select(needed).filter(_repeats_itself(batch))
            values = cut.ranking.values(repeats)
            ranked += _tokens_by_domain(repeats, cut.ranking.ranked(repeats, values))
            chosen += _tokens_by_domain(repeats, cut.inside(repeats, values))
            if samples:
                sampled.append(_sampled(batch, cut, samples, salt))
        return ranked, chosen, sampled

    ranked, chosen = Counter[str](), Counter[str]()
    columns = [*needed, "copy_share", "flag", *(COLUMNS if samples else ())]
    for of_ranked, of_chosen, sampled in store.over_units(columns, of_unit):
        ranked += of_ranked
        chosen += of_chosen
        for rows in pa.Table.from_batches(sampled).combine_chunks().to_batches() if sampled else ():
            add_by_domain(samples, rows, rows.column("hash").to_numpy())
    return ranked, chosen


def _sampled(batch: pa.RecordBatch, cut: Cut, samples: Mapping[str, KeySample], salt: str) -> pa.RecordBatch:
    """The rows that may belong to a sample, with their hashes and whether they are chosen."""
    hashes = salted(tie_hashes(batch.column("source"), batch.column("row").to_numpy()), salt)
    names, codes = coded(batch.column("domain"))
    bounds = [samples[name].bound if name in samples else -1 for name in names]
    has_sample = np.array([bound >= 0 for bound in bounds], dtype=np.bool_)
    bound = np.array([max(bound, 0) for bound in bounds], dtype=np.uint64)
    kept = has_sample[codes] & (hashes <= bound[codes])
    rows = batch.filter(pa.array(kept))
    columns = {name: rows.column(name) for name in rows.schema.names}
    columns |= {name: columns[name].cast(pa.string()) for name in ("source", "domain", "flag")}
    columns |= {"hash": pa.array(hashes[kept]), "chosen": pa.array(cut.inside(rows, cut.ranking.values(rows)))}
    return pa.RecordBatch.from_pydict(columns)


def _repeats_itself(batch: pa.RecordBatch) -> pa.Array:
    flags = batch.column("flag").dictionary_encode()
    flagged = pc.match_substring(flags.dictionary, "repetitive").take(flags.indices).fill_null(False)
    return pc.or_(flagged, pc.greater(batch.column("copy_share"), MOSTLY).fill_null(False))


def _tokens_by_domain(batch: pa.RecordBatch, rows: npt.NDArray[np.bool_]) -> Counter[str]:
    counted = pa.table({"domain": batch.column("domain"), "tokens": batch.column("n_tokens")}).filter(pa.array(rows))
    sums = counted.group_by("domain").aggregate([("tokens", "sum")]).to_pylist()
    return Counter({row["domain"]: row["tokens_sum"] or 0 for row in sums})


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _instead(control: Control, name: str, rows: pa.Table) -> Instead | None:
    fitted = control.domains[name]
    by_influence = np.asarray(rows["chosen"].to_numpy(), dtype=np.bool_)
    chosen = int(by_influence.sum())
    if fitted.method == "mean" or not chosen:
        return None
    highest = np.argsort(-control.values(rows).to_numpy(), kind="stable")[:chosen]
    by_controlled = np.zeros(len(by_influence), dtype=np.bool_)
    by_controlled[highest] = True
    return Instead(
        sampled=len(by_influence),
        chosen=chosen,
        overlap=float((by_influence & by_controlled).sum()) / chosen,
        chance=chosen / len(by_influence),
        method=fitted.method,
        explained=fitted.explained,
        influence=_means(rows.filter(pa.array(by_influence))),
        controlled=_means(rows.filter(pa.array(by_controlled))),
    )


def _means(rows: pa.Table) -> Means:
    return Means(*(pc.mean(rows[name]).as_py() for name in ("copy_share", "loss_base", "n_tokens")))
