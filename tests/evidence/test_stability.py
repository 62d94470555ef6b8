"""Stability of the head set and the sweep over shares, against sets, scipy and single scorers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

from annotated_stores import write_lines
from attention_influence import Scorer
from attention_influence.commands import stability as command
from attention_influence.config import StabilityConfig
from attention_influence.errors import UsageError
from attention_influence.evidence.share_sweep import SHARES, agreements, sweep_shares
from attention_influence.evidence.stability import ProbeRun, certainty, compare_runs, run_probes, split_halves
from attention_influence.heads.detect import Detection, detect_heads
from attention_influence.heads.head_set import as_matrix
from attention_influence.model.language_model import LanguageModel
from heads.copying_model import COPYING, TEXT, copying_model
from tiny_models import tiny

ASKED = Detection(samples=4, context=256, share=0.125)


@pytest.fixture(scope="module")
def copying() -> LanguageModel:
    return copying_model()


def noisy(probes: int, noise: float, seed: int = 0) -> ProbeRun:
    """5 × 4 heads with rising scores, heads 2 and 3 of layer 3 missing."""
    rng = np.random.default_rng(seed)
    scores = np.arange(20.0).reshape(5, 4) / 20 + noise * rng.normal(size=(probes, 5, 4))
    scores[:, 3, 2:] = np.nan
    return ProbeRun(scores, np.full(probes, 0.75))


def test_the_reference_run_is_what_detect_finds(copying: LanguageModel) -> None:
    run = run_probes(copying, [TEXT], ASKED)
    found = detect_heads(copying, [TEXT], samples=4, context=256, share=0.125)
    assert tuple(run.chosen(0.125)) == found.heads
    assert as_matrix(run.scores_NLH.mean(0)) == found.scores
    assert as_matrix(run.standard_error()) == found.standard_errors
    assert run.accuracy_N.mean() == found.probe_accuracy


def test_a_model_that_really_copies_has_a_stable_set(copying: LanguageModel) -> None:
    reference = run_probes(copying, [TEXT], ASKED)
    for changed in (Detection(4, 256, 0.125, seed=5), Detection(4, 400, 0.125)):
        found = compare_runs("changed", "x", run_probes(copying, [TEXT], changed), reference, 0.125)
        assert (found.overlap.share, found.overlap.chance) == (1.0, 1 / 8)
        assert found.enter == found.leave == ()
    halves = split_halves(reference, 0.125, seed=0)
    assert halves is not None
    assert (halves.probes, halves.overlap, halves.overlap_range) == (2, 1.0, (1.0, 1.0))
    assert certainty(reference, 0.125, seed=0).chosen_share == {COPYING: 1.0}


def test_a_comparison_is_that_of_sets_and_of_scipy() -> None:
    one, other = noisy(3, 1.0, 1), noisy(5, 1.0, 2)
    found = compare_runs("seed", "1", one, other, 0.3)
    here, there = set(one.chosen(0.3)), set(other.chosen(0.3))
    assert len(here) == math.ceil(0.3 * 18)
    assert found.overlap.share == len(here & there) / len(here)
    assert set(found.enter) == here - there
    assert set(found.leave) == there - here
    assert found.enter
    flat = [run.scores_NLH.mean(0).ravel() for run in (one, other)]
    known = ~np.isnan(flat[0])
    assert found.spearman == pytest.approx(spearmanr(flat[0][known], flat[1][known]).statistic)


def test_halves_and_draws_tell_little_noise_from_much() -> None:
    calm, wild = noisy(20, 0.01), noisy(20, 5.0)
    steady, shaky = (split_halves(run, 0.2, 0) for run in (calm, wild))
    assert steady is not None
    assert shaky is not None
    assert steady.spearman > 0.99 > 0.5 > shaky.spearman
    assert steady.overlap > 0.95 > 0.7 > shaky.overlap
    assert certainty(calm, 0.2, 0).sure == 4
    unsure = certainty(wild, 0.2, 0)
    assert unsure.sure < 4 < len(unsure.chosen_share)
    assert sum(unsure.chosen_share.values()) == pytest.approx(4)
    assert split_halves(noisy(1, 1.0), 0.2, 0) is None


def test_shares_are_scored_as_single_scorers_score_them() -> None:
    model = tiny("llama").model
    rng = np.random.default_rng(0)
    scores = [[float(x) for x in row] for row in rng.random((4, 4))]
    documents = [("ab"[n % 2], "the tide rose " * (3 + n) + f"to {n} feet") for n in range(12)]
    told: list[int] = []
    swept = sweep_shares(model, scores, documents, 0.05, 0, told.append)
    assert [one.share for one in swept] == list(SHARES)
    assert sum(told) == sum(map(len, model.tokens.encode([text for _, text in documents]))) * len(SHARES)
    ranked = sorted(((layer, head) for layer in range(4) for head in range(4)), key=lambda h: -scores[h[0]][h[1]])
    influence = {}
    for one in swept:
        heads = ranked[: math.ceil(one.share * 16)]
        assert one.heads == len(heads)
        assert one.fork_layer == min(layer for layer, _ in heads)
        assert one.passes == 1 + (4 - one.fork_layer) / 4
        influence[one.share] = np.array([s.influence for s in Scorer(model, heads).score([t for _, t in documents])])
    for one in swept:
        for of_domain in one.domains:
            here = np.array([domain == of_domain.domain for domain, _ in documents])
            expected = spearmanr(influence[one.share][here], influence[0.05][here]).statistic
            assert of_domain.spearman == pytest.approx(expected)
            assert of_domain.documents == 6


def test_equal_scores_agree_wholly_and_documents_without_a_score_are_left_out() -> None:
    values = np.array([0.1, 0.5, np.nan, *np.arange(1.0, 19.0)])
    [found] = agreements(["a"] * 21, values, values, 0)
    assert (found.documents, found.top.share) == (20, 1.0)
    assert [found.spearman, *(found.spearman_interval or ())] == pytest.approx([1.0] * 3)
    assert found.top_interval == (1.0, 1.0)


def test_a_handful_of_documents_has_no_interval() -> None:
    values = np.arange(9.0)
    [found] = agreements(["a"] * 9, values, -values, 0)
    assert found.spearman == pytest.approx(-1.0)
    assert found.spearman_interval is found.top_interval is None


@pytest.mark.slow
def test_the_interval_holds_the_true_correlation_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covariance = [[1.0, 0.7], [0.7, 1.0]]
    true = 6 / math.pi * math.asin(0.7 / 2)
    inside = 0
    for seed in range(25):
        a, b = rng.multivariate_normal([0, 0], covariance, size=80).T
        [found] = agreements(["a"] * 80, a, b, seed)
        assert found.spearman_interval is not None
        inside += found.spearman_interval[0] <= true <= found.spearman_interval[1]
    assert inside >= 20


def test_the_command_reports_what_it_runs_and_what_it_leaves_out(
    copying: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copying model has no files of its own, so it is handed over in place of a loaded one."""
    monkeypatch.setattr(command, "load", lambda *arguments: copying)
    half = len(TEXT) // 2 + TEXT[len(TEXT) // 2 :].index(".") + 1
    one = write_lines(tmp_path / "one.jsonl", [{"text": TEXT[:half]}])
    two = write_lines(tmp_path / "two.jsonl", [{"text": TEXT[half:]}])
    few = write_lines(tmp_path / "few.jsonl", [{"text": "Too few."}])
    config = StabilityConfig(
        model="copying",
        sentences=(str(one), str(two), str(few)),
        out=str(tmp_path / "stability.json"),
        samples=2,
        contexts="256,300,4096",
        seeds=2,
        share=0.125,
        corpus=(str(one), str(two)),
        sample_tokens=500,
    )
    result = command.stability(config)
    data = json.loads((tmp_path / "stability.json").read_text())
    assert data == json.loads(json.dumps(result.data))
    assert data["reference"]["heads"] == [list(COPYING)]
    kinds = [(v["kind"], v["name"]) for v in data["variations"]]
    expected = [
        ("seed", "1"),
        ("seed", "2"),
        ("probe corpus", str(one)),
        ("probe corpus", str(two)),
        ("context", "256"),
    ]
    assert kinds == expected
    assert all(v["overlap"] == 1.0 and v["chance"] == 1 / 8 for v in data["variations"])
    assert any("4,096 left out" in note for note in data["notes"])
    assert any(str(few) in note and "left out" in note for note in data["notes"])
    assert {share["share"] for share in data["shares"]} == {*SHARES, 0.125}
    assert command.stability(config).data == result.data


@pytest.mark.parametrize("contexts", ["512,wide", "", "0,512", "4096"])
def test_contexts_that_mean_nothing_are_usage_errors(
    copying: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, contexts: str
) -> None:
    monkeypatch.setattr(command, "load", lambda *arguments: copying)
    file = write_lines(tmp_path / "one.jsonl", [{"text": TEXT}])
    with pytest.raises(UsageError, match="--contexts"):
        command.stability(StabilityConfig(model="copying", sentences=(str(file),), contexts=contexts))
