"""An explanation is the score in its parts: they add up, and each is what plain passes give."""

import json

import numpy as np
import pytest

from attention_influence import Scorer
from attention_influence.errors import UsageError
from attention_influence.scoring.explain import Explanation, explain
from scoring.tiny import CONTEXT, FAMILIES, HEADS, slow_losses, text, tiny
from tiny_models import Tiny

EXACT = 1e-5
UNICODE = "Réné said: 茶 <b>&amp;</b>\r\n\u202e"


@pytest.fixture(scope="module")
def made() -> Tiny:
    return tiny()


@pytest.fixture(scope="module")
def scorer(made: Tiny) -> Scorer:
    return Scorer(made.model, HEADS)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [2, CONTEXT - 1, 3 * CONTEXT + 7])
def test_tokens_and_windows_add_up_to_the_score(family: str, bos: bool, length: int) -> None:
    scorer = Scorer(tiny(family, bos).model, HEADS)
    document = text(length)
    explanation = explain(scorer, document, each_head=False)
    (score,) = scorer.score([document])
    assert explanation.score.influence == pytest.approx(score.influence, abs=EXACT)
    assert explanation.rise == pytest.approx(score.loss_ref - score.loss_base, abs=EXACT)
    rises = [token.rise for token in explanation.tokens if token.rise is not None]
    assert len(rises) == score.n_scored
    assert np.mean(rises) == pytest.approx(explanation.rise, abs=1e-12)
    scored = [window for window in explanation.windows if window.n_scored]
    weights = [window.n_scored for window in scored]
    assert len(explanation.windows) == score.n_windows
    assert sum(weights) == score.n_scored
    for name in ("loss_base", "loss_ref"):
        mean = np.average([getattr(window, name) for window in scored], weights=weights)
        assert mean == pytest.approx(getattr(score, name), abs=EXACT)


@pytest.mark.parametrize("bos", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_head_alone_does_what_two_plain_passes_say(family: str, bos: bool) -> None:
    made = tiny(family, bos)
    document = text(2 * CONTEXT)
    explanation = explain(Scorer(made.model, HEADS), document)
    assert sorted((head.layer, head.head) for head in explanation.heads) == sorted(HEADS)
    ids = made.model.tokens.encode([document])[0]
    for head in explanation.heads:
        base, ref = slow_losses(made.untouched, ids, CONTEXT, bos, [(head.layer, head.head)])
        assert head.rise == pytest.approx(ref - base, abs=EXACT)
    rises = [head.rise for head in explanation.heads]
    assert rises == sorted(rises, reverse=True)
    assert max(map(abs, rises)) > 100 * EXACT, "the heads do not matter, so nothing is tested"


def test_the_tokens_shown_are_those_that_rise_most(scorer: Scorer) -> None:
    explanation = explain(scorer, text(3 * CONTEXT), most=7)
    rises = [token.rise for token in explanation.tokens]
    shown = [rises[raised.position] for raised in explanation.raised]
    assert shown == sorted((rise for rise in rises if rise is not None), reverse=True)[:7]
    for raised in explanation.raised:
        window = next(one for one in explanation.windows if one.first <= raised.position < one.end)
        assert {(head.layer, head.head) for head in raised.heads} == set(HEADS)
        alone = [head.rise for head in raised.heads]
        assert alone == sorted(alone, reverse=True)
        for head in raised.heads:
            for look in head.looks:
                same = look.position is not None and (
                    explanation.tokens[look.position].id == explanation.tokens[raised.position].id
                )
                assert look.is_same == same
                assert look.position is None or window.first <= look.position < raised.position


def test_a_tokens_rise_with_one_head_masked_adds_up_to_what_that_head_does(made: Tiny) -> None:
    scorer = Scorer(made.model, HEADS[:1])
    explanation = explain(scorer, text(40), most=40)
    for raised in explanation.raised:
        (head,) = raised.heads
        assert head.rise == pytest.approx(explanation.tokens[raised.position].rise, abs=EXACT)
    assert explanation.heads[0].rise == pytest.approx(explanation.rise, abs=EXACT)


def test_heads_alone_are_left_out_when_not_asked_for(scorer: Scorer) -> None:
    explanation = explain(scorer, text(40), each_head=False)
    assert explanation.heads == ()
    assert explanation.raised
    for raised in explanation.raised:
        assert all(head.rise is None for head in raised.heads)
        weights = [head.looks[0].weight for head in raised.heads]
        assert weights == sorted(weights, reverse=True)


@pytest.mark.parametrize("bos", [True, False])
def test_every_character_belongs_to_one_window_and_tokens_name_their_characters(bos: bool) -> None:
    scorer = Scorer(tiny(bos=bos).model, HEADS)
    document = UNICODE * 9
    explanation = explain(scorer, document, most=3)
    assert "".join(document[window.start : window.stop] for window in explanation.windows) == document
    assert len(explanation.windows) > 1
    for token in explanation.tokens:
        assert len(explanation.characters(token.position)) == 1, "one token a byte"
    data = json.loads(json.dumps(explanation.to_dict(), allow_nan=False))
    assert "".join(token["text"] for token in data["tokens"] if len(token["text"].encode()) == 1) == "".join(
        character for character in document if len(character.encode()) == 1
    )
    assert [raised["text"] for raised in data["raised"]] == [
        explanation.characters(raised.position) for raised in explanation.raised
    ]


def test_a_text_with_no_rise_has_no_raised_tokens(scorer: Scorer) -> None:
    """The first position sees only itself, whatever the heads do."""
    explanation = explain(Scorer(tiny(bos=False).model, HEADS), "ab")
    assert isinstance(explanation, Explanation)
    assert [token.rise for token in explanation.tokens] == [None, 0.0]
    assert explanation.raised == ()


@pytest.mark.parametrize(
    ("document", "what"),
    [
        ("", "is empty"),
        (" \n\t", "white space"),
        ("\ud800", "not valid UTF-8"),
        (None, "no text was given"),
        (3, "is not a text"),
        ("a" * 100, "more than 50 tokens"),
    ],
)
def test_what_has_no_score_is_one_error_that_says_why(made: Tiny, document: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        explain(Scorer(made.model, HEADS, max_document_tokens=50), document)


def test_a_single_token_has_nothing_to_explain() -> None:
    with pytest.raises(UsageError, match="single token"):
        explain(Scorer(tiny(bos=False).model, HEADS), "a")
