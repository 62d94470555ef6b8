"""Scores of real documents on the real model."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from attention_influence import DocumentScore, Scorer, load_model
from attention_influence.demo import Assets
from attention_influence.model.gguf import dense_copy
from attention_influence.model.language_model import LanguageModel
from e2e.conftest import Detected
from scoring.tiny import slow_losses

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def fp32(assets: Assets, detected: list[Detected]) -> Scorer:
    return Scorer(load_model(str(assets.model), "fp32", "cpu"), detected[0].heads, window=512)


@pytest.fixture(scope="module")
def scores(fp32: Scorer, documents: list[str]) -> list[DocumentScore]:
    return fp32.score(documents)


@pytest.fixture(scope="module")
def untouched(assets: Assets) -> Any:
    folder, _ = dense_copy(assets.model)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def test_scores_in_fp32_are_those_of_two_passes_of_plain_transformers(
    fp32: Scorer, documents: list[str], scores: list[DocumentScore], untouched: Any
) -> None:
    assert fp32.tested.packing
    assert fp32.model.tokens.bos is None
    several_windows = "\n\n".join(documents[:4])
    chosen = {documents[i]: scores[i] for i in (0, 13, 26, 39)} | {several_windows: fp32.score([several_windows])[0]}
    assert chosen[several_windows].n_windows == 2
    print()
    for document, score in chosen.items():
        tokens = fp32.model.tokens.encode([document])[0]
        base, ref = slow_losses(untouched, tokens, fp32.window, False, fp32.heads.heads)
        print(f"{len(tokens)} tokens: {score.loss_base:.7f} {base:.7f}, {score.loss_ref:.7f} {ref:.7f}")
        assert score.loss_base == pytest.approx(base, rel=1e-5)
        assert score.loss_ref == pytest.approx(ref, rel=1e-5)
        assert score.influence == pytest.approx((ref - base) / base, abs=3e-5)


def test_masking_raises_the_loss_of_nearly_every_real_document(scores: list[DocumentScore]) -> None:
    influences = [score.influence for score in scores]
    assert None not in influences
    assert np.mean([influence > 0 for influence in influences if influence is not None]) > 0.95


def test_bf16_ranks_documents_as_fp32_does(
    model: LanguageModel, detected: list[Detected], documents: list[str], scores: list[DocumentScore]
) -> None:
    bf16 = Scorer(model, detected[0].heads, window=512)
    exact = np.array([score.influence for score in scores], dtype=float)
    rounded = np.array([score.influence for score in bf16.score(documents)], dtype=float)
    spearman = np.corrcoef(exact.argsort().argsort(), rounded.argsort().argsort())[0, 1]
    difference = np.abs(exact - rounded)
    print(
        f"\n{len(documents)} documents, influence {exact.min():.3f} to {exact.max():.3f}: bf16 against fp32 Spearman "
        f"{spearman:.4f}, mean difference {difference.mean():.5f}, largest {difference.max():.5f}; "
        f"noise floor of bf16 {bf16.tested.noise:.1e}"
    )
    assert len(documents) >= 40
    assert spearman >= 0.99


def test_the_noise_floor_of_fp32_is_that_of_rounding(fp32: Scorer) -> None:
    print(f"\nnoise floor of fp32 {fp32.tested.noise:.1e}")
    assert fp32.tested.noise < 1e-5
