import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.corpus import Source
from attention_influence.store.unigrams import Unigrams, unigrams_from_bytes

TOKENS = st.lists(st.integers(0, 5), max_size=6)


def counted(documents: list[list[int]]) -> Unigrams:
    return Unigrams(np.bincount(np.array([t for tokens in documents for t in tokens], dtype=np.int64)), {})


@given(st.lists(TOKENS, max_size=6), TOKENS, st.booleans())
def test_each_token_costs_what_the_other_documents_make_it(
    others: list[list[int]], tokens: list[int], itself: bool
) -> None:
    sample = [token for other in others for token in other]
    different = len({*sample, *(tokens if itself else [])})
    costs = [-math.log((sample.count(token) + 1) / (len(sample) + different + 1)) for token in tokens]
    expected = pytest.approx(sum(costs) / len(costs)) if costs else None
    assert counted([*others, tokens] if itself else others).surprisal(tokens, itself) == expected


def test_rare_tokens_cost_more_and_own_repetition_does_not_help() -> None:
    common, rare = [1, 2] * 10, [7] * 20
    unigrams = counted([common, common, rare])
    of_common, of_rare = unigrams.surprisal(common, True), unigrams.surprisal(rare, True)
    assert of_common is not None
    assert of_rare is not None
    assert of_rare > of_common
    assert unigrams.surprisal([99], False) == pytest.approx(-math.log(1 / (60 + 3 + 1))), "a token never counted"


def source(name: str, version: str = "1") -> Source:
    return Source(name, f"file:///{name}", "jsonl", None, 100, version)


def test_rows_are_held_by_range_in_the_version_that_was_counted() -> None:
    unigrams = Unigrams(np.ones(3, dtype=np.int64), {("a", "1"): np.array([0, 5, 7, 9]), ("b", "1"): np.array([4, 6])})
    assert [row for row in range(12) if unigrams.holds(source("a"), row)] == [0, 1, 2, 3, 4, 7, 8]
    assert [row for row in range(12) if unigrams.holds(source("b"), row)] == [4, 5]
    assert not unigrams.holds(source("a", "2"), 1)
    assert not unigrams.holds(source("c"), 1)


@given(st.lists(TOKENS, max_size=4))
def test_bytes_give_back_what_was_written(documents: list[list[int]]) -> None:
    before = Unigrams(counted(documents).counts, {('a/"é', "1"): np.array([0, 2**63 - 1])})
    after = unigrams_from_bytes(before.to_bytes())
    assert after.counts.tolist() == before.counts.tolist()
    assert after.rows.keys() == before.rows.keys()
    assert after.holds(source('a/"é'), 2**40)
    assert before.to_bytes() == after.to_bytes()


def test_what_is_no_file_of_counts_is_refused() -> None:
    with pytest.raises(pa.ArrowException):
        unigrams_from_bytes(b"PAR1 and no more")
