import math

import numpy as np
import pytest

from attention_influence.screening.features import NAMES, count_words, features_of, in_tokens, in_words, words_of


def features(text: str, elsewhere: tuple[str, ...] = (), counted: bool = False) -> dict[str, float]:
    counts = count_words(words_of(other.encode()) for other in elsewhere)
    values = features_of(in_words(text.encode()), counts, counted=counted)
    return dict(zip(NAMES, values.tolist(), strict=True))


def by_hand(words: list[str], context: int) -> tuple[float, float, float]:
    """seen, hit and any, by looking at each word."""
    seen = hit = again = 0
    last: dict[tuple[str, ...], str] = {}
    followed: set[tuple[tuple[str, ...], str]] = set()
    for at in range(context, len(words)):
        before = tuple(words[at - context : at])
        seen += before in last
        hit += last.get(before) == words[at]
        again += (before, words[at]) in followed
        last[before] = words[at]
        followed.add((before, words[at]))
    of = len(words) - context
    return seen / of, hit / of, again / of


def test_words_are_runs_of_letters_digits_and_spaces_and_single_other_bytes() -> None:
    text = "def f(xy, xy):\n    return 12 + f"
    words = ["def", "f", "(", "xy", ",", "xy", ")", ":", "\n", "    ", "return", "12", "+", "f"]
    found = words_of(text.encode())
    assert len(found) == len(words)
    assert [words.index(word) for word in words] == [found.tolist().index(word) for word in found.tolist()]


def test_a_long_run_is_cut_so_that_its_parts_can_be_known_again() -> None:
    assert len(words_of(b"a" * 130)) == 3
    assert len(set(words_of(b"a" * 128).tolist())) == 1


def test_a_word_is_the_same_wherever_it_stands() -> None:
    alone = words_of("naïve".encode())
    assert words_of("x naïve, naïve".encode()).tolist().count(alone[0]) == 2


@pytest.mark.parametrize("context", [1, 2, 3, 5])
def test_repetition_is_what_looking_at_each_word_gives(context: int) -> None:
    rng = np.random.default_rng(context)
    words = rng.choice(list("abcd"), 200).tolist()
    found = features(" ".join(words))
    expected = by_hand(words, context)
    assert [found[f"{what}_{context}"] for what in ("seen", "hit", "any")] == pytest.approx(expected)


def test_guesses_are_what_looking_at_each_word_gives() -> None:
    rng = np.random.default_rng(0)
    words = rng.choice(list("abcdefgh"), 150).tolist()
    found = features(" ".join(words), ("a b c d e f g h",))
    text = in_words(" ".join(words).encode())
    rarity = count_words([words_of(b"a b c d e f g h")]).rarity(text.words, counted=False)
    gains = []
    for at, word in enumerate(words):
        gain = 0.0
        for context, trust in ((5, 0.8), (3, 0.65), (2, 0.5), (1, 0.25)):
            before = words[max(at - context, 0) : at]
            places = [i for i in range(context, at) if len(before) == context and words[i - context : i] == before]
            if places:
                right = words[places[-1]] == word
                gain = math.log(1 - trust + trust * right * math.exp(rarity[at]))
                break
        gains.append(gain)
    unexplained = float(np.mean(rarity - gains))
    assert found["gain"] == pytest.approx(np.mean(gains))
    assert found["unexplained"] == pytest.approx(unexplained)
    assert found["gain_ratio"] == pytest.approx(np.mean(gains) / unexplained)
    assert found["losses"] == pytest.approx(np.minimum(gains, 0).mean())
    first = [word in words[:at] for at, word in enumerate(words)]
    assert found["known"] == pytest.approx(rarity[first].sum() / rarity.sum())


def test_tokens_are_told_apart_as_words_are() -> None:
    content = b"one two one two one two three"
    numbers = [7, 49_151, 7, 49_151, 7, 49_151, 0]
    words, tokens = in_words(content), in_tokens(content, numbers)
    assert [words.words.tolist().index(word) for word in words.words.tolist()] == [
        tokens.words.tolist().index(word) for word in tokens.words.tolist()
    ]
    counts = count_words([])
    by_words, by_tokens = (features_of(text, counts) for text in (words, tokens))
    assert np.array_equal(by_words, by_tokens, equal_nan=True)


def test_rare_words_weigh_more() -> None:
    elsewhere = ("common " * 1000,)
    one_rare = features("a rare b common a rare b other", elsewhere)
    one_common = features("a common b rare a common b other", elsewhere)
    assert one_rare["hit_1"] == one_common["hit_1"]
    assert one_rare["hit_rare_1"] > one_common["hit_rare_1"]


def test_a_counted_document_does_not_make_its_own_words_common() -> None:
    text, others = "unheard words here", ("all the others", "and more words")
    assert features(text, (text, *others), counted=True)["rarity"] == pytest.approx(features(text, others)["rarity"])


def test_lines_that_come_again_are_told() -> None:
    assert features("a = 1\nb = 2\na = 1\n\nc = 3\n")["repeated_lines"] == 0.25


@pytest.mark.parametrize("text", ["", "a", " ", "a b", "\n", "é"])
def test_what_is_too_short_for_a_feature_has_none_and_is_no_error(text: str) -> None:
    found = features(text)
    assert np.isnan(found["hit_5"])
    assert not np.isinf([*found.values()]).any()
