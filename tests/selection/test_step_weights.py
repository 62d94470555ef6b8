"""Weights of steps: their mean is 1, and the file holds every character of the documents."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.selection.step_weights import Steps, messages, step_weights

STEPS = st.lists(
    st.tuples(st.integers(1, 50), st.floats(-5, 5, allow_nan=False)) | st.tuples(st.just(0), st.none()),
    min_size=1,
    max_size=20,
)


@given(STEPS, st.floats(0, 1))
def test_the_mean_weight_over_tokens_is_one_and_no_weight_is_negative(
    steps: list[tuple[int, float | None]], uniform: float
) -> None:
    counts = [count for count, _ in steps]
    weights = step_weights(counts, [rise for _, rise in steps], uniform)
    assert all(weight >= 0 for weight in weights)
    if sum(counts):
        mean = sum(count * weight for count, weight in zip(counts, weights, strict=True)) / sum(counts)
        assert mean == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("counts", "rises", "uniform", "expected"),
    [
        ([2, 2], [1.0, 3.0], 0.0, [0.5, 1.5]),
        ([2, 2], [-1.0, 3.0], 0.0, [0.0, 2.0]),
        ([2, 2], [-1.0, 3.0], 0.5, [0.5, 1.5]),
        ([3, 1], [1.0, 1.0], 0.0, [1.0, 1.0]),
        ([3, 1], [0.0, 2.0], 0.0, [0.0, 4.0]),
        ([3, 1], [-1.0, -2.0], 0.0, [1.0, 1.0]),
        ([0, 4], [None, 2.0], 0.0, [1.0, 1.0]),
        ([2, 2], [1.0, 3.0], 1.0, [1.0, 1.0]),
        ([1, 3], [2e-313, 0.0], 0.0, [4.0, 0.0]),
    ],
)
def test_weights_are_proportional_to_positive_rises(
    counts: list[int], rises: list[float | None], uniform: float, expected: list[float]
) -> None:
    assert step_weights(counts, rises, uniform) == expected


def test_a_document_is_its_steps_and_the_prompt_has_no_weight() -> None:
    text = "How many? Answer:\n Two.\n So 2."
    steps = Steps([9, 18, 24, 30], [9, 9, 4, 4], [1.0, 2.0, 1.0, 3.0])
    whole = messages(text, steps)
    assert whole is not None
    assert "".join(message["content"] for message in whole) == text
    assert {message["role"] for message in whole} == {"assistant"}
    prompt, *response = messages(text, steps, prompt_end="Answer:") or []
    assert prompt == {"role": "user", "content": "How many? Answer:\n"}
    assert [message["loss_scale"] for message in response] == [0.5, 1.5]
    assert messages(text, steps, prompt_end="many") is None, "no step ends there"
    assert messages(text, steps, prompt_end="2.") is None, "nothing comes after"
