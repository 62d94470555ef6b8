"""The tokenizer as scoring needs it."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from attention_influence.model import tokens as tokens_module
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


WORDS = ["the", "keeper", "wrote", "height", "of", "tide", "into", "notebook", "and", "was", "kept", "by", "door"]


def whole_text_tokenizer() -> PreTrainedTokenizerFast:
    """As Llama 2 has it: no pre-tokenizer, so that a text is one word; characters that are not known fuse into one."""
    backend = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=["<s>", "<unk>"], show_progress=False)
    backend.train_from_iterator([" ".join(random.Random(0).choices(WORDS, k=500))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")


def unigram_tokenizer() -> PreTrainedTokenizerFast:
    """As T5 and XLM have it; runs of spaces vanish."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
    backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    trainer = trainers.UnigramTrainer(vocab_size=80, special_tokens=["<s>", "<unk>"], unk_token="<unk>")
    trainer.show_progress = False
    backend.train_from_iterator([" ".join(random.Random(0).choices(WORDS, k=500))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")


KINDS = {
    "bytes": Tokens(tokenizer()),
    "words": Tokens(word_tokenizer(WORDS)),
    "whole text": Tokens(whole_text_tokenizer()),
    "unigram": Tokens(unigram_tokenizer()),
}
_parts = st.sampled_from(["the tide ", " ", "a", "ab", "ж", "灯", "\n", "notebook", "x" * 70, " " * 90, "ﬁ", "e\u0301"])


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=200)
@given(parts=st.lists(st.tuples(_parts, st.integers(1, 40)), max_size=8), limit=st.integers(1, 300))
def test_a_text_that_is_surely_too_long_is_too_long(kind: str, parts: list[tuple[str, int]], limit: int) -> None:
    text = "".join(part * times for part, times in parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens_module, "_PIECE_CHARS", 64)
        surely = KINDS[kind].surely_more_than(limit, text)
    count = len(KINDS[kind].encode([text])[0])
    assert count > limit or not surely


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_far_above_the_limit_is_found_out_whatever_the_tokenizer(kind: str) -> None:
    text = " ".join(random.Random(1).choices(WORDS, k=100_000))
    count = len(KINDS[kind].encode([text])[0])
    assert KINDS[kind].surely_more_than(count // 3, text)
    assert not KINDS[kind].surely_more_than(count, text)


def test_a_text_is_tokenized_in_pieces_until_it_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens, seen = Tokens(tokenizer()), []
    encode = tokens.encode
    monkeypatch.setattr(tokens, "encode", lambda texts: seen.extend(map(len, texts)) or encode(texts))
    assert tokens.surely_more_than(100_000, "The keeper of the tide. " * 200_000)
    assert max(seen) == 2**16
    assert sum(seen) <= 2 * 100_000 * 24 + 2**16
    seen.clear()
    assert not tokens.surely_more_than(100_000, "x" * 200_000)
    assert seen == [], "a text this short is tokenized once, whole"
