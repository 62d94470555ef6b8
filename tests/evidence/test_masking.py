"""Random heads: never the chosen ones, as many, and by layer where asked."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.errors import HeadsError
from attention_influence.evidence.masking import conditions

MODELS = st.dictionaries(st.integers(0, 12), st.integers(1, 8), min_size=1)


@st.composite
def models_and_chosen(draw: st.DrawFn) -> tuple[dict[int, int], list[tuple[int, int]]]:
    n_heads = draw(MODELS.filter(lambda n: sum(n.values()) >= 2))
    heads = [(layer, head) for layer, count in n_heads.items() for head in range(count)]
    return n_heads, draw(st.lists(st.sampled_from(heads), unique=True, min_size=1, max_size=len(heads) // 2))


@given(models_and_chosen(), st.integers(0, 3))
def test_draws_hold_as_many_heads_that_exist_and_never_a_chosen_one(
    drawn: tuple[dict[int, int], list[tuple[int, int]]], seed: int
) -> None:
    n_heads, chosen = drawn
    found, _ = conditions(n_heads, chosen, 5, seed)
    assert [one.kind for one in found] == ["chosen"] + ["random"] * 5 + ["matched"] * 5
    assert set(found[0].heads) == set(chosen)
    for one in found[1:]:
        assert len(set(one.heads)) == len(one.heads) == len(chosen)
        assert not set(one.heads) & set(chosen)
        assert all(head < n_heads[layer] for layer, head in one.heads)
    assert found == conditions(n_heads, chosen, 5, seed)[0]


@given(models_and_chosen())
def test_matched_draws_have_the_chosen_heads_layers_wherever_these_have_others(
    drawn: tuple[dict[int, int], list[tuple[int, int]]],
) -> None:
    n_heads, chosen = drawn
    wanted = Counter(layer for layer, _ in chosen)
    found, notes = conditions(n_heads, chosen, 5, 0)
    short = [layer for layer, count in wanted.items() if n_heads[layer] < 2 * count]
    assert len(notes) == len(short)
    for one in found[6:]:
        layers = Counter(layer for layer, _ in one.heads)
        if not short:
            assert layers == wanted
        assert all(layers[layer] >= min(count, n_heads[layer] - count) for layer, count in wanted.items())


def test_a_layer_without_enough_others_is_filled_from_the_nearest_layer_and_named() -> None:
    found, notes = conditions({0: 4, 5: 4, 6: 4}, [(6, 0), (6, 1), (6, 2)], 5, 0)
    for one in found[6:]:
        assert [layer for layer, _ in one.heads] == [5, 5, 6]
    assert notes == ["layer 6 has 1 other heads for 3 chosen; the rest come from the nearest layers"]


def test_random_draws_differ_and_reach_layers_without_chosen_heads() -> None:
    found, _ = conditions(dict.fromkeys(range(10), 8), [(3, 1), (3, 2), (4, 0)], 5, 0)
    assert len({one.heads for one in found[1:6]}) == 5
    assert {layer for one in found[1:6] for layer, _ in one.heads} - {3, 4}


def test_more_than_half_of_all_heads_cannot_be_compared() -> None:
    with pytest.raises(HeadsError, match="3 heads are chosen, and 1 are left"):
        conditions({0: 4}, [(0, 0), (0, 1), (0, 2)], 5, 0)
