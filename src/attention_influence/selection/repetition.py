"""Whether what influence chose is mostly repetition: exact shares of tokens, in one pass over the store."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.selection.cutting.chosen import ChosenRows
from attention_influence.selection.cutting.cut import Cut
from attention_influence.selection.screened import any_screened_out
from attention_influence.store.reader import ScoreStore

MOSTLY = 0.5
"""Above this `copy_share` a document mostly repeats itself; above this share of chosen tokens in such documents, the
choice does."""


@dataclass(frozen=True)
class Repetition:
    """How repetitive the choice is in one domain."""

    domain: str
    chosen: float | None
    """Share of the chosen tokens in documents that repeat themselves; None when nothing is chosen."""
    ranked: float | None
    """The same of all ranked tokens; None in a screened store, whose ranked documents do not stand for all."""

    def warning(self) -> str | None:
        """For a domain whose choice is mostly repetition."""
        if self.chosen is None or self.chosen <= MOSTLY:
            return None
        text = f"domain {self.domain}: {self.chosen:.0%} of the chosen tokens are in documents that repeat themselves"
        if self.ranked is None:
            return f"{text}. Look at some"
        return f"{text} ({self.ranked:.0%} of all tokens). Look at some, and at --rank-by controlled"


def repetition_of(store: ScoreStore, chosen: ChosenRows) -> tuple[Repetition, ...]:
    """How repetitive the choice is in each domain, by name.

    A document repeats itself when its flag says `repetitive` (more than 0.3 of its 5-grams stood earlier in it), or its
    `copy_share` is above 0.5.
    """
    of_ranked, of_chosen = _tokens(store, chosen.cut)
    is_screened = any_screened_out(chosen.thresholds)
    return tuple(
        Repetition(
            domain.domain,
            chosen=_share(of_chosen[domain.domain], domain.tokens_chosen),
            ranked=None if is_screened else _share(of_ranked[domain.domain], domain.tokens),
        )
        for domain in chosen.thresholds
    )


def _tokens(store: ScoreStore, cut: Cut) -> tuple[Counter[str], Counter[str]]:
    """Domain → tokens of ranked, and of chosen documents that repeat themselves."""
    needed = list(dict.fromkeys(["source", "row", "domain", "influence", "n_tokens", *cut.ranking.columns]))

    def of_unit(batches: Iterator[pa.RecordBatch]) -> tuple[Counter[str], Counter[str]]:
        ranked, chosen = Counter[str](), Counter[str]()
        for batch in batches:
            repeats = batch.select(needed).filter(_repeats_itself(batch))
            values = cut.ranking.values(repeats)
            ranked += _tokens_by_domain(repeats, cut.ranking.ranked(repeats, values))
            chosen += _tokens_by_domain(repeats, cut.inside(repeats, values))
        return ranked, chosen

    ranked, chosen = Counter[str](), Counter[str]()
    for of_ranked, of_chosen in store.over_units([*needed, "copy_share", "flag"], of_unit):
        ranked += of_ranked
        chosen += of_chosen
    return ranked, chosen


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
