"""What ranks documents: a column of the store, a value made of several, a draw, controlled influence, or an ensemble.

All rankings choose among the same documents: those whose influence is finite, where the ranking's own value is. An
ensemble, such as `influence*0.7+edu*0.3`, is the weighted mean of the percentiles that its members give a document
within its domain, among the documents that all of them rank.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.errors import UsageError, did_you_mean
from attention_influence.selection.ranking.controlled import Control, fit_control
from attention_influence.selection.ranking.keys import is_ranked, order_keys, value_digits
from attention_influence.selection.ranking.percentiles import percentiles
from attention_influence.store.reader import ScoreStore
from attention_influence.store.row_hashes import Keys, salted, tie_hashes

COMPUTED = ("delta", "perplexity", "length", "random", "controlled")
"""Rankings that are no column of the store."""


@dataclass(frozen=True)
class Ranking:
    """An order of the documents of one store."""

    name: str
    """As it is asked for: a leading '-' reverses the order."""
    column: str
    """The name of the value that a selection writes with each chosen document."""
    columns: tuple[str, ...]
    """Of the store, what `values` needs."""
    type: pa.DataType
    values: Callable[[pa.RecordBatch], pa.Array]
    """The value of each row of a batch of the store; null where it has none."""
    lowest_first: bool = False
    seed: int | None = None
    """Of the rankings that draw."""
    control: Control | None = None
    """Of controlled influence, alone or in an ensemble: what was fitted."""
    members: tuple[tuple["Ranking", float], ...] = ()
    """Of an ensemble, with their weights."""

    def keys(self, values: pa.Array) -> Keys:
        """Unsigned integers that rise with the rank; equal for equal values."""
        keys = order_keys(values)
        if not self.lowest_first:
            return keys
        digits = value_digits(self.type)
        assert digits is not None
        return keys ^ (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 16 * digits))

    def buckets(self, values: pa.Array) -> npt.NDArray[np.int64]:
        """16-bit numbers that never fall as the rank rises: the leading half of the key of the nearest float32."""
        with np.errstate(over="ignore"):  # beyond float32 all share the bucket of infinity
            nearest = values.fill_null(0).to_numpy(zero_copy_only=False).astype(np.float32)
        buckets = (order_keys(pa.array(nearest)) >> np.uint64(16)).astype(np.int64)
        return buckets ^ 0xFFFF if self.lowest_first else buckets

    def ranked(self, batch: pa.RecordBatch, values: pa.Array) -> npt.NDArray[np.bool_]:
        """Which rows of a batch, that holds influence, take part."""
        return is_ranked(batch.column("influence")) & is_ranked(values)

    def in_words(self) -> str:
        """Which documents come first, for the dataset card."""
        if self.members:
            return f"the highest `{self.column}` first, the mean percentile by `{self.name}`,"
        return f"the {'lowest' if self.lowest_first else 'highest'} `{self.column}` first"

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"name": self.name, "first": "lowest" if self.lowest_first else "highest"}
        if self.seed is not None:
            record["seed"] = self.seed
        if self.control is not None:
            record["control"] = self.control.to_json()
        if self.members:
            record["members"] = [{"weight": weight, **member.to_json()} for member, weight in self.members]
        return record


def open_ranking(store: ScoreStore, name: str, seed: int = 0) -> Ranking:
    """The ranking of that name, with a leading '-' in reverse, or the ensemble of several, NAME*WEIGHT+NAME*WEIGHT.

    `controlled` is fitted to the store here, and an ensemble sorted. Raises UsageError, with the names that there are,
    for any other.
    """
    if is_ensemble(name):
        return _ensemble(store, name, seed)
    reverse, bare = name.startswith("-"), name.removeprefix("-")
    if bare == "delta":
        needed: tuple[str, ...] = ("loss_base", "loss_ref")
        return Ranking(name, bare, needed, pa.float32(), _delta, reverse)
    if bare == "perplexity":
        return Ranking(name, bare, ("loss_base",), pa.float64(), _perplexity, not reverse)
    if bare == "random":
        return Ranking(name, bare, ("source", "row"), pa.float64(), lambda batch: _random(batch, seed), reverse, seed)
    if bare == "controlled":
        control = fit_control(store, seed)
        return Ranking(name, bare, control.columns, pa.float32(), control.values, reverse, seed, control)
    column = "n_tokens" if bare == "length" else bare
    numeric = [field.name for field in store.schema if field.name != "row" and value_digits(field.type) is not None]
    if column not in numeric:
        hint = did_you_mean(bare, [*numeric, *COMPUTED], "")
        raise UsageError(
            f"There is no ranking {name!r} of {store.url}{f'; {hint}' if hint else '.'} There are "
            f"its numeric columns: {', '.join(numeric)}; and {', '.join(COMPUTED)}. A leading '-' reverses the order."
        )
    return Ranking(name, bare, (column,), store.schema.field(column).type, lambda batch: batch.column(column), reverse)


def is_ensemble(name: str) -> bool:
    """Whether a ranking's name is that of an ensemble."""
    return "+" in name or "*" in name


