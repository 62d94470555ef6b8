"""The heads that are found on a real model are its retrieval heads, whatever they are found with."""

import random
from collections.abc import Mapping, Sequence
from itertools import islice

import numpy as np
import pytest

from attention_influence import HeadSet
from attention_influence.heads.detect import find_sentences, make_probes, score_probe
from attention_influence.model.language_model import LanguageModel
from e2e.conftest import PROBE_TOKENS, Detected

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def accuracy(
    model: LanguageModel, detected: Detected, masked: Mapping[int, Sequence[int]] | None, probes: int
) -> float:
    sentences, _ = find_sentences(model, detected.texts, detected.seed)
    drawn = islice(make_probes(model, sentences, PROBE_TOKENS, detected.seed), probes)
    return float(np.mean([score_probe(model, probe, masked=masked)[1] for probe in drawn]))


def test_the_model_does_the_retrieval_task(detected: list[Detected]) -> None:
    for found in detected:
        print(f"\nprobe accuracy at {PROBE_TOKENS} tokens, seed {found.seed}: {found.heads.probe_accuracy:.3f}")
        assert found.heads.probe_accuracy is not None
        assert found.heads.probe_accuracy >= 0.9


def test_two_disjoint_sets_of_probes_choose_nearly_the_same_heads(detected: list[Detected]) -> None:
    first, second = (set(found.heads) for found in detected)
    print(f"\n{len(first & second)} of {len(first)} heads agree; not: {first ^ second}")
    assert len(first) == len(second) == 14
    assert len(first & second) >= 12


def test_masking_the_chosen_heads_breaks_retrieval_and_masking_others_does_not(
    model: LanguageModel, detected: list[Detected]
) -> None:
    # Heads found on one half of the texts, tried on the other half.
    heads, unseen = detected[0].heads, detected[1]
    whole = accuracy(model, unseen, None, 12)
    without = accuracy(model, unseen, heads.by_layer(), 12)
    draws = [accuracy(model, unseen, _others(model, heads, seed), 3) for seed in range(5)]
    print(
        f"\nanswer tokens right: {whole:.3f}, chosen heads masked {without:.3f}, "
        f"others of the same layers {np.mean(draws):.3f} ({', '.join(f'{draw:.3f}' for draw in draws)})"
    )
    assert whole - without > 0.5
    assert whole - np.mean(draws) < 0.2


def _others(model: LanguageModel, heads: HeadSet, seed: int) -> dict[int, list[int]]:
    """As many heads of each layer that has chosen ones, none of them chosen; where a layer has too few, all others."""
    rng = random.Random(seed)
    others = {}
    for layer, chosen in heads.by_layer().items():
        free = [head for head in range(model.heads[layer]) if head not in chosen]
        others[layer] = sorted(rng.sample(free, min(len(chosen), len(free))))
    return others
