"""Scores of real documents on the real model."""

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from attention_influence import DocumentScore, Scorer, load_model
from attention_influence.demo import Assets
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.loading.gguf import dense_copy
from e2e.conftest import Detected
from scoring.tiny import slow_losses

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


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
    several_windows = "\n\n".join(documents[:6])
    chosen = {documents[i]: scores[i] for i in (0, 10, 20, 30)} | {several_windows: fp32.score([several_windows])[0]}
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
        f"{spearman:.4f}, mean difference {difference.mean():.5f}, largest {difference.max():.5f}"
    )
    assert len(documents) >= 40
    assert spearman >= 0.99


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_document_alone_differs_from_the_packed_one_by_no_more_than_the_noise_floor_says(
    model: LanguageModel, detected: list[Detected], fp32: Scorer, documents: list[str], precision: str
) -> None:
    scorer = fp32 if precision == "fp32" else Scorer(model, detected[0].heads, window=512)
    few = documents[::5]
    packed = [score.influence for score in scorer.score(few)]
    alone = [scorer.score([document])[0].influence for document in few]
    largest = np.abs(np.array(packed, dtype=float) - np.array(alone, dtype=float)).max()
    print(f"\n{precision}: noise floor {scorer.tested.noise:.1e}, largest difference {largest:.1e}")
    assert largest <= max(2 * scorer.tested.noise, 1e-5)
