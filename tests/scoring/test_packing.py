"""A document's score is its own: alone, or in any pack with any others."""

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attention_influence import Scorer
from scoring.tiny import CONTEXT, FAMILIES, HEADS, network, prepare, slow_losses, tiny

EXACT = 1e-5
DOCUMENTS = st.lists(
    st.text(st.sampled_from("abcdef ghi\nö"), min_size=1, max_size=3 * CONTEXT).filter(lambda t: not t.isspace()),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module", params=[(family, bos) for family in FAMILIES for bos in (True, False)])
def scorer(request: pytest.FixtureRequest) -> Scorer:
    scorer = Scorer(tiny(*request.param).model, HEADS)
    assert scorer.tested.packing, "nothing is packed, so nothing is tested"
    return scorer


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=DOCUMENTS, budget=st.integers(1, 8 * CONTEXT), order=st.randoms(use_true_random=False))
def test_a_score_is_the_same_alone_and_in_any_pack_order_and_budget(
    scorer: Scorer, documents: list[str], budget: int, order: Any
) -> None:
    scorer.pack_tokens = 1
    alone = {document: scorer.score([document])[0] for document in documents}
    order.shuffle(documents)
    scorer.pack_tokens = budget
    for document, packed in zip(documents, scorer.score(documents), strict=True):
        by_itself = alone[document]
        assert packed.reason == by_itself.reason
        if packed.reason is None:
            assert packed.loss_base == pytest.approx(by_itself.loss_base, abs=EXACT)
            assert packed.loss_ref == pytest.approx(by_itself.loss_ref, abs=EXACT)


def longrope_phi3() -> Any:
    rope = {
        "rope_type": "longrope",
        "rope_theta": 10_000.0,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0, 8.0, 16.0, 32.0],
        "original_max_position_embeddings": 32,
    }
    return network("phi3", 128, original_max_position_embeddings=32, rope_parameters=rope, sliding_window=None)


def dynamic_llama() -> Any:
    return network("llama", 64, rope_parameters={"rope_type": "dynamic", "rope_theta": 10_000.0, "factor": 4.0})


def convolutions() -> Any:
    return network("lfm2", 128, layer_types=["conv", "full_attention", "conv", "full_attention"])


@pytest.mark.parametrize(
    "make",
    [longrope_phi3, dynamic_llama, convolutions],
    ids=["longrope phi3", "dynamic llama", "lfm2"],
)
@pytest.mark.parametrize("bos", [True, False])
def test_a_model_whose_windows_must_not_be_packed_is_found_and_scored_right(make: Any, bos: bool) -> None:
    window = 128
    made = prepare(make(), bos)
    heads = [(1, 1), (3, 0), (3, 2)]
    scorer = Scorer(made.model, heads, window=window)
    assert not scorer.tested.packing
    documents = ["a short one", "b" * 20 + "a long one of nothing much " * 4, "x y z" * 5]
    again = [*documents[::-1], documents[1]]
    for document, score in zip(documents + again, scorer.score(documents) + scorer.score(again), strict=True):
        # A copy of its own for each document: RoPE that looks at the length remembers the longest so far.
        tokens = made.model.tokens.encode([document])[0]
        expected = slow_losses(copy.deepcopy(made.untouched), tokens, window, bos, heads)
        assert (score.loss_base, score.loss_ref) == pytest.approx(expected, abs=EXACT)


def test_a_dynamic_rope_within_its_positions_may_be_packed() -> None:
    scorer = Scorer(prepare(dynamic_llama()).model, HEADS, window=64)
    assert scorer.tested.packing
