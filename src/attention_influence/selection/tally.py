"""Per domain: how many documents there are, how many can be ranked, and why the others cannot."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.errors import StoreError
from attention_influence.scoring.score_store import ScoreStore


@dataclass
class Domain:
    """One domain's counts, and the state of the search for its cut."""

    name: str
    documents: int = 0
    ranked: int = 0
    tokens: int = 0
    """Tokens of the ranked documents."""
    unranked: Counter[str] = field(default_factory=Counter)
    """Reason → documents that have no finite score."""
    floor: int | None = None
    """The smallest ranking integer that is chosen, once found."""
    prefix: int = 0
    """Its leading digits as far as they are known."""
    left: int = 0
    """Documents or tokens that the rows above the prefix have left over."""


def tally(
    batch: pa.RecordBatch,
    ranked: npt.NDArray[np.bool_],
    values: pa.Array,
    domains: dict[str, Domain],
    codes_of: dict[str, int],
) -> None:
    """Adds a batch, with the ranking's `values`, to its domains' counts, making those that are new."""
    not_finite = pc.or_(batch.column("influence").is_valid(), values.is_valid())
    why = pc.coalesce(
        batch.column("reason"), batch.column("flag"), pc.if_else(not_finite, pa.scalar("not_finite"), pa.scalar("null"))
    )
    why = pc.if_else(pa.array(ranked), pa.scalar(None, pa.string()), why)
    counts = pa.table(
        {
            "domain": batch.column("domain"),
            "why": why,
            "tokens": pc.if_else(pa.array(ranked), batch.column("n_tokens"), 0),
        }
    )
    for row in counts.group_by(["domain", "why"]).aggregate([([], "count_all"), ("tokens", "sum")]).to_pylist():
        name = row["domain"]
        codes_of.setdefault(name, len(domains))
        domain = domains.setdefault(name, Domain(name))
        domain.documents += row["count_all"]
        if row["why"] is None:
            domain.ranked += row["count_all"]
            domain.tokens += row["tokens_sum"] or 0
        else:
            domain.unranked[row["why"]] += row["count_all"]


def check_ranked(store: ScoreStore, domains: dict[str, Domain]) -> None:
    """Raises StoreError, with the reasons there are, when no document at all can be ranked."""
    if any(domain.ranked for domain in domains.values()):
        return
    reasons = sum((domain.unranked for domain in domains.values()), Counter[str]())
    listed = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common()) or "it has no rows"
    raise StoreError(f"{store.url}: no document has a finite score ({listed}). Look at the reasons, then score again.")
