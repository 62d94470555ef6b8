"""What ranks documents: a column of the store, a figure made of several, a seeded draw, or controlled influence.

All rankings choose among the same documents: those whose influence is finite, where the ranking's own value is.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from attention_influence.errors import UsageError
from attention_influence.scoring.score_store import ScoreStore
from attention_influence.selection.controlled import Control, fit_control
from attention_influence.selection.groups import Numbers
from attention_influence.selection.ranking_key import Keys, is_ranked, order_keys, salted, tie_hashes, value_digits

COMPUTED = ("delta", "perplexity", "length", "random", "controlled")
"""Rankings that are no column of the store."""


@dataclass(frozen=True)
class Ranking:
    """An order of the documents of one store."""

    name: str
    """As it is asked for: a leading '-' turns the order round."""
    column: str
    """What a selection calls the value that it writes beside each chosen document."""
    columns: tuple[str, ...]
    """Of the store, what `values` needs."""
    type: pa.DataType
    values: Callable[[pa.RecordBatch], pa.Array]
    """The value of each row of a batch of the store; null where it has none."""
    lowest_first: bool = False
    seed: int | None = None
    """Of the rankings that draw."""
    control: Control | None = None
    """Of controlled influence: what was fitted."""

    def keys(self, values: pa.Array) -> Keys:
        """Unsigned integers that rise with the rank; equal for equal values."""
        keys = order_keys(values)
        if not self.lowest_first:
            return keys
        digits = value_digits(self.type)
        assert digits is not None
        return keys ^ (np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 16 * digits))

    def buckets(self, values: pa.Array) -> Numbers:
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
        return f"the {'lowest' if self.lowest_first else 'highest'} `{self.column}` first"

    def to_json(self) -> dict[str, Any]:
        record: dict[str, Any] = {"name": self.name, "first": "lowest" if self.lowest_first else "highest"}
        if self.seed is not None:
            record["seed"] = self.seed
        if self.control is not None:
            record["control"] = self.control.to_json()
        return record


def open_ranking(store: ScoreStore, name: str, seed: int = 0) -> Ranking:
    """The ranking of that name, with a leading '-' in reverse; `controlled` is fitted to the store here.

    Raises UsageError, with the names that there are, for any other.
    """
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
        near = difflib.get_close_matches(bare, [*numeric, *COMPUTED], n=1)
        raise UsageError(
            f"There is no ranking {name!r} of {store.url}{f'; did you mean {near[0]!r}?' if near else '.'} There are "
            f"its numeric columns: {', '.join(numeric)}; and {', '.join(COMPUTED)}. A '-' in front turns one round."
        )
    return Ranking(name, bare, (column,), store.schema.field(column).type, lambda batch: batch.column(column), reverse)


def _delta(batch: pa.RecordBatch) -> pa.Array:
    return pc.subtract(batch.column("loss_ref"), batch.column("loss_base"))


def _perplexity(batch: pa.RecordBatch) -> pa.Array:
    return pc.exp(batch.column("loss_base").cast(pa.float64()))


def _random(batch: pa.RecordBatch, seed: int) -> pa.Array:
    hashes = salted(tie_hashes(batch.column("source"), batch.column("row").to_numpy()), f"random {seed}")
    # The 53 bits that a float64 can hold: uniform in [0, 1).
    return pa.array((hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53)
