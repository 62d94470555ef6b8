"""Attention inside windows against a softmax written out in float64."""

from itertools import accumulate, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from attention_influence.model.attention.windowed import windowed_attention

BLOCK = 512


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def visible(lengths: list[int], sliding_window: int | None) -> Tensor:
    """[T, T]: position t sees position s."""
    seen = torch.zeros(sum(lengths), sum(lengths), dtype=torch.bool)
    for low, high in pairwise(accumulate(lengths, initial=0)):
        for t in range(low, high):
            seen[t, low if sliding_window is None else max(low, t + 1 - sliding_window) : t + 1] = True
    return seen


def softmax_attention(
    query: Tensor, key: Tensor, value: Tensor, lengths: list[int], scaling: float, sliding_window: int | None
) -> Tensor:
    repeats = query.shape[1] // key.shape[1]
    key, value = (x.double().repeat_interleave(repeats, 1) for x in (key, value))
    logits = (query.double() @ key.mT * scaling).masked_fill(~visible(lengths, sliding_window), -torch.inf)
    return (logits.softmax(-1) @ value).transpose(1, 2)


def compare(lengths: list[int], sliding_window: int | None, scaling: float | None, dtype: torch.dtype) -> None:
    tokens = sum(lengths)
    query, key, value = (draw(2, h, tokens, 8, seed=h + i).to(dtype) for i, h in enumerate((4, 2, 2)))
    ours = windowed_attention(query, key, value, lengths, scaling, sliding_window)
    theirs = softmax_attention(query, key, value, lengths, 8**-0.5 if scaling is None else scaling, sliding_window)
    assert ours.shape == (2, tokens, 4, 8)
    assert ours.dtype == dtype
    assert ours.is_contiguous(), "some families reshape it with view"
    bound = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(ours.double(), theirs, rtol=bound, atol=bound)


@pytest.mark.parametrize("scaling", [None, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("sliding_window", [None, 1, 5, 100])
def test_attention_is_a_softmax_over_what_each_position_sees(
    sliding_window: int | None, dtype: torch.dtype, scaling: float | None
) -> None:
    compare([1, 30, 7, 6, 5, 64], sliding_window, scaling, dtype)


@pytest.mark.parametrize("sliding_window", [1, BLOCK - 1, BLOCK, BLOCK + 1, 700])
@pytest.mark.parametrize("length", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_sliding_windows_meet_at_the_edges_of_blocks(length: int, sliding_window: int) -> None:
    compare([3, length], sliding_window, None, torch.float32)


def test_a_window_shorter_than_the_sliding_window_is_plain_causal() -> None:
    query, key, value = (draw(1, 2, 40, 8, seed=i) for i in range(3))
    sliding = windowed_attention(query, key, value, [40], None, 40)
    assert torch.equal(sliding, windowed_attention(query, key, value, [40], None, None))
    assert not torch.allclose(windowed_attention(query, key, value, [40], None, 39)[:, 39], sliding[:, 39])


def mean_of_visible(value: Tensor, lengths: list[int], sliding_window: int | None) -> Tensor:
    """What a query of zeros gives [T, H, D]."""
    return windowed_attention(torch.zeros_like(value), draw(*value.shape, seed=9), value, lengths, 0.7, sliding_window)[
        0
    ]


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    sliding_window=st.none() | st.integers(1, 25),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_a_zero_query_gives_the_mean_of_what_each_position_sees(
    lengths: list[int], sliding_window: int | None, dtype: torch.dtype
) -> None:
    value = (draw(1, 3, sum(lengths), 8) + 1).to(dtype)
    seen = visible(lengths, sliding_window).double()
    theirs = ((seen / seen.sum(1, keepdim=True)) @ value[0].double()).transpose(0, 1)
    ours = mean_of_visible(value, lengths, sliding_window)
    assert ours.dtype == dtype
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-6 if dtype == torch.float32 else 2**-8, atol=1e-6)


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(1, 20), min_size=1, max_size=5),
    sliding_window=st.none() | st.integers(1, 25),
    bad=st.sampled_from([torch.nan, torch.inf, -torch.inf]),
    data=st.data(),
)
def test_a_value_that_is_not_finite_spoils_its_own_window_and_head_and_no_others(
    lengths: list[int], sliding_window: int | None, bad: float, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, sum(lengths) - 1))
    value = draw(1, 2, sum(lengths), 8)
    clean = mean_of_visible(value, lengths, sliding_window)
    value[0, 0, at, 1] = bad
    ours = mean_of_visible(value, lengths, sliding_window)
    sees = visible(lengths, sliding_window)[:, at]
    beside = ~visible(lengths, None)[:, at] & ~visible(lengths, None)[at]
    assert not ours[sees, 0, 1].isfinite().any()
    assert torch.equal(ours[beside, 0], clean[beside, 0])
    assert torch.equal(ours[:, 1], clean[:, 1]), "another head is not touched"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_mean_over_a_long_window_does_not_drift(dtype: torch.dtype) -> None:
    value = (draw(1, 1, 16_384, 8) + 100.0).to(dtype)
    at = torch.tensor([0, 1, 100, 5_000, 16_383])
    exact = torch.stack([value[0, 0, : t + 1].double().mean(0) for t in at.tolist()])
    ours = mean_of_visible(value, [16_384], None)[at, 0].double()
    # Errors of a float32 sum that do not add up in one direction; how many are summed at once, each processor decides.
    rounding = 16_384**0.5 * 2**-24
    torch.testing.assert_close(ours, exact, rtol=rounding if dtype == torch.float32 else 2**-8, atol=0)
