"""Sentences for the task come from texts of many kinds, as they stand there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.heads.sentences import sentences_of
from attention_influence.model.tokens import Tokens
from tiny_models import tokenizer

TOKENS = Tokens(tokenizer())


def found(*texts: str, limit: int = 100) -> list[str]:
    return sentences_of(texts, TOKENS, limit)


def test_sentences_are_found_in_the_order_of_the_texts() -> None:
    first = ["The keeper wrote it down.", "Was the water at the door?", "It was the ninth of October!"]
    last = "The notebook was kept there."
    assert found(" ".join(first), last) == [*first, last]


@pytest.mark.parametrize(
    "dropped",
    [
        'He wrote "the tide rose" there.',
        "He wrote C:\\tide into it.",
        "The keeper\x07 wrote it down.",
        "the keeper wrote it down.",
        "Kept.",
        "12 34 56 78 90 12 34 a.",
        "A line without an end",
    ],
)
def test_what_json_would_write_differently_or_is_no_sentence_is_dropped(dropped: str) -> None:
    assert found(f"The tide rose to the door. {dropped}\nThe notebook was kept there.") == [
        "The tide rose to the door.",
        "The notebook was kept there.",
    ]


def test_a_sentence_is_not_joined_across_lines() -> None:
    assert found("A heading of the tide and the tower\nThe keeper wrote it down.") == ["The keeper wrote it down."]


def test_other_scripts_have_sentences_too() -> None:
    assert found("灯塔守护人写。潮水到了门口！") == ["灯塔守护人写。", "潮水到了门口！"]
    assert found("Le gardien a noté l’été. Où était-il né ?") == ["Le gardien a noté l’été.", "Où était-il né ?"]


def test_no_sentence_comes_twice() -> None:
    same = "The keeper wrote it down. "
    assert found(same * 3, same + "The notebook was kept there.") == [same.strip(), "The notebook was kept there."]


def test_no_more_than_the_limit_are_given() -> None:
    many = " ".join(f"The keeper wrote {a}{b} down." for a in "abcdef" for b in "uvwxyz")
    assert len(found(many)) == 36
    assert len(found(many, many.replace("keeper", "tower"), limit=7)) == 7


@given(st.lists(st.sampled_from(["tide", "keeper", "of", "the", "notebook", "été"]), min_size=1, max_size=30))
def test_sentences_have_8_to_30_tokens(words: list[str]) -> None:
    sentence = " ".join(words).capitalize() + "."
    count = len(TOKENS.encode([sentence])[0])
    assert found(sentence) == ([sentence] if 8 <= count <= 30 else [])


@given(st.text(max_size=200))
def test_any_text_gives_sentences_that_stand_in_it(text: str) -> None:
    for sentence in found(text):
        assert sentence in text
        assert sentence.isprintable()
        assert not set(sentence) & {'"', "\\"}
