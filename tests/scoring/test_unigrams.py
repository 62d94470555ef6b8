import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.scoring.unigrams import unigram_surprisals


@given(st.lists(st.lists(st.integers(0, 5), max_size=6), max_size=6))
def test_each_token_costs_what_the_other_documents_make_it(documents: list[list[int]]) -> None:
    different = len({token for tokens in documents for token in tokens})
    expected = []
    for i, tokens in enumerate(documents):
        others = [token for other in documents[:i] + documents[i + 1 :] for token in other]
        costs = [-math.log((others.count(token) + 1) / (len(others) + different)) for token in tokens]
        expected.append(pytest.approx(sum(costs) / len(costs)) if costs else None)
    assert unigram_surprisals([np.array(tokens, dtype=np.int32) for tokens in documents]) == expected


def test_rare_tokens_cost_more_and_own_repetition_does_not_help() -> None:
    common, rare = np.array([1, 2] * 10, dtype=np.int32), np.array([7] * 20, dtype=np.int32)
    of_common, of_rare = unigram_surprisals([common, common, rare])[1:]
    assert of_common is not None
    assert of_rare is not None
    assert of_rare > of_common
