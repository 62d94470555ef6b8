import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from attention_influence.model.windows import cut, pack


@given(st.integers(0, 5000), st.integers(3, 700), st.booleans())
def test_windows_are_as_few_and_as_equal_as_can_be_and_hold_every_token_once(n: int, window: int, bos: bool) -> None:
    parts = cut(n, window, bos)
    assert [token for part in parts for token in part] == list(range(n))
    assert len(parts) == -(-n // (window - bos))
    lengths = [len(part) for part in parts]
    if lengths:
        assert max(lengths) - min(lengths) <= 1
        assert max(lengths) + bos <= window


@given(st.lists(st.integers(1, 100), max_size=60), st.integers(0, 300))
def test_packs_hold_every_window_once_longest_first_within_the_budget(lengths: Sequence[int], budget: int) -> None:
    packs = pack(lengths, budget)
    order = [index for members in packs for index in members]
    assert sorted(order) == list(range(len(lengths)))
    in_order = [lengths[index] for index in order]
    assert in_order == sorted(lengths, reverse=True)
    for members in packs:
        assert len(members) == 1 or sum(lengths[i] for i in members) <= budget
    for members, following in itertools.pairwise(packs):
        assert sum(lengths[i] for i in members) + lengths[following[0]] > budget, "a window was left out for no reason"
    assert packs == pack(list(lengths), budget)


def test_without_a_budget_each_window_is_alone() -> None:
    assert pack([3, 9, 9, 1], 0) == [[1], [2], [0], [3]]
