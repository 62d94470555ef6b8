"""What to select: a share of each domain's documents or tokens, a number of tokens in all, or by frozen thresholds."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from attention_influence.errors import UsageError
from attention_influence.shares import as_written, count_in


@dataclass(frozen=True)
class Rule:
    """Exactly one of `top`, `tokens` and `apply`; ranked by `rank_by` within each domain."""

    top: float | None = None
    """Share in (0, 1] of each domain's ranked documents (rounded up) or of their tokens (never above)."""
    tokens: int | None = None
    """Tokens in all, split over the domains in proportion to their ranked tokens."""
    by: Literal["documents", "tokens"] = "documents"
    """What `top` is a share of."""
    rank_by: str = "influence"
    """The name of a ranking (see `ranking`)."""
    apply: str | None = None
    """The selection whose thresholds decide, so that there is no budget."""
    weight: float = 1.0
    """Of each chosen row in a manifest: 2 stands for a second copy."""

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.top, self.tokens, self.apply)) != 1:
            raise UsageError(
                "Give one of --top, a share of each domain; --tokens, a number of tokens in all; "
                "and --apply, an earlier selection."
            )
        if self.top is not None and not 0 < self.top <= 1:
            raise UsageError(f"--top is {self.top}; it is a share above 0 and at most 1, such as 0.2.")
        if self.tokens is not None and self.tokens < 1:
            raise UsageError(f"--tokens is {self.tokens}; it is a number of tokens, at least 1.")
        if not 0 < self.weight < math.inf:
            raise UsageError(f"--weight is {self.weight}; it is a number above 0, such as 2 for a second copy.")
        if self.by not in ("documents", "tokens"):
            raise UsageError(f"--by is {self.by!r}; it is 'documents' or 'tokens'.")

    @property
    def counts_tokens(self) -> bool:
        return self.tokens is not None or self.by == "tokens"

    def budgets(self, documents: Sequence[int], tokens: Sequence[int]) -> list[int]:
        """How many documents, or tokens where the rule counts tokens, each domain may give.

        `documents` and `tokens`: each domain's ranked documents and their tokens. The parts of a number of tokens are
        rounded by largest remainder, an equal remainder going to the earlier domain, so that they add up to it.
        """
        if self.tokens is not None:
            return _largest_remainder(self.tokens, tokens)
        assert self.top is not None
        if self.counts_tokens:
            return [math.floor(as_written(self.top) * count) for count in tokens]
        return [count_in(self.top, count) for count in documents]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def _largest_remainder(total: int, weights: Sequence[int]) -> list[int]:
    whole = sum(weights)
    if not whole:
        return [0] * len(weights)
    parts = [total * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda i: (-(total * weights[i] % whole), i))
    for i in by_remainder[: total - sum(parts)]:
        parts[i] += 1
    return parts
