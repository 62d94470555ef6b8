import random
import string
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.scoring.repetition import compression_ratio, copy_share, repeat_share

# Few different tokens, so that they repeat; and the largest ids that tokenizers have.
TOKENS = st.lists(st.one_of(st.integers(0, 2), st.integers(0, 300_000)), max_size=80)


def seen_before(tokens: list[int], n: int) -> float | None:
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    if not grams:
        return None
    return sum(gram in grams[:i] for i, gram in enumerate(grams)) / len(grams)


@given(TOKENS)
def test_copy_share_counts_tokens_that_followed_the_same_two_before(tokens: list[int]) -> None:
    assert copy_share(tokens) == pytest.approx(seen_before(tokens, 3))


@given(TOKENS)
def test_repeat_share_counts_five_grams_that_stood_before(tokens: list[int]) -> None:
    assert repeat_share(tokens) == pytest.approx(seen_before(tokens, 5))


@pytest.mark.parametrize("share", [copy_share, repeat_share])
def test_a_hundred_thousand_different_five_grams_are_told_apart(share: object) -> None:
    tokens = random.Random(0).sample(range(200_000), 100_000)
    assert share(tokens) == 0.0  # type: ignore[operator]


def test_compression_is_the_share_of_bytes_that_zlib_leaves() -> None:
    random_letters = "".join(random.Random(0).choices(string.ascii_letters, k=1000)).encode()
    assert compression_ratio(b"abc" * 1000) < 0.02
    assert 0.7 < compression_ratio(random_letters) < 0.9
    assert compression_ratio(b"a") > 1
    assert len(zlib.compress(random_letters)) == compression_ratio(random_letters) * 1000
