"""Sentences for the task come from texts of many kinds, as they stand there."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attention_influence.errors import ProbeError
from attention_influence.heads.sentences import Found, draw_sentences, sentences_of
from attention_influence.model.tokens import Tokens
from tiny_models import tokenizer

TOKENS = Tokens(tokenizer())


def found(*texts: str, limit: int = 100) -> list[str]:
    return sentences_of(texts, TOKENS, limit).sentences


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
        # Spaces and joiners that scripts need are no control characters, and JSON leaves them as they are.
        assert all(c.isprintable() or unicodedata.category(c) in ("Zs", "Cf") for c in sentence)
        assert not set(sentence) & {'"', "\\"}


class Quarters:
    """A tokenizer that makes a token of each `width` characters, in any script."""

    bos = None

    def __init__(self, width: int = 4) -> None:
        self.width = width

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(range(0, len(text), self.width)) for text in texts]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        starts = range(0, len(text), self.width)
        return list(starts), [(start, min(start + self.width, len(text))) for start in starts]


class Bytes(Quarters):
    """A tokenizer that makes a token of each UTF-8 byte."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [list(text.encode()) for text in texts]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return list(text.encode()), [(at, at + 1) for at, char in enumerate(text) for _ in char.encode()]


def of_any_script(text: str, tokens: Quarters | None = None) -> Found:
    return sentences_of([text], tokens or Quarters(), 100)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("between", "sentences"),
    [
        (" ", ["आज सुबह से गाँव में बहुत तेज़ बारिश हो रही है।", "किसान अपने खेत की ओर धीरे धीरे चल पड़ा।"]),
        ("", ["आज सुबह से गाँव में बहुत तेज़ बारिश हो रही है।", "किसान अपने खेत की ओर धीरे धीरे चल पड़ा।"]),
        (" ", ["आज सुबह से गाँव में बहुत तेज़ बारिश हो रही है.", "किसान अपने खेत की ओर धीरे धीरे चल पड़ा."]),
        (" ", ["আজ সকাল থেকে গ্রামে খুব বৃষ্টি হচ্ছে।", "কৃষক তার খেতের দিকে ধীরে ধীরে হাঁটল।"]),
        (" ", ["آج صبح سے گاؤں میں بہت تیز بارش ہو رہی ہے۔", "کسان اپنے کھیت کی طرف آہستہ آہستہ چل پڑا۔"]),
        (" ", ["هل نزل المطر على القرية هذا الصباح؟", "مشى الفلاح ببطء نحو حقله البعيد."]),
        (" ", ["امروز صبح در روستا باران می‌بارد و هوا سرد است.", "کشاورز آرام آرام به سوی مزرعه می‌رود."]),
        (" ", ["ዛሬ ጠዋት በመንደሩ ውስጥ ብዙ ዝናብ እየዘነበ ነው።", "ገበሬው ወደ እርሻው ቀስ ብሎ ሄደ ከዚያም ተመለሰ።"]),
        (" ", ["Այսօր առավոտից գյուղում ուժեղ անձրև է գալիս։", "Գյուղացին դանդաղ քայլեց դեպի իր դաշտը։"]),
        (" ", ["დღეს დილიდან სოფელში ძლიერი წვიმა მოდის.", "გლეხი ნელა წავიდა თავისი ყანისკენ."]),
        (" ", ["Сегодня с утра в деревне идёт сильный дождь.", "Крестьянин медленно пошёл к своему полю."]),
        (" ", ["วันนี้ฝนตกหนักในหมู่บ้านตั้งแต่เช้าตรู่", "ชาวนาค่อยๆเดินไปที่ทุ่งนาของเขาคนเดียว"]),
        (" ", ["ວັນນີ້ຝົນຕົກໜັກຢູ່ໃນບ້ານແຕ່ເຊົ້າ", "ຊາວນາຍ່າງໄປທົ່ງນາຂອງລາວຢ່າງຊ້າໆ"]),
        (" ", ["ယနေ့ မနက်ကစပြီး ရွာမှာ မိုးသည်းထန်စွာ ရွာနေသည်။", "လယ်သမားက သူ့လယ်ဆီသို့ ဖြည်းဖြည်း လျှောက်သွားသည်။"]),
        (
            "",
            [
                "今天从早上开始村子里一直下着很大的雨，没有人出门去田里干活。",
                "农夫慢慢地走向他自己的那块田地，心里想着明天要做的许多重要事情！",
            ],
        ),
        (" ", ["Il pleut fort au village : où va-t-il ?", "Le paysan marche lentement vers son champ."]),
    ],
)
def test_sentences_of_every_script_are_found_as_they_stand(between: str, sentences: list[str]) -> None:
    assert of_any_script(between.join(sentences)).sentences == sentences


