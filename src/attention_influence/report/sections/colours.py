"""Texts with every token coloured by how much its loss rises when the heads are masked."""

import math
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup, escape

from attention_influence.progress import progress
from attention_influence.report.visible import TEXT_LIMIT, visible

if TYPE_CHECKING:  # torch takes seconds, and most reports need none
    from attention_influence.scoring.document_score import DocumentScore
    from attention_influence.scoring.scorer import Scorer

LEVELS = (-1.0, -0.25, 0.25, 1.0, 2.0, 4.0)
"""Nats between the colours: two for losses that fall, none, four for those that rise."""
PLAIN = 2
"""The colour that is none."""
# From this colour on the rise itself is told when the pointer rests on the token.
_TOLD = 4
_AT_ONCE = 32

Piece = tuple[str, float]
"""A token's characters and the rise of its loss in nats; NaN where it has no loss. Tokens that are parts of one
character are one piece, with the sum of their rises."""


def token_rises(scorer: "Scorer", texts: Sequence[str]) -> list[list[Piece]]:
    """The pieces of each text, of which only the first 1,500 characters are read: a loss depends on what stands before.

    Empty for a text that cannot be scored.
    """
    pieces: list[list[Piece]] = []
    lots = [[text[:TEXT_LIMIT] for text in texts[i : i + _AT_ONCE]] for i in range(0, len(texts), _AT_ONCE)]
    prepared = [scorer.prepare(lot) for lot in lots]
    tokens = sum(len(document.tokens) for documents in prepared for document in documents)
    with progress("colouring tokens", tokens, "tokens") as advance:
        for lot, documents in zip(lots, prepared, strict=True):
            scores = scorer.score_prepared(documents, per_token=True, progress=advance)
            pieces += [_pieces(scorer, text, score) for text, score in zip(lot, scores, strict=True)]
    return pieces


def coloured(pieces: Sequence[Piece]) -> Markup:
    """The text as HTML, escaped, hidden characters made visible; neighbours of one colour share an element."""
    parts = []
    levelled = [(level_of(rise), text, rise) for text, rise in pieces]
    for (level, *_), run in groupby(levelled, lambda piece: (piece[0], piece[2] if piece[0] >= _TOLD else 0)):
        members = list(run)
        shown = escape(visible("".join(text for _, text, _ in members)))
        if level == PLAIN:
            parts.append(shown)
        elif level >= _TOLD:
            parts.append(Markup('<i class="l{}" title="+{:.1f} nats">{}</i>').format(level, members[0][2], shown))
        else:
            parts.append(Markup('<i class="l{}">{}</i>').format(level, shown))
    return Markup("").join(parts)


def pieces_of(text: str, offsets: Sequence[tuple[int, int]], rises: Sequence[float]) -> list[Piece]:
    """The whole text in pieces, from the characters [start, stop) and the rise of each of its tokens."""
    pieces: list[Piece] = []
    end = 0
    for (_, stop), rise in zip(offsets, rises, strict=True):
        if stop > end:
            pieces.append((text[end:stop], rise))
            end = stop
        elif pieces and not math.isnan(rise):
            characters, before = pieces[-1]
            pieces[-1] = (characters, rise if math.isnan(before) else before + rise)
    return [*pieces, (text[end:], math.nan)] if end < len(text) else pieces


def level_of(rise: float) -> int:
    """The number of a rise's colour, 0 to 6."""
    return PLAIN if math.isnan(rise) else int(np.searchsorted(LEVELS, rise))


def _pieces(scorer: "Scorer", text: str, score: "DocumentScore") -> list[Piece]:
    if score.token_losses is None:
        return []
    _, offsets = scorer.model.tokens.encode_with_offsets(text)
    return pieces_of(text, offsets, (score.token_losses.ref - score.token_losses.base).tolist())
