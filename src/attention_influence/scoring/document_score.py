"""The score of one document, with what a reader needs to judge it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_influence.html_tables import html_table
from attention_influence.scoring.repetition import compression_ratio, copy_share, repeat_share
from attention_influence.scoring.steps import Step

# Below it influence is null: a loss so near to zero makes any rise look enormous (nats/token).
DEGENERATE_LOSS = 1e-3
# Fewer scored tokens than this say little.
SHORT_TOKENS = 32
# Above this share of repeated 5-grams, influence measures repetition.
REPETITIVE_SHARE = 0.3

_IN_PARTS = ("token_losses", "steps")


@dataclass(frozen=True)
class TokenLosses:
    """Losses of every token, in nats, [n_tokens] each; NaN for a window's first token where it is not scored."""

    tokens: NDArray[np.int64]
    base: NDArray[np.float32]
    ref: NDArray[np.float32]


@dataclass(slots=True)
class DocumentScore:
    """One document's losses and influence; all None with a `reason` when it has no score.

    The fields up to `reason` are columns of the score store.
    """

    n_chars: int | None = None
    n_tokens: int | None = None
    """Tokens of the text, without BOS; None also where a text is found too long without all of its tokens."""
    n_scored: int | None = None
    """Tokens that have a loss: all with a BOS, else all but each window's first."""
    n_windows: int | None = None
    loss_base: float | None = None
    """Mean cross-entropy under the model, nats/token."""
    loss_ref: float | None = None
    """The same with the important heads attending uniformly."""
    influence: float | None = None
    """(loss_ref − loss_base) / loss_base (paper, eq. 5)."""
    copy_share: float | None = None
    repeat_share: float | None = None
    compression: float | None = None
    flag: str | None = None
    """Why to read the score with care: too_short, repetitive, degenerate; comma-separated."""
    reason: str | None = None
    """Why there is no score."""
    token_losses: TokenLosses | None = None
    steps: tuple[Step, ...] | None = None
    """The text in steps, where they were asked for and there is a score."""

    def to_dict(self) -> dict[str, Any]:
        """Field → value, ready for JSON or a table.

        With `token_losses`, where there are any, as lists, None for NaN, and `steps` as a dict for each.
        """
        record = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _IN_PARTS}
        if (losses := self.token_losses) is not None:
            record["token_losses"] = {
                "tokens": losses.tokens.tolist(),
                "base": _or_none(losses.base),
                "ref": _or_none(losses.ref),
            }
        if self.steps is not None:
            record["steps"] = [step._asdict() for step in self.steps]
        return record

    def _repr_html_(self) -> str:
        record = {name: value for name, value in self.to_dict().items() if name not in _IN_PARTS}
        return html_table(("", "document"), list(record.items()))

    def describe(self, content: bytes, tokens: list[int]) -> None:
        """Fills in the repetition metrics."""
        self.copy_share, self.repeat_share = copy_share(tokens), repeat_share(tokens)
        self.compression = compression_ratio(content)

    def set_losses(self, windows: Sequence[NDArray[np.float32]]) -> None:
        """Fills in the losses from those of the document's windows, [2, scored tokens] each, and what follows."""
        n_scored = sum(losses.shape[1] for losses in windows)
        sums = np.sum([losses.sum(1, dtype=np.float64) for losses in windows], axis=0)
        base, ref = (float(total) / n_scored for total in sums)
        self.n_windows, self.n_scored = len(windows), n_scored
        if not (np.isfinite(base) and np.isfinite(ref)):
            self.reason = "non_finite_loss"
            return
        self.loss_base, self.loss_ref = base, ref
        flags = {
            "too_short": n_scored < SHORT_TOKENS,
            "repetitive": (self.repeat_share or 0.0) > REPETITIVE_SHARE,
            "degenerate": base < DEGENERATE_LOSS,
        }
        self.flag = ",".join(name for name, raised in flags.items() if raised) or None
        if not flags["degenerate"]:
            self.influence = (ref - base) / base


def _or_none(losses: NDArray[np.float32]) -> list[float | None]:
    return [None if math.isnan(loss) else loss for loss in losses.tolist()]
