"""Compiled layers: equal losses, and few graphs."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch._dynamo import reset
from torch._dynamo.testing import CompileCounterWithBackend

from attention_influence.model import compiled
from attention_influence.scoring.scorer import Scorer
from tiny_models import LAYERS, random_tokens, tiny

HEADS = [(1, 0), (LAYERS - 1, 1)]
PACKS = [[random_tokens(5 + 7 * number + at, seed=at) for at in range(1 + number)] for number in range(4)]


def losses(scorer: Scorer) -> list[np.ndarray]:
    return [window for pack in PACKS for window in scorer.window_losses(pack)]


def cases() -> Iterator[Any]:
    """Each family's graphs: one for a row, below the fork, and one for two rows; of sliding layers and others each."""
    for family, graphs in [("llama", 2), ("qwen3", 2), ("mistral", 2), ("gemma3_text", 3), ("gpt2", 2)]:
        for dtype in (torch.float32, torch.bfloat16):
            quick = family == "llama" and dtype == torch.float32
            yield pytest.param(family, dtype, graphs, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(("family", "dtype", "graphs"), list(cases()))
def test_layers_of_a_kind_share_graphs_and_give_equal_losses(family: str, graphs: int, dtype: torch.dtype) -> None:
    reset()
    compiled._compiled.cache_clear()
    scorer = Scorer(tiny(family, dtype=dtype).model, HEADS)
    plain = losses(scorer)
    counter = CompileCounterWithBackend("eager")
    scorer.model.compile_layers(counter)  # type: ignore[arg-type]
    for one, other in zip(losses(scorer), plain, strict=True):
        np.testing.assert_array_equal(one, other)
    assert counter.frame_count == graphs


@pytest.mark.slow
def test_inductor_gives_equal_losses_and_the_model_travels() -> None:
    reset()
    model = tiny("llama").model
    plain = losses(Scorer(model, HEADS))
    scorer = Scorer(model, HEADS, compiled=True)
    assert scorer.model.arithmetic()["layers"] == "compiled"
    for one, other in zip(losses(scorer), plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)
    travelled = Scorer(pickle.loads(pickle.dumps(model)), HEADS)
    for one, other in zip(losses(travelled), losses(scorer), strict=True):
        np.testing.assert_array_equal(one, other)
