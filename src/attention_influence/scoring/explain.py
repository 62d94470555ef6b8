"""Why a document scores as it does: the rise of each token's loss, where the heads look, what each head does alone."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attention_influence.errors import UsageError
from attention_influence.heads.attended import attended
from attention_influence.heads.head_set import Head
from attention_influence.model.passes.trunk import Trunk, check_trunk
from attention_influence.model.windows import cut
from attention_influence.progress import progress
from attention_influence.scoring.document_score import DocumentScore
from attention_influence.scoring.scorer import Scorer

_LOOKS = 3

_NO_SCORE = {
    "null_text": "no text was given",
    "not_a_string": "what was given is not a text",
    "empty": "the text is empty; give one with words",
    "whitespace": "the text is nothing but white space; give one with words",
    "invalid_utf8": "the text is not valid UTF-8; convert it",
    "too_few_tokens": "the text is a single token, which nothing predicts; give a longer one",
    "too_long": "the text has more than {:,} tokens, the most that is scored; give a part of it",
    "out_of_memory": "the device has too little memory for a window of the text; use another, or a lower --window",
    "non_finite_loss": "the model's loss is not a finite number; try --dtype float32",
}
"""Reason why there is no score → what happened, and what to do."""


class Token(NamedTuple):
    """A token of the document; its losses in nats, None where it is not scored."""

    position: int
    id: int
    start: int
    """Its characters are [start, stop); tokens that are parts of one character all name the whole of it."""
    stop: int
    loss_base: float | None
    loss_ref: float | None
    rise: float | None
    """loss_ref − loss_base."""


class Window(NamedTuple):
    """Consecutive tokens of the document that see each other and no others."""

    first: int
    """Its tokens are [first, end)."""
    end: int
    start: int
    """Its characters are [start, stop)."""
    stop: int
    n_scored: int
    loss_base: float | None
    """Mean over its scored tokens, nats/token; None if it has none."""
    loss_ref: float | None
    rise: float | None
    """loss_ref − loss_base."""


class HeadEffect(NamedTuple):
    """What one head does alone."""

    layer: int
    head: int
    rise: float
    """Rise of the document's loss when this head alone is masked, nats/token."""


class Look(NamedTuple):
    """What a head attends to where it predicts a token."""

    position: int | None
    """Of the attended token; None for the BOS before the window."""
    weight: float
    """Share of the head's attention, with no head masked."""
    is_same: bool
    """Whether the attended token is the one that is predicted."""


class HeadAt(NamedTuple):
    """One head where a token is predicted."""

    layer: int
    head: int
    rise: float | None
    """Rise of the token's loss when this head alone is masked, nats; None if that was not asked for."""
    looks: tuple[Look, ...]
    """What it attends to most, the highest weight first."""


class Raised(NamedTuple):
    """A token whose loss rises."""

    position: int
    heads: tuple[HeadAt, ...]
    """By their own rise, or without one by the weight of what they attend to most; the highest first."""


