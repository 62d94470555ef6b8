"""What screening is expected to save, against what the same sizes of sample save of a known corpus."""

import random

import numpy as np
import pytest

from attention_influence.screening.features import Text, in_words
from attention_influence.screening.forecast import Forecast, forecast
from attention_influence.screening.guarantee import Promise
from attention_influence.screening.plan import Calibration, final_plan, provisional_plan
from attention_influence.screening.sample import Sample, fitted_of

PROMISE = Promise(0.2, 0.8, 0.8)
DOCUMENTS = 2000


def corpus(seed: int, copied: bool) -> tuple[list[Text], np.ndarray, np.ndarray]:
    """Texts, and an influence that follows from how much of each is a copy, or from nothing."""
    rng = random.Random(seed)
    texts, influence, tokens = [], [], []
    for _ in range(DOCUMENTS):
        share = rng.random()
        words = [f"w{rng.randrange(5000)}" for _ in range(40)]
        words += [words[rng.randrange(40)] if rng.random() < share else f"w{rng.randrange(5000)}" for _ in range(80)]
        texts.append(in_words(" ".join(words).encode()))
        influence.append(share + rng.gauss(0, 0.05) if copied else rng.random())
        tokens.append(rng.randrange(50, 200))
    return texts, np.array(influence), np.array(tokens)


def test_what_is_forecast_from_few_documents_is_about_what_a_sample_saves() -> None:
    texts, influence, tokens = corpus(0, copied=True)
    few = slice(200)
    said = forecast(PROMISE, 600, DOCUMENTS, texts[few], influence[few], tokens[few])
    saved = []
    for seed in range(3):
        drawn = np.random.default_rng(seed).permutation(DOCUMENTS)[:600]
        calibration = Calibration(
            [texts[i] for i in drawn], influence[drawn], tokens[drawn], np.arange(600) < fitted_of(600)
        )
        domains: dict[str, int] = {"d": DOCUMENTS}
        plan = provisional_plan(PROMISE, Sample(domains, {"d": 1}, {"d": 1}, 600), {"d": calibration})
        cut = plan.domains["d"].cut
        assert cut is not None
        above = plan.predict(["d"] * DOCUMENTS, texts) >= cut
        above[drawn] = True
        spared = final_plan(plan, {"d": calibration}, [("d", influence[above])]).domains["d"].saved_tokens
        assert spared is not None
        saved.append((1 - 600 / DOCUMENTS) * spared)
    assert said.spearman is not None
    assert said.spearman > 0.8
    assert said.spared_tokens == pytest.approx(np.mean(saved), abs=0.1)


def test_where_the_text_says_nothing_nothing_is_saved() -> None:
    texts, influence, tokens = corpus(1, copied=False)
    few = slice(200)
    said = forecast(Promise(), 600, DOCUMENTS, texts[few], influence[few], tokens[few])
    assert said.spared_tokens == 0
    assert said.why is not None
    assert "would save only" in said.why


@pytest.mark.parametrize(
    ("documents", "sampled", "calibration", "spared", "why"),
    [
        (1100, 60, 600, 0.0, "1,100 documents are too few for a sample of 600"),
        (9000, 60, 100, 0.0, "raise --calibration"),
        (9000, 49, 600, None, "49 sampled documents are too few to tell (50 are needed); raise --sample-tokens"),
    ],
)
def test_what_cannot_be_is_named(
    documents: int, sampled: int, calibration: int, spared: float | None, why: str
) -> None:
    texts, influence, tokens = (part[:sampled] for part in corpus(2, copied=True))
    said = forecast(Promise(), calibration, documents, texts, influence, tokens)
    assert isinstance(said, Forecast)
    assert said.spared_tokens == spared
    assert said.why is not None
    assert why in said.why
