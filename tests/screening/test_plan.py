import random

import numpy as np
import pytest

from attention_influence.errors import StoreError
from attention_influence.screening.array_files import arrays_to_bytes
from attention_influence.screening.features import in_words
from attention_influence.screening.guarantee import Promise, smallest_sample
from attention_influence.screening.plan import Calibration, final_plan, plan_from_bytes, provisional_plan
from attention_influence.screening.predictor import fit_predictor
from attention_influence.screening.sample import Sample

PROMISE = Promise(top=0.3, keep_recall=0.8, confidence=0.8)


def calibration(n: int, noise: float, seed: int = 0) -> Calibration:
    """Documents whose influence is how often they repeat a sentence, and noise."""
    rng = random.Random(seed)
    repeats = [rng.randint(0, 9) for _ in range(n)]
    words = [" ".join(rng.choices(["one", "two", "three", "four", "five", "six"], k=30)) for _ in range(n)]
    contents = [
        f"{text} " + "what is said again and again; " * times for text, times in zip(words, repeats, strict=True)
    ]
    influence = np.array([0.1 * times + noise * rng.gauss(0, 1) for times in repeats])
    tokens = np.array([len(content) // 4 for content in contents])
    return Calibration([in_words(text.encode()) for text in contents], influence, tokens, np.arange(n) % 2 == 0)


def sample(**documents: int) -> Sample:
    return Sample(documents, dict.fromkeys(documents, 2), dict.fromkeys(documents, 1), 200)


def test_a_domain_that_can_be_predicted_is_screened_and_the_plan_outlives_a_file() -> None:
    plan = provisional_plan(PROMISE, sample(web=5000), {"web": calibration(200, 0.02)})
    web = plan.domains["web"]
    assert (web.fitted, web.chose, web.refused) == (100, 100, None)
    assert web.spearman is not None
    assert web.spearman > 0.9
    assert web.saved_tokens is not None
    assert web.saved_tokens > 0.2
    assert web.cut is not None
    texts, influence = calibration(200, 0.02).chose()
    lost = plan.predict(["web"] * 30, [texts[i] for i in np.argsort(-influence, kind="stable")[:30]]) < web.cut
    assert web.recall == pytest.approx(1 - (1 - 200 / 5000) * lost.mean())
    content = plan.to_bytes()
    again = plan_from_bytes(content, "file")
    assert again.to_bytes() == content
    others = calibration(50, 0.02, seed=1).texts
    assert np.array_equal(again.predict(["web"] * 50, others), plan.predict(["web"] * 50, others))


def test_the_final_plan_lowers_cuts_that_do_not_hold_and_no_others() -> None:
    """A corpus of which only the sample was scored by the provisional plan: nothing above the cut is in the top."""
    of = calibration(200, 0.02)
    begun = provisional_plan(PROMISE, sample(web=5000), {"web": of})
    kept = final_plan(begun, {"web": of}, [("web", np.full(1500, 99.0)), ("web", of.influence), ("other", np.ones(3))])
    assert kept.to_bytes() == begun.to_bytes()
    lowered = final_plan(begun, {"web": of}, [("web", of.influence)])
    before, after = begun.domains["web"], lowered.domains["web"]
    assert before.cut is not None
    assert after.cut is None or after.cut < before.cut
    assert after.saved_tokens is not None
    assert before.saved_tokens is not None
    assert after.saved_tokens < before.saved_tokens


def test_predictions_are_of_each_documents_own_domain() -> None:
    calibrations = {"web": calibration(200, 0.02), "code": calibration(200, 0.02, seed=2)}
    plan = provisional_plan(PROMISE, sample(web=5000, code=5000, other=9), calibrations)
    texts = calibration(10, 0.0, seed=3).texts
    mixed = plan.predict(["web", "code", "other"] * 3 + ["web"], texts)
    web, code = (plan.predict([name] * 10, texts) for name in ("web", "code"))
    assert np.array_equal(mixed[0::3], web[0::3])
    assert np.array_equal(mixed[1::3], code[1::3])
    assert np.isnan(mixed[2::3]).all()
    assert all(plan.is_kept("other", float(value)) for value in mixed[2::3])


@pytest.mark.parametrize(
    ("documents", "of", "why"),
    [
        (5000, calibration(200, 100.0), "it would save only"),
        (5000, calibration(2 * smallest_sample(5000, 17, PROMISE) - 2, 0.02), "are needed; raise --calibration"),
        (5000, calibration(30, 0.02), "too few to fit"),
        (150, None, "its 150 documents are too few for a sample"),
    ],
)
def test_screening_is_refused_with_its_reason(documents: int, of: Calibration | None, why: str) -> None:
    plan = provisional_plan(PROMISE, sample(web=documents), {} if of is None else {"web": of})
    refused = plan.domains["web"].refused
    assert refused is not None
    assert why in refused
    assert plan.domains["web"].cut is None
    assert not plan.predictors
    assert plan.is_kept("web", -1e9)


def test_a_file_that_is_damaged_or_of_another_kind_is_named() -> None:
    content = provisional_plan(PROMISE, sample(web=5000), {"web": calibration(200, 0.02)}).to_bytes()
    for damaged in (b"", content[:100], content[:-1], b"PAR1" * 10):
        with pytest.raises(StoreError, match=r"store/screening\.safetensors is damaged"):
            plan_from_bytes(damaged, "store/screening.safetensors")
    with pytest.raises(StoreError, match="file is no plan of screening"):
        plan_from_bytes(arrays_to_bytes({"x": np.zeros(2)}, {"other": 1}), "file")


def test_of_fewer_than_twenty_documents_nothing_is_predicted() -> None:
    few = calibration(19, 0.0)
    assert fit_predictor(few.texts, few.influence) is None