def test_a_sentence_of_too_many_bytes_gives_its_first_whole_words() -> None:
    found = of_any_script("ዛሬ ጠዋት በመንደሩ ውስጥ ብዙ ዝናብ እየዘነበ ነው። The rain fell on the town all day.", Bytes())
    assert found == Found(["ዛሬ ጠዋት"], 2, 1), "30 bytes are ten letters; English is not cut"
    thai = of_any_script("วันนี้ฝนตกหนักในหมู่บ้านตั้งแต่เช้าตรู่", Bytes()).sentences
    assert len(thai) == 1
    assert 20 < len(thai[0].encode()) <= 30
    assert "วันนี้ฝนตกหนักในหมู่บ้านตั้งแต่เช้าตรู่".startswith(thai[0])


def test_numerals_do_not_end_a_phrase_and_long_phrases_are_cut() -> None:
    short, long = "วันนี้ ชาวบ้านช่วยกันปลูกข้าว 250 ต้นในทุ่งนา แล้ว", "วันนี้ฝนตกหนักในหมู่บ้านตั้งแต่เช้าตรู่" * 4
    found = of_any_script(f"{short}\n{long}")
    assert found.sentences[0] == "ชาวบ้านช่วยกันปลูกข้าว 250 ต้นในทุ่งนา"
    assert found.sentences[1] == long[:120]
    assert (len(found.sentences), found.shortened) == (2, 1)


def test_when_there_are_more_than_the_limit_they_are_drawn_evenly() -> None:
    texts = [" ".join(f"The rain fell on town {text}{n} today." for n in range(100, 200)) for text in "ABCDEFGHIJ"]
    drawn = sentences_of(texts, Quarters(), 200, seed=1).sentences  # type: ignore[arg-type]
    assert drawn == sorted(drawn), "in the order of the texts"
    by_text = Counter(sentence[len("The rain fell on town ")] for sentence in drawn)
    assert sum(by_text.values()) == 200
    assert set(by_text) == set("ABCDEFGHIJ")
    assert max(by_text.values()) < 40
    assert drawn == sentences_of(texts, Quarters(), 200, seed=1).sentences  # type: ignore[arg-type]
    assert drawn != sentences_of(texts, Quarters(), 200, seed=2).sentences  # type: ignore[arg-type]


def test_inputs_give_equal_shares_as_far_as_they_have_sentences() -> None:
    def prose(name: str, count: int) -> list[str]:
        return [f"The rain fell on town {name}{n} today." for n in range(100, 100 + count)]

    texts = {"few": prose("F", 10), "none": ["item 1", "item 2"], "many": prose("M", 500), "most": prose("N", 900)}
    drawn, counts = draw_sentences(texts, Quarters(), 210, seed=0)  # type: ignore[arg-type]
    assert len(drawn) == len(set(drawn)) == 210
    assert counts == {
        "few": {"texts": 10, "sentences": 10, "shortened": 0},
        "none": {"texts": 2, "sentences": 0, "shortened": 0},
        "many": {"texts": 500, "sentences": 100, "shortened": 0},
        "most": {"texts": 900, "sentences": 100, "shortened": 0},
    }
    turned = dict(reversed(texts.items()))
    assert set(draw_sentences(turned, Quarters(), 210, seed=0)[0]) == set(drawn)  # type: ignore[arg-type]


def test_without_a_sentence_of_fitting_length_it_is_said_how_many_there_were() -> None:
    with pytest.raises(ProbeError, match=r"8 to 30 tokens .* \(2 sentences are shorter or longer\)"):
        draw_sentences({"a": ["It was. " + "The rain fell on the town all day " * 6 + "long."]}, Quarters(), 9, 0)  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match=r"\(3 texts\)"):
        draw_sentences({"a": ["item 1", "item 2"], "b": ["item 3"]}, Quarters(), 9, 0)  # type: ignore[arg-type]