@dataclass(frozen=True)
class Explanation:
    """One document's score in its parts (influence: paper, eq. 5).

    The mean of the scored tokens' rises is the rise of the document's loss, and so is the mean of the windows' rises
    weighted by their `n_scored`. Rises of heads masked alone do not add up to it: one head may stand in for another.
    """

    text: str
    score: DocumentScore
    tokens: tuple[Token, ...]
    windows: tuple[Window, ...]
    raised: tuple[Raised, ...]
    """Tokens whose loss rises most, the highest rise first."""
    heads: tuple[HeadEffect, ...]
    """The highest rise first; empty if it was not asked for."""

    @property
    def rise(self) -> float:
        """loss_ref − loss_base of the document, nats/token."""
        assert self.score.loss_ref is not None
        assert self.score.loss_base is not None
        return self.score.loss_ref - self.score.loss_base

    def characters(self, position: int) -> str:
        """What the token at a position stands for in the text."""
        return self.text[self.tokens[position].start : self.tokens[position].stop]

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON; tokens are named by their position, and shown as `text`."""
        score = self.score.to_dict()
        score.pop("token_losses", None)
        return {
            "score": score | {"rise": self.rise},
            "windows": [window._asdict() for window in self.windows],
            "heads": [head._asdict() for head in self.heads],
            "raised": [
                self._named(raised)
                | {"heads": [head._asdict() | {"looks": list(map(self._named, head.looks))} for head in raised.heads]}
                for raised in self.raised
            ],
            "tokens": [self._named(token) for token in self.tokens],
        }

    def _named(self, one: Token | Look | Raised) -> dict[str, Any]:
        text = None if one.position is None else self.characters(one.position)
        return {"position": one.position, "text": text} | one._asdict()


def explain(scorer: Scorer, text: str, *, most: int = 5, each_head: bool = True) -> Explanation:
    """The score of one text in its parts; `most` tokens are shown with where the heads look.

    With `each_head`, every head is also masked alone, in a pass from its layer on. Raises UsageError for a text that
    has no score, saying why, and ModelError for a model whose passes cannot begin at a layer, unless `each_head` is
    False.
    """
    (prepared,) = scorer.prepare([text])
    n_tokens = len(prepared.tokens)
    passes = 1 + each_head * (1 + sum(1 - layer / len(scorer.model.layers) for layer, _ in scorer.heads))
    with progress("explaining", passes * n_tokens, "tokens") as advance:
        (score,) = scorer.score_prepared([prepared], per_token=True, progress=advance)
        if score.reason is not None:
            raise UsageError(_NO_SCORE[score.reason].format(scorer.max_document_tokens))
        rises_of = _rises_alone(scorer, scorer.windows(prepared.tokens), advance) if each_head else {}
    tokens = _tokens(scorer, prepared.text, score)
    parts = cut(n_tokens, scorer.window, scorer.model.tokens.bos is not None)
    raised = sorted((token for token in tokens if (token.rise or 0) > 0), key=lambda token: -(token.rise or 0))[:most]
    effects = [HeadEffect(*head, float(np.nanmean(rises, dtype=np.float64))) for head, rises in rises_of.items()]
    return Explanation(
        prepared.text,
        score,
        tokens,
        tuple(_windows(prepared.text, tokens, parts)),
        _heads_at(scorer, tokens, parts, [token.position for token in raised], rises_of),
        tuple(sorted(effects, key=lambda effect: -effect.rise)),
    )


def _tokens(scorer: Scorer, text: str, score: DocumentScore) -> tuple[Token, ...]:
    losses = score.token_losses
    assert losses is not None
    ids, offsets = scorer.model.tokens.encode_with_offsets(text)
    tokens = []
    for position, (token, span) in enumerate(zip(ids, offsets, strict=True)):
        base, ref = float(losses.base[position]), float(losses.ref[position])
        known = (None, None, None) if math.isnan(base) else (base, ref, ref - base)
        tokens.append(Token(position, token, *span, *known))
    return tuple(tokens)


def _windows(text: str, tokens: Sequence[Token], parts: Sequence[range]) -> Iterator[Window]:
    start = 0
    for part in parts:
        inside = tokens[part.start : part.stop]
        losses = [(t.loss_base, t.loss_ref) for t in inside if t.loss_base is not None and t.loss_ref is not None]
        stop = len(text) if part is parts[-1] else max([start, *(t.stop for t in inside)])
        means: tuple[float | None, float | None, float | None] = (None, None, None)
        if losses:
            base, ref = (float(mean) for mean in np.mean(losses, axis=0))
            means = (base, ref, ref - base)
        yield Window(part.start, part.stop, start, stop, len(losses), *means)
        start = stop


def _rises_alone(
    scorer: Scorer, windows: Sequence[Sequence[int]], advance: Callable[[float], None]
) -> dict[Head, NDArray[np.float32]]:
    """Head → the rise of each token's loss when it alone is masked, nats; NaN where the token is not scored."""
    model = scorer.model
    check_trunk(model, windows[0])
    has_bos = model.tokens.bos is not None
    rises: dict[Head, list[NDArray[np.float32]]] = defaultdict(list)
    for window in windows:
        trunk = Trunk(model, [window])
        (base_1N,) = scorer.losses_of(trunk.output, [window])
        advance(len(window))
        for layer, head in scorer.heads:
            (ref_1N,) = scorer.losses_of(trunk.branch(layer, [[head]]), [window])
            unscored = np.full(0 if has_bos else 1, np.nan, dtype=np.float32)
            rises[layer, head] += [unscored, ref_1N[0] - base_1N[0]]
            advance(len(window) * (1 - layer / len(model.layers)))
    return {head: np.concatenate(parts) for head, parts in rises.items()}


def _heads_at(
    scorer: Scorer,
    tokens: Sequence[Token],
    parts: Sequence[range],
    positions: Sequence[int],
    rises_of: Mapping[Head, NDArray[np.float32]],
) -> tuple[Raised, ...]:
    """The heads where the tokens at the given positions are predicted, from a pass over each window that has some."""
    windows = scorer.windows([token.id for token in tokens])
    has_bos = scorer.model.tokens.bos is not None
    found: dict[int, list[HeadAt]] = defaultdict(list)
    for part, window in zip(parts, windows, strict=True):
        here = [position for position in positions if position in part]
        if not here:
            continue
        # A token is predicted from the position before it.
        at = [position - part.start + has_bos - 1 for position in here]
        for head, looks_of in attended(scorer.model, window, at, scorer.masked, _LOOKS).items():
            for position, looks in zip(here, looks_of, strict=True):
                seen = tuple(
                    Look(part.start + place, weight, tokens[part.start + place].id == tokens[position].id)
                    if (place := index - has_bos) >= 0
                    else Look(None, weight, False)
                    for index, weight in looks
                )
                rise = float(rises_of[head][position]) if head in rises_of else None
                found[position].append(HeadAt(*head, rise, seen))

    def first(head: HeadAt) -> float:
        return -(head.looks[0].weight if head.rise is None else head.rise)

    return tuple(Raised(position, tuple(sorted(found[position], key=first))) for position in positions)
