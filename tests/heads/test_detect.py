"""Detection finds the copying head of a model whose weights are set by hand."""

import dataclasses
import itertools
import math
import random

import pytest
import torch

from attention_influence.errors import ProbeError
from attention_influence.heads import settling
from attention_influence.heads.detect import detect_heads, find_sentences, make_probes, score_probe
from attention_influence.heads.head_set import load_heads
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.self_test import self_test
from heads.copying_model import COPYING, DUPLICATES, TEXT, WORDS, copying_model
from tiny_models import tiny

CONTEXT = 256
TIDES = " ".join(f"The {a}{b} tide rose by it." for a in "abcdefgh" for b in "uvwxyz")


@pytest.fixture(scope="module")
def copying() -> LanguageModel:
    return copying_model()


@pytest.fixture(scope="module")
def untrained() -> LanguageModel:
    return tiny("gemma3_text", max_position_embeddings=1024).model


def test_the_copying_head_is_ranked_first_and_distractors_score_nothing(copying: LanguageModel) -> None:
    found = detect_heads(copying, [TEXT], samples=6, context=CONTEXT, share=0.125)
    assert found.heads == (COPYING,)
    assert found.scores is not None
    scores = {(layer, head): s for layer, row in enumerate(found.scores) for head, s in enumerate(row) if s is not None}
    # All but the answer's first token, before which there is only the key.
    assert scores.pop(COPYING) == pytest.approx(8 / 9, abs=1e-6)
    assert len(scores) == 7
    assert max(scores.values()) < 0.2
    assert found.probe_accuracy == pytest.approx(8 / 9, abs=1e-6)


def test_an_input_that_the_model_cannot_read_is_named(copying: LanguageModel) -> None:
    # The same few words in every order, so that the word before does not tell which comes next.
    draw = random.Random(0).choices
    foreign = " ".join(f"X {' '.join(draw(WORDS[:3], k=9))}." for _ in range(60))
    found = detect_heads(copying, {"known": [TEXT], "foreign": [foreign]}, samples=12, context=CONTEXT)
    known, other = found.probe_texts["known"], found.probe_texts["foreign"]
    assert known["accuracy"] == pytest.approx(8 / 9)
    assert other["accuracy"] is not None
    assert other["accuracy"] < 0.5
    assert known["probes"] == other["probes"] == 6, "in turn, however many sentences each has"
    assert found.probe_accuracy == pytest.approx((8 / 9 + other["accuracy"]) / 2)
    [warning] = [warning for warning in found.warnings() if "foreign" in warning]
    assert f"the model fails the retrieval task on foreign: {other['accuracy']:.0%} of the answer tokens" in warning
    assert not [warning for warning in found.warnings() if "known:" in warning]


def test_masking_the_copying_head_ends_the_copying(copying: LanguageModel) -> None:
    probe = next(make_probes(copying, find_sentences(copying, [TEXT], 0)[0], CONTEXT, seed=0))
    assert score_probe(copying, probe)[1] == pytest.approx(8 / 9)
    assert score_probe(copying, probe, masked={COPYING[0]: [COPYING[1]]})[1] < 0.3
    assert score_probe(copying, probe, masked={layer: [head] for layer, head in DUPLICATES})[1] == pytest.approx(8 / 9)


def test_the_self_test_passes_on_the_copying_model(copying: LanguageModel) -> None:
    found = self_test(copying, {COPYING[0]: [COPYING[1]]}, 512)
    assert found.packing


def test_the_set_found_is_written_and_read_back(copying: LanguageModel, tmp_path: object) -> None:
    found = detect_heads(copying, [TEXT], samples=3, context=CONTEXT)
    found.save(f"{tmp_path}/heads.json")
    again = load_heads(f"{tmp_path}/heads.json")
    assert again == found
    assert again.model == dataclasses.asdict(copying.identity)
    assert again.parameters == {
        "samples": 3,
        "context": CONTEXT,
        "share": 0.05,
        "where": "needle",
        "until_stable": False,
    }
    assert len(again) == 1, "ceil(0.05 × 8)"


def test_detection_is_the_same_for_the_same_seed(untrained: LanguageModel) -> None:
    once, again, other = (
        detect_heads(untrained, [TIDES], samples=4, context=700, seed=s, where="anywhere").scores for s in (5, 5, 6)
    )
    assert once == again
    assert once != other


def test_the_standard_error_is_that_of_the_mean_over_samples(untrained: LanguageModel) -> None:
    probes = itertools.islice(make_probes(untrained, find_sentences(untrained, [TIDES], 0)[0], 700, seed=0), 4)
    scores = torch.tensor([score_probe(untrained, p, "anywhere")[0].tolist() for p in probes], dtype=torch.float64)
    found = detect_heads(untrained, [TIDES], samples=4, context=700, where="anywhere")
    torch.testing.assert_close(torch.tensor(found.scores).double(), scores.mean(0), rtol=0, atol=1e-6)
    error = scores.std(0) / math.sqrt(4)
    torch.testing.assert_close(torch.tensor(found.standard_errors).double(), error, rtol=0, atol=1e-6)
    assert error.max() > 0


def test_one_sample_has_no_standard_error_and_can_be_saved(copying: LanguageModel, tmp_path: object) -> None:
    found = detect_heads(copying, [TEXT], samples=1, context=CONTEXT)
    assert found.standard_errors == [[None] * 4] * 2
    found.save(f"{tmp_path}/one.json")
    assert load_heads(f"{tmp_path}/one.json") == found


def test_until_stable_stops_when_the_set_has_settled(copying: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settling, "_CHECK_EVERY", 2)
    seen: list[tuple[int, int]] = []
    found = detect_heads(
        copying,
        [TEXT],
        samples=50,
        context=CONTEXT,
        until_stable=True,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found.n_samples == 10, "the first check, and four that agree with it"
    assert seen == [(i, 50) for i in range(1, 11)]


def test_layers_without_attention_have_no_score() -> None:
    model = tiny("lfm2", max_position_embeddings=1024).model
    found = detect_heads(model, [TIDES], samples=1, context=700, share=1.0)
    assert found.scores is not None
    assert [[s is None for s in row] for row in found.scores] == [[True] * 4, [False] * 4] * 2
    assert {layer for layer, _ in found.heads} == {1, 3}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"context": 1024}, "longer than the context of copying, 512; give --context 512"),
        ({"samples": 0}, "at least one sample"),
        ({"share": 0.0}, "0 < share"),
        ({"share": 1.1}, "0 < share"),
        ({"context": 40}, "too short .* raise --context"),
        ({"context": 512, "texts": " ".join(TEXT.split()[:80])}, "10 sentences do not fill .* --sentences"),
        ({"context": 512, "texts": " ".join(TEXT.split()[:24])}, "3 sentences .* --sentences"),
        ({"texts": "Too short. no."}, "no natural sentence .* --sentences"),
        ({"texts": ""}, "no natural sentence"),
    ],
)
def test_what_cannot_be_asked_is_said(copying: LanguageModel, asked: dict[str, object], said: str) -> None:
    texts = [str(asked.pop("texts", TEXT))]
    with pytest.raises(ProbeError, match=said):
        detect_heads(copying, texts, **{"samples": 1, "context": CONTEXT, **asked})
