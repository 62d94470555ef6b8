"""What counts as a hit, on queries and keys set by hand."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from attention_influence.heads.retrieval import hits

# Position:  0  1  2  3  4  5  6  7  8  9
TOKENS = [9, 5, 6, 7, 5, 6, 8, 5, 6, 7]
#             `needle`        `answer`: 7, 8, 9 holds 5, 6, 7
NEEDLE, ANSWER = [1, 2, 3], [7, 8, 9]


def looking_at(places: list[list[int]], kv_heads: int | None = None) -> tuple[Tensor, Tensor]:
    """Queries [H, A, T] and one-hot keys [K, T, T]: head h looks at places[h][a] for answer token a."""
    size = len(TOKENS)
    query = torch.nn.functional.one_hot(torch.tensor(places), size).float()
    key = torch.eye(size).expand(kv_heads or len(places), size, size)
    return query, key


def hits_of(*places: list[int], **others: object) -> list[list[bool]]:
    query, key = looking_at(list(places))
    found = hits(query, key, torch.tensor(TOKENS), torch.tensor(ANSWER), torch.tensor(NEEDLE), **others)  # type: ignore[arg-type]
    return found.tolist()


def test_a_head_that_looks_at_the_token_to_copy_hits() -> None:
    assert hits_of([1, 2, 3]) == [[True, True, True]]


def test_looking_at_the_previous_token_the_first_one_or_a_duplicate_of_the_current_one_is_no_hit() -> None:
    previous, first, duplicates = [5, 6, 7], [0, 0, 0], [6, 1, 2]
    assert hits_of(previous, first, duplicates) == [[False] * 3] * 3


def test_an_equal_token_outside_the_needle_counts_only_anywhere() -> None:
    outside = [4, 5, 3]
    assert hits_of(outside) == [[False, False, True]]
    assert hits_of(outside, where="anywhere") == [[True, True, True]]


def test_another_token_inside_the_needle_is_no_hit() -> None:
    assert hits_of([2, 3, 1]) == [[False] * 3]
    assert hits_of([2, 3, 1], where="anywhere") == [[False] * 3]


def test_the_answers_own_position_is_not_visible_from_the_one_that_predicts_it() -> None:
    # Looking at position 7 from 6 is impossible: what is left are equal logits, of which the earliest is taken.
    assert hits_of([7, 8, 9], where="anywhere") == [[False] * 3]


def test_a_sliding_window_hides_a_needle_that_is_too_far_away() -> None:
    # The token 5 at position 1 is seen from 6 with a window of 6, and not with one of 5.
    assert hits_of([1, 2, 3], sliding_window=6)[0] == [True, True, True]
    assert hits_of([1, 2, 3], sliding_window=5)[0] == [False, False, False]


def test_grouped_queries_use_the_keys_of_their_own_group() -> None:
    query, key = looking_at([[1, 2, 3]] * 4, kv_heads=2)
    key = key.clone()
    key[1] = key[1].roll(1, dims=0)  # the second group's keys stand one position later
    found = hits(query, key, torch.tensor(TOKENS), torch.tensor(ANSWER), torch.tensor(NEEDLE))
    assert found.tolist() == [[True] * 3] * 2 + [[False] * 3] * 2


@given(st.integers(0, 10_000), st.sampled_from([None, 1, 3, 8]), st.sampled_from(["needle", "anywhere"]))
def test_hits_are_those_of_the_definition(seed: int, sliding_window: int | None, where: str) -> None:
    draw = torch.Generator().manual_seed(seed)
    query, key = torch.randn(4, 3, 8, generator=draw), torch.randn(2, 20, 8, generator=draw)
    tokens, answer, needle = torch.randint(0, 3, (20,), generator=draw), torch.tensor([16, 17, 18]), [2, 3, 4, 12]
    found = hits(query, key, tokens, answer, torch.tensor(needle), sliding_window, where)  # type: ignore[arg-type]
    for head in range(4):
        for a, position in enumerate(answer.tolist()):
            seen = range(0 if sliding_window is None else max(0, position - sliding_window), position)
            most = max(seen, key=lambda s: float(query[head, a] @ key[head // 2, s]))
            expected = bool(tokens[most] == tokens[position]) and (where == "anywhere" or most in needle)
            assert bool(found[head, a]) == expected
