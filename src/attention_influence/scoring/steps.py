"""A document in steps, and the mean rise of loss of each (after AIR, arXiv 2512.13279, which scores reasoning steps).

Steps partition the text by character offsets. A token belongs to the step in which its first character lies, so a token
that crosses a boundary belongs to one step alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import numpy as np
import regex
from numpy.typing import NDArray

from attention_influence.errors import UsageError
from attention_influence.heads.sentences import FULL_MARKS, WESTERN_MARKS

Granularity = Literal["document", "step"]
SENTENCE, LINE = "sentence", "line"

# Quotes, brackets and emphasis that still belong to a sentence.
_CLOSING = r"[\p{Pe}\p{Pf}\"'*_`]*+"
_STOP = r"\p{Sentence_Break=ATerm}"
_LIST_NUMBER = r"^[ \t]*\p{Nd}{1,3}"
# Full stops alone end no sentence after the number of a list's item, and none before a small letter (UAX #29, SB8).
# Quantifiers are possessive, and runs of marks are tried from their first mark only: time grows with the text's length.
_SENTENCE_END = "|".join(
    (
        rf"(?=[{_STOP}])(?<!{WESTERN_MARKS})(?<!{_LIST_NUMBER})[{_STOP}]++(?![!?]){_CLOSING}(?=\s)(?![^\S\n]++\p{{Ll}})",
        rf"(?={WESTERN_MARKS})(?<!{WESTERN_MARKS})[{_STOP}]*+[!?]{WESTERN_MARKS}*+{_CLOSING}(?=\s)",
        rf"{FULL_MARKS}++{_CLOSING}",
        r"\R",
    )
)
_END_OF = {SENTENCE: _SENTENCE_END, LINE: r"\R"}


class Step(NamedTuple):
    """Consecutive characters of a document, and what the loss of their tokens does."""

    start: int
    """Its characters are [start, end)."""
    end: int
    n_scored: int
    """Tokens that begin in it and have a loss."""
    rise: float | None
    """Mean of loss_ref − loss_base over them, nats/token; None if there are none."""


@dataclass(frozen=True)
class TextInSteps:
    """Where a text's steps end, and to which of them its tokens belong."""

    ends: list[int]
    """Ascending; the last is the length of the text."""
    step_of: NDArray[np.int64]
    """[tokens]"""

    def steps(self, base: NDArray[np.float32], ref: NDArray[np.float32]) -> tuple[Step, ...]:
        """The steps, given both losses of every token [tokens], nats; NaN where a token has none.

        The steps' rises weighted by their `n_scored` add up to the sum of all tokens' rises, to the rounding of
        float64.
        """
        scored = ~np.isnan(base)
        rises = ref[scored].astype(np.float64) - base[scored]
        counts = np.bincount(self.step_of[scored], minlength=len(self.ends))
        sums = np.bincount(self.step_of[scored], weights=rises, minlength=len(self.ends))
        starts = [0, *self.ends[:-1]]
        return tuple(
            Step(start, end, count, total / count if count else None)
            for start, end, count, total in zip(starts, self.ends, counts.tolist(), sums.tolist(), strict=True)
        )


def step_rule(granularity: str, steps: str | Sequence[str]) -> tuple[str, ...]:
    """What ends a step, each once, in order; nothing for whole documents.

    Raises UsageError for an unknown granularity, and for what cannot end a step.
    """
    if granularity not in get_args(Granularity):
        raise UsageError(f"granularity is {granularity!r}; it is one of {', '.join(get_args(Granularity))}")
    given: tuple[object, ...] = (steps,) if isinstance(steps, str) else tuple(steps)
    if granularity == "document":
        return ()
    texts = [one for one in given if isinstance(one, str) and one]
    if not texts or len(texts) != len(given):
        raise UsageError(
            f"steps is {steps!r}; give {SENTENCE!r}, {LINE!r}, or a text that ends a step, such as '\\n\\n'"
        )
    return tuple(sorted(set(texts)))


def step_ends(text: str, rule: Sequence[str]) -> list[int]:
    """Where the steps of a text end, ascending; the last end is the length of the text. None for no text.

    A step ends after each `line` break, each `sentence` (its mark and closing quotes, or the end of its line; the space
    before the next one belongs to that) and each occurrence of any other text of the rule. What is nothing but white
    space belongs to the step before it, at the beginning of the text to the first.
    """
    patterns = [_END_OF.get(one) or regex.escape(one, special_only=True) for one in rule]
    found = {match.end() for pattern in patterns for match in _compiled(pattern).finditer(text)}
    ends: list[int] = []
    start = 0
    for end in sorted(found | ({len(text)} if text else set())):
        is_blank = text[start:end].isspace()
        start = end
        if not is_blank:
            ends.append(end)
        elif ends:
            ends[-1] = end
    return ends or ([len(text)] if text else [])


def in_steps(text: str, rule: Sequence[str], starts: NDArray[np.int64]) -> TextInSteps:
    """A text in steps, given the character at which each of its tokens begins [tokens]."""
    ends = step_ends(text, rule)
    # A token without characters of its own may begin where the text ends.
    return TextInSteps(ends, np.searchsorted(ends, np.minimum(starts, len(text) - 1), side="right"))


def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern, regex.M | regex.V1)  # kept by `regex` itself
