"""Steps of real documents by the real model: copied sentences rise, and all add up."""

import pytest

from attention_influence import Scorer
from attention_influence.model.language_model import LanguageModel
from e2e.conftest import Detected

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

FACTS = "The red gate opens with vexolu. The old gate opens with brimsta."
TWICE = f"{FACTS} Nothing of this is known to anybody else. Once more, word by word. {FACTS}"


@pytest.fixture(scope="module")
def scorer(model: LanguageModel, detected: list[Detected]) -> Scorer:
    return Scorer(model, detected[0].heads, window=512)


def test_steps_of_real_documents_add_up(scorer: Scorer, documents: list[str]) -> None:
    some = [*documents[::8], "\n\n".join(documents[:6])]
    scores = scorer.score(some, granularity="step", steps=["sentence", "\n\n"])
    assert scores[-1].n_windows == 2
    for document, score in zip(some, scores, strict=True):
        assert score.steps is not None
        assert "".join(document[step.start : step.end] for step in score.steps) == document
        total = sum(step.n_scored * step.rise for step in score.steps if step.rise is not None)
        assert total == pytest.approx(score.n_scored * (score.loss_ref - score.loss_base), abs=1e-6)


def test_sentences_that_are_copied_rise_most(scorer: Scorer) -> None:
    (score,) = scorer.score([TWICE], granularity="step")
    assert score.steps is not None
    print("\n" + "\n".join(f"{step.rise:+.3f} {TWICE[step.start : step.end]!r}" for step in score.steps))
    assert len(score.steps) == 6
    highest = sorted(range(6), key=lambda i: -(score.steps[i].rise or 0))[:2]
    assert sorted(highest) == [4, 5]
