"""Tokens coloured by the rise of their loss: the whole text is there, escaped, and the colours are the scorer's."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from attention_influence import Scorer
from attention_influence.report.sections.colours import coloured, token_rises
from attention_influence.report.visible import TEXT_LIMIT, visible
from scoring.tiny import HEADS, tiny


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(tiny().model, HEADS)


def without_tags(html: str) -> str:
    return re.sub(r"</?i[^>]*>", "", html)


@given(st.lists(st.tuples(st.text(max_size=5), st.floats(-9, 9) | st.just(float("nan"))), max_size=12))
def test_all_of_a_text_is_shown_escaped_whatever_its_colours(pieces):
    shown = str(coloured(pieces))
    # A line break of two characters, cut between two tokens, may be shown as two.
    if not any("\r" in text for text, _ in pieces):
        assert without_tags(shown) == "".join(str(escape(visible(text))) for text, _ in pieces)
    assert set(re.findall("<[^>]*>", shown)) <= {
        "</i>",
        *(f'<i class="l{level}">' for level in (0, 1, 3)),
        *re.findall(r'<i class="l[456]" title="\+\d+\.\d nats">', shown),
    }


def test_colours_rise_with_the_rise_of_the_loss_and_strong_ones_tell_it():
    pieces = [("a", -2.0), ("b", -0.5), ("c", 0.0), ("d", 0.5), ("e", 1.5), ("f", 3.0), ("g", 5.0)]
    assert str(coloured(pieces)) == (
        '<i class="l0">a</i><i class="l1">b</i>c<i class="l3">d</i><i class="l4" title="+1.5 nats">e</i>'
        '<i class="l5" title="+3.0 nats">f</i><i class="l6" title="+5.0 nats">g</i>'
    )


def test_pieces_are_the_text_and_their_mean_rise_is_that_of_the_score(scorer):
    text = "Réné said: 茶 <b>&amp;</b>\n" * 3
    (pieces,) = token_rises(scorer, [text])
    assert "".join(piece for piece, _ in pieces) == text
    (score,) = scorer.score([text], per_token=True)
    rises = score.token_losses.ref - score.token_losses.base
    assert np.nanmean(rises) == pytest.approx(score.loss_ref - score.loss_base, abs=1e-5)
    assert len(pieces) == len(text) < len(rises), "one token a byte"
    assert sum(rise for _, rise in pieces if rise == rise) == pytest.approx(np.nansum(rises), abs=1e-4)


def test_only_the_beginning_is_scored_and_its_losses_are_those_of_the_whole(scorer):
    text = "abc def ghi " * 400
    (pieces,) = token_rises(scorer, [text])
    assert "".join(piece for piece, _ in pieces) == text[:TEXT_LIMIT]


def test_what_cannot_be_scored_has_no_colours(scorer):
    assert token_rises(scorer, ["\ud800 broken", ""]) == [[], []]
