"""Words of choices: counted as written out by hand, and told apart by the ones that were planted."""

import math

import numpy as np
import pytest

from attention_influence.evidence.words import FREQUENT, count_words, distinctive_words, frequent_overlap


def mask(*places: int, of: int) -> np.ndarray:
    return np.isin(np.arange(of), places)


def test_words_are_runs_of_letters_in_lower_case_that_three_documents_hold():
    counts, words = count_words(["The cat, the CAT", "cat 3d x_y naïve the", "the Cat naïve", "naïve alone"])
    assert words == ["cat", "naïve", "the"]
    assert counts.toarray().tolist() == [[2, 0, 2], [1, 1, 1], [1, 1, 1], [0, 1, 0]]


def test_texts_without_a_word_give_no_words():
    counts, words = count_words(["1 2 3", "…", ""])
    assert (counts.shape, words) == ((3, 0), [])
    assert distinctive_words(counts, words, mask(0, of=3), mask(1, of=3), 5) == []
    assert all(map(math.isnan, frequent_overlap(counts, mask(0, of=3), mask(1, of=3))))


def test_the_same_choice_shares_all_its_words_and_a_choice_without_common_words_none():
    texts = ["apple pear plum"] * 4 + ["iron zinc lead"] * 4
    counts, _ = count_words(texts)
    fruit, metal = mask(0, 1, 2, 3, of=8), mask(4, 5, 6, 7, of=8)
    assert frequent_overlap(counts, fruit, fruit) == (1.0, 1.0)
    assert frequent_overlap(counts, fruit, metal) == (0.0, 0.0)


def test_a_word_of_all_documents_is_frequent_by_tf_and_worth_nothing_by_tf_idf():
    texts = ["the the the apple"] * 3 + ["the the the iron"] * 3
    counts, _ = count_words(texts)
    assert frequent_overlap(counts, mask(0, 1, 2, of=6), mask(3, 4, 5, of=6)) == (0.5, 0.0)


def test_only_the_most_frequent_words_are_compared():
    letters = "abcdefghijklmnopqrstuvwxyz"
    rare = [a + b + c for a in "ab" for b in letters for c in letters][: 2 * FREQUENT]
    texts = [" ".join([*rare, *rare[: FREQUENT + 100]])] * 3 + [" ".join([*rare, *rare[100 : FREQUENT + 100]])] * 3
    counts, _ = count_words(texts)
    assert frequent_overlap(counts, mask(0, 1, 2, of=6), mask(3, 4, 5, of=6))[0] == pytest.approx(1 - 100 / FREQUENT)


def test_planted_words_are_found_on_their_side_and_common_ones_on_neither():
    rng = np.random.default_rng(0)
    common = ["and", "of", "the", "is"]
    texts = [
        " ".join([*rng.choice(common, 60), *(["proof"] * 4 if number < 30 else ["sale"] * 4)]) for number in range(100)
    ]
    counts, words = count_words(texts)
    first = mask(*range(30), of=100)
    found = distinctive_words(counts, words, first, ~first, 1)
    assert [(word.word, word.z > 5) for word in found] == [("proof", True), ("sale", False)]
    assert found[1].z < -5
    assert found[0].first == pytest.approx(4 / 64 * 1e6)
    assert found[0].second == 0


def test_log_odds_are_those_of_the_formula():
    texts = ["aa aa aa bb"] * 3 + ["aa bb bb bb"] * 3
    counts, words = count_words(texts)
    first = mask(0, 1, 2, of=6)
    (up, down) = distinctive_words(counts, words, first, ~first, 5)
    # Uses of "aa": 9 of 12 against 3 of 12; the prior is 1,000 words at its share of both, 12 of 24.
    odds = math.log((9 + 500) / (3 + 500)) - math.log((3 + 500) / (9 + 500))
    assert (up.word, down.word) == ("aa", "bb")
    assert up.z == pytest.approx(odds / math.sqrt(1 / 509 + 1 / 503))
    assert down.z == pytest.approx(-up.z)
