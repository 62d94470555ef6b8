"""Whether what influence chose is mostly repetition, and what controlled influence would have chosen instead.

One pass over the store: the shares of tokens are exact; the comparison is made on a random sample of each domain.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.scoring.score_store import ScoreStore
from attention_influence.selection.controlled import COLUMNS, Control, Method, add_by_domain, fit_samples
from attention_influence.selection.cuts import Cuts
from attention_influence.selection.key_sample import KeySample
from attention_influence.selection.ranking_key import salted, tie_hashes

MOSTLY = 0.5
"""Above this `copy_share` a document mostly repeats itself; above this share of chosen tokens in such documents, the
choice does."""
SAMPLE = 10_000
"""Documents of a domain on which the two rankings are compared."""
# Of very many domains the largest are compared: each takes about a second.
_MOST_DOMAINS = 50


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


def repetition_of(store: ScoreStore, cuts: Cuts, seed: int) -> tuple[Repetition, ...]:
    """How repetitive the choice is in each domain, by name.

    A document repeats itself when its flag says `repetitive` (more than 0.3 of its 5-grams stood earlier in it), or its
    `copy_share` is above 0.5. Without the columns of controlled influence there is no comparison.
    """
    controlled = set(COLUMNS) <= set(store.schema.names)
    largest = sorted(cuts.domains.values(), key=lambda domain: (-domain.ranked, domain.name))[:_MOST_DOMAINS]
    samples = {domain.name: KeySample(SAMPLE) for domain in largest} if controlled else {}
    tokens: dict[str, Counter[str]] = {"ranked": Counter(), "chosen": Counter()}
    repeated: dict[str, Counter[str]] = {"ranked": Counter(), "chosen": Counter()}
    columns = ["source", "row", "domain", "influence", "n_tokens", "copy_share", "flag", *cuts.ranking.columns]
    for batch in store.batches(list(dict.fromkeys([*columns, *(COLUMNS if controlled else ())]))):
        values = cuts.ranking.values(batch)
        chosen = cuts.inside(batch, values)
        repeats = _repeats_itself(batch)
        for name, rows in (("ranked", cuts.ranking.ranked(batch, values)), ("chosen", chosen)):
            _add_tokens(tokens[name], batch, rows)
            _add_tokens(repeated[name], batch, rows & repeats)
        if samples:
            hashes = salted(tie_hashes(batch.column("source"), batch.column("row").to_numpy()), f"repetition {seed}")
            add_by_domain(samples, batch.append_column("chosen", pa.array(chosen)), hashes)
    rows_of = {name: sample.rows() for name, sample in samples.items()}
    control = fit_samples(rows_of, seed)
    return tuple(
        Repetition(
            name,
            chosen=_share(repeated["chosen"][name], tokens["chosen"][name]),
            ranked=_share(repeated["ranked"][name], tokens["ranked"][name]),
            instead=_instead(control, name, rows_of[name]) if name in rows_of else None,
        )
        for name in sorted(cuts.domains)
    )


def _repeats_itself(batch: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    flagged = pc.match_substring(batch.column("flag"), "repetitive").fill_null(False)
    copied = pc.greater(batch.column("copy_share"), MOSTLY).fill_null(False)
    return np.asarray(pc.or_(flagged, copied).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _add_tokens(counter: Counter[str], batch: pa.RecordBatch, rows: npt.NDArray[np.bool_]) -> None:
    counted = pa.table({"domain": batch.column("domain"), "tokens": batch.column("n_tokens")}).filter(pa.array(rows))
    for row in counted.group_by("domain").aggregate([("tokens", "sum")]).to_pylist():
        counter[row["domain"]] += row["tokens_sum"] or 0


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
