"""The page that explains one document's score, and how its tokens are shown."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from attention_influence.report.rendering import render
from attention_influence.report.sections.colours import Piece, coloured, pieces_of
from attention_influence.report.visible import label
from attention_influence.storage.atomic_files import write_result

if TYPE_CHECKING:  # torch takes seconds
    from attention_influence.scoring.explain import Explanation, HeadAt, Look, Raised, Window

_AROUND = 60
"""Characters shown on each side of a token."""


@dataclass(frozen=True)
class InContext:
    """A token on one line, with what stands before and after it."""

    before: str
    token: str
    after: str


def in_context(explanation: "Explanation", position: int, around: int = _AROUND) -> InContext:
    """The token at a position, between at most `around` characters of the text on each side."""
    token, text = explanation.tokens[position], explanation.text
    before, after = text[max(0, token.start - around) : token.start], text[token.stop : token.stop + around]
    return InContext(label(before), shown_token(explanation, position), label(after))


def shown_token(explanation: "Explanation", position: int) -> str:
    """The characters of a token, spaces made visible."""
    return label(explanation.characters(position)).replace(" ", "␣")


def pieces_in(explanation: "Explanation", window: "Window") -> list[Piece]:
    """The characters of a window in pieces with their rises."""
    tokens = explanation.tokens[window.first : window.end]
    return pieces_of(
        explanation.text[window.start : window.stop],
        [(token.start - window.start, token.stop - window.start) for token in tokens],
        [math.nan if token.rise is None else token.rise for token in tokens],
    )


def write_explanation(
    out: str, explanation: "Explanation", about: Mapping[str, str], warnings: Sequence[str] = ()
) -> None:
    """Writes the page; `about` says what was explained, and how, in pairs."""
    page = render(
        "explanation.html",
        explanation=explanation,
        about=about,
        warnings=warnings,
        windows=[_Window(window, coloured(pieces_in(explanation, window))) for window in explanation.windows],
        raised=[_raised(explanation, raised) for raised in explanation.raised],
        most=max((head.rise for head in explanation.heads), default=0.0),
        alone=sum(head.rise for head in explanation.heads),
    )
    write_result(out, page.encode())


@dataclass(frozen=True)
class _Window:
    window: "Window"
    text: Markup


@dataclass(frozen=True)
class _Look:
    look: "Look"
    context: InContext | None
    """None for the BOS."""


@dataclass(frozen=True)
class _Head:
    head: "HeadAt"
    looks: tuple[_Look, ...]


@dataclass(frozen=True)
class _Raised:
    rise: float | None
    loss_base: float | None
    loss_ref: float | None
    context: InContext
    heads: tuple[_Head, ...]


def _raised(explanation: "Explanation", raised: "Raised") -> _Raised:
    token = explanation.tokens[raised.position]
    heads = [
        _Head(
            head,
            tuple(
                _Look(look, None if look.position is None else in_context(explanation, look.position, _AROUND // 3))
                for look in head.looks
            ),
        )
        for head in raised.heads
    ]
    return _Raised(token.rise, token.loss_base, token.loss_ref, in_context(explanation, raised.position), tuple(heads))