def _ensemble(store: ScoreStore, name: str, seed: int) -> Ranking:
    members = []
    for term in name.split("+"):
        of_member, given, weight = (part.strip() for part in term.partition("*"))
        members.append((open_ranking(store, of_member, seed), _weight(name, weight) if given else 1.0))
    columns = ("domain", "influence", *(column for member, _ in members for column in member.columns))
    columns = tuple(dict.fromkeys(columns))
    everywhere = (_ranked_by_all(members, batch)[1:] for batch in store.batches(columns))
    of_members = percentiles(everywhere, len(members))
    whole = sum(weight for _, weight in members)

    def values(batch: pa.RecordBatch) -> pa.Array:
        ranked, domains, keys = _ranked_by_all(members, batch)
        means = np.zeros(batch.num_rows)
        for found, of_member, (_, weight) in zip(of_members, keys, members, strict=True):
            means[ranked] += weight / whole * found.of(domains, of_member)
        return pa.array(means, mask=~ranked)

    return Ranking(
        name,
        "ensemble",
        columns,
        pa.float64(),
        values,
        seed=next((member.seed for member, _ in members if member.seed is not None), None),
        control=next((member.control for member, _ in members if member.control), None),
        members=tuple(members),
    )


def _weight(name: str, text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 < weight < math.inf:
        raise UsageError(f"{name!r}: {text!r} is no weight. Write an ensemble as NAME*0.7+NAME*0.3, weights above 0.")
    return weight


def _ranked_by_all(
    members: Sequence[tuple[Ranking, float]], batch: pa.RecordBatch
) -> tuple[npt.NDArray[np.bool_], pa.Array, list[Keys]]:
    """Which rows of a batch all members rank; of those, the domains and each member's keys."""
    values = [member.values(batch) for member, _ in members]
    ranked = np.logical_and.reduce(
        [member.ranked(batch, its) for (member, _), its in zip(members, values, strict=True)]
    )
    keys = [member.keys(its)[ranked] for (member, _), its in zip(members, values, strict=True)]
    return ranked, batch.column("domain").cast(pa.string()).filter(pa.array(ranked)), keys


def _delta(batch: pa.RecordBatch) -> pa.Array:
    return pc.subtract(batch.column("loss_ref"), batch.column("loss_base"))


def _perplexity(batch: pa.RecordBatch) -> pa.Array:
    return pc.exp(batch.column("loss_base").cast(pa.float64()))


def _random(batch: pa.RecordBatch, seed: int) -> pa.Array:
    hashes = salted(tie_hashes(batch.column("source"), batch.column("row").to_numpy()), f"random {seed}")
    # The 53 bits that a float64 can hold: uniform in [0, 1).
    return pa.array((hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53)
