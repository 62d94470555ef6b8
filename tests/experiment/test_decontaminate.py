"""Documents that hold a benchmark item, and near duplicates."""

import builtins
import random

import pytest

from attention_influence.errors import UsageError
from attention_influence.experiment.data.decontaminate import Decontamination, item_text, words_of
from attention_influence.experiment.data.near_duplicates import near_duplicates
from attention_influence.tasks.items import Choices, Item

QUESTION = "A train leaves the town at nine and reaches the coast, 120 miles away, at noon. How fast is it?"


def test_a_document_with_thirteen_words_of_an_item_is_found_whatever_stands_between_them() -> None:
    thirteen = words_of(QUESTION)[3:16]
    found = Decontamination([QUESTION])
    assert found.contaminated("Before. " + " ".join(thirteen).upper() + ", after.")
    assert found.contaminated("…" + "\n- ".join(thirteen) + "!")
    assert not found.contaminated(" ".join(thirteen[:12]) + " other " + " ".join(thirteen[1:]))
    assert not found.contaminated("")


def test_short_items_are_looked_for_whole_and_very_short_ones_not() -> None:
    found = Decontamination(["one two three four five six seven eight", "one two three four five six seven", ""])
    assert (found.items, found.too_short) == (3, 2)
    assert found.contaminated("zero one two three four five six seven eight nine")
    assert not found.contaminated("one two three four five six seven nine")


def test_characters_count_as_words_where_no_spaces_stand_between_words() -> None:
    assert words_of("Die Größe: 9,5 km. 灯塔は the_tide") == [
        *("die", "größe", "9", "5", "km", "灯", "塔", "は", "the", "tide")
    ]
    found = Decontamination(["灯塔看守人把潮汐的高度写进了笔记本"])
    assert found.contaminated("昨天,灯塔看守人把潮汐的高度写进了笔记本。")
    assert not found.contaminated("灯塔看守人把书的高度写进了笔记本")


def test_an_item_is_its_prompt_and_the_right_answer() -> None:
    assert item_text(Item("t", "2 + 2 =", " 4")) == "2 + 2 = 4"
    assert item_text(Choices("t", "2 + 2 =", (" 3", " 4"), 1)) == "2 + 2 = 4"


def test_of_documents_that_nearly_repeat_one_the_first_is_kept() -> None:
    rng = random.Random(0)
    words = [f"word{i}" for i in range(2000)]
    texts = [" ".join(rng.choices(words, k=200)) for _ in range(20)]
    changed = texts[3].split()
    changed[50] = "other"
    halved = " ".join([*texts[4].split()[:100], *rng.choices(words, k=100)])
    documents = [*enumerate(texts), ("again", texts[2]), ("changed", " ".join(changed)), ("halved", halved)]
    assert near_duplicates([*documents, ("empty", ""), ("blank", " .")]) == {"again": 2, "changed": 3}
    assert near_duplicates(documents, threshold=0.3) == {"again": 2, "changed": 3, "halved": 4}


def test_short_texts_are_duplicates_only_of_the_same_words() -> None:
    assert near_duplicates([("a", "one two"), ("b", "One, two!"), ("c", "one three")]) == {"b": "a"}


def test_without_the_library_what_to_install_is_said(monkeypatch) -> None:
    known = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "datasketch":
            raise ImportError("No module named 'datasketch'")
        return known(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=r"pip install 'attention-influence\[experiment\]'"):
        near_duplicates([("a", "one")])
