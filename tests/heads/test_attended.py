"""Where heads look is what transformers' own eager attention says."""

import pytest
import torch

from attention_influence.heads.attended import attended
from scoring.tiny import tiny

# gemma3_text: sliding windows of 16 tokens on all layers but one.
FAMILIES = ["llama", "gemma3_text", "gpt2"]
TOKENS = [0, *range(40, 80)]
AT = [0, 1, 20, 40]
# Logits of these weights are about 10, which float32 rounds to 1e-6; in which order they are summed, processors decide.
EXACT = 5e-6


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_and_positions_are_those_of_eager_attention(family: str) -> None:
    made = tiny(family)
    found = attended(made.model, TOKENS, AT, {0: [1], 2: [3, 0]}, 5)
    assert set(found) == {(0, 1), (2, 3), (2, 0)}
    made.untouched.set_attn_implementation("eager")
    with torch.no_grad():
        eager = made.untouched(input_ids=torch.tensor([TOKENS]), output_attentions=True).attentions
    for (layer, head), of_queries in found.items():
        for query, looks in zip(AT, of_queries, strict=True):
            weights = eager[layer][0, head, query]
            highest = weights.sort(descending=True).values[: len(looks)]
            assert [weight for _, weight in looks] == pytest.approx(highest.tolist(), abs=EXACT)
            at_positions = [float(weights[position]) for position, _ in looks]
            assert [weight for _, weight in looks] == pytest.approx(at_positions, abs=EXACT)


def test_a_position_sees_only_what_is_before_it_in_its_sliding_window() -> None:
    made = tiny("gemma3_text")
    for query, looks in zip(AT, attended(made.model, TOKENS, AT, {0: [0]}, 99)[0, 0], strict=True):
        assert sorted(position for position, _ in looks) == list(range(max(0, query - 15), query + 1))
        assert sum(weight for _, weight in looks) == pytest.approx(1)
