"""What to select: a share of each domain's documents or tokens, a number of tokens in all, or by frozen thresholds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from attention_influence.errors import UsageError

COLDEST = 1e-6
"""The lowest temperature: below it value / temperature would drown the noise in rounding."""

_LIMIT = "N is a share from 0 to 1, such as 0.1, or a whole number of tokens, such as 3e9"


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
    caps: Mapping[str, float] = field(default_factory=dict)
    """Domain → the most that is chosen of it: up to 1 a share (of what --by counts), above 1 a number of tokens."""
    floors: Mapping[str, float] = field(default_factory=dict)
    """Domain → the least."""
    temperature: float | None = None
    """Of a draw instead of a hard cut."""
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
        if self.temperature is not None and not COLDEST <= self.temperature < math.inf:
            raise UsageError(
                f"--temperature is {self.temperature}; it is a number from {COLDEST} on; without it nothing is drawn."
            )
        if self.apply is not None and (self.caps or self.floors or self.temperature is not None):
            raise UsageError("--cap, --floor and --temperature cannot be combined with --apply.")
        for option, limits in (("--cap", self.caps), ("--floor", self.floors)):
            for name, limit in limits.items():
                if not 0 <= limit < math.inf or (limit > 1 and limit != int(limit)):
                    raise UsageError(f"{option} {name}={limit}: {_LIMIT}.")
        for name in self.caps.keys() & self.floors.keys():
            cap, floor = self.caps[name], self.floors[name]
            if (cap > 1) != (floor > 1):
                raise UsageError(f"domain {name}: give --cap and --floor both as shares or both as tokens.")
            if floor > cap:
                raise UsageError(f"domain {name}: --floor {floor:g} is above --cap {cap:g}.")

    @property
    def counts_tokens(self) -> bool:
        return self.tokens is not None or self.by == "tokens"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def parse_limits(option: str, given: Sequence[str]) -> dict[str, float]:
    """Domain → limit, out of DOMAIN=N. Raises UsageError."""
    limits: dict[str, float] = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        try:
            limit = float(number)
        except ValueError:
            limit = math.nan
        if not equals or math.isnan(limit):
            raise UsageError(f"{option} {text}: write it as DOMAIN=N; {_LIMIT}.")
        if name in limits:
            raise UsageError(f"{option}: domain {name!r} is given twice.")
        limits[name] = limit
    return limits
