"""Explanations of real documents by the real model: the scorer's score, which comes from copied words."""

import numpy as np
import pytest

from attention_influence import Scorer
from attention_influence.model.language_model import LanguageModel
from attention_influence.scoring.explain import Explanation, explain
from e2e.conftest import Detected

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

_CODES = {"red": "vexolu", "old": "brimsta", "blue": "quandor", "iron": "felmix"}
_LIST = "; ".join(f"the {gate} gate opens with {code}" for gate, code in _CODES.items())
COPIED = f"Note this down. {_LIST}. Now the same once more, word by word: {_LIST}."


@pytest.fixture(scope="module")
def scorer(model: LanguageModel, detected: list[Detected]) -> Scorer:
    return Scorer(model, detected[0].heads, window=512)


@pytest.fixture(scope="module")
def copied(scorer: Scorer) -> Explanation:
    return explain(scorer, COPIED, most=16)


def test_losses_are_those_of_the_scorer_and_tokens_add_up(scorer: Scorer, documents: list[str]) -> None:
    for document in documents[::10]:
        explanation = explain(scorer, document, each_head=False)
        (score,) = scorer.score([document])
        assert explanation.score.influence == pytest.approx(score.influence, abs=1e-6)
        rises = [token.rise for token in explanation.tokens if token.rise is not None]
        assert np.mean(rises) == pytest.approx(explanation.rise, abs=1e-9)


def test_what_rises_most_are_words_that_are_copied(copied: Explanation) -> None:
    again = COPIED.index("Now the same")
    shown = [(copied.characters(raised.position), copied.tokens[raised.position]) for raised in copied.raised]
    print("\n" + ", ".join(f"{text!r} {token.rise:+.1f} at {token.start}" for text, token in shown))
    assert np.mean([token.start > again for _, token in shown]) >= 0.75
    assert copied.rise > 0


def test_heads_look_at_the_first_occurrence_of_what_is_copied(copied: Explanation) -> None:
    again = COPIED.index("Now the same")
    repeated = [raised for raised in copied.raised if copied.tokens[raised.position].start > again]
    # A head at a time may rest: one that looks at the token to be copied is enough.
    looked = [any(head.looks[0].is_same for head in raised.heads) for raised in repeated]
    assert repeated
    assert np.mean(looked) >= 0.75
