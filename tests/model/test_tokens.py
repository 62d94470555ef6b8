"""The tokenizer as scoring needs it."""

import pytest

from attention_influence.model.tokens import Tokens
from tiny_models import tokenizer, word_tokenizer


def test_bos_is_found_only_where_the_tokenizer_puts_it() -> None:
    assert Tokens(tokenizer(bos=True)).bos == 0
    assert Tokens(tokenizer(bos=False)).bos is None
    assert Tokens(word_tokenizer(["a"], bos=True)).bos == 0
    assert Tokens(word_tokenizer(["a"])).bos is None


def test_encoding_adds_no_special_tokens() -> None:
    made = tokenizer(bos=True)
    ids = Tokens(made).encode(["The tide", ""])
    assert ids == [made("The tide", add_special_tokens=False).input_ids, []]


def test_special_tokens_in_a_text_are_scored_as_text() -> None:
    made = tokenizer()
    special = made.convert_tokens_to_ids("<|im_start|>")
    ids = Tokens(made).encode(["a<|im_start|>b"])[0]
    assert special not in ids
    assert made.decode(ids) == "a<|im_start|>b"
    assert special in made("a<|im_start|>b").input_ids, "the caller's tokenizer keeps its own treatment"


def test_truncation_and_padding_of_the_callers_tokenizer_do_not_apply() -> None:
    made = tokenizer()
    made.backend_tokenizer.enable_truncation(3)
    made.backend_tokenizer.enable_padding(length=50)
    tokens = Tokens(made)
    assert len(tokens.encode(["The notebook was kept."])[0]) > 3
    assert len(tokens.encode(["The"])[0]) < 50


def test_the_hash_is_of_what_the_tokenizer_is_and_not_of_its_last_call() -> None:
    used = tokenizer()
    used(["The tide"], truncation=True, max_length=4)
    used.backend_tokenizer.enable_truncation(3)
    assert Tokens(used).hash == Tokens(tokenizer()).hash
    assert Tokens(used).hash != Tokens(tokenizer(bos=False)).hash


@pytest.mark.parametrize("text", ["The keeper wrote.", "déjà vu — ça", "灯塔守护人。", "a\n\nb\tc 🙂"])
def test_offsets_are_those_of_characters_and_cover_the_text(text: str) -> None:
    ids, offsets = Tokens(tokenizer()).encode_with_offsets(text)
    assert ids == Tokens(tokenizer()).encode([text])[0]
    assert len(ids) == len(offsets)
    covered = {i for low, high in offsets for i in range(low, high)}
    assert covered == set(range(len(text)))
