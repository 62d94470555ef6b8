"""The retrieval task: it fills its context, and its answer and needle are where they are said to be."""

import itertools
import random
import re
import string
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_influence.errors import ProbeError
from attention_influence.heads import probes
from attention_influence.heads.detect import make_probes
from attention_influence.heads.probes import Probe, make_probe
from attention_influence.model.tokens import Tokens
from tiny_models import tiny, tokenizer

WORDS = ["the", "keeper", "wrote", "height", "of", "tide", "into", "notebook", "and", "was", "kept", "tower"]


@cache
def tokens_of(bos: bool) -> Tokens:
    return Tokens(tokenizer(bos))


def pool(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return list({" ".join(draw.choices(WORDS, k=draw.randint(4, 8))).capitalize() + "." for _ in range(count)})


def text_of(probe: Probe) -> str:
    return tokenizer().decode(probe.tokens, skip_special_tokens=True)


def decoded(probe: Probe, positions: tuple[int, ...]) -> str:
    return tokenizer().decode([probe.tokens[i] for i in positions])


@settings(max_examples=40)
@given(
    context=st.integers(700, 1500),
    count=st.integers(60, 200),
    seed=st.integers(0, 10**6),
    bos=st.booleans(),
)
def test_a_probe_fills_its_context_and_says_where_answer_and_needle_are(
    context: int, count: int, seed: int, bos: bool
) -> None:
    sentences = pool(count, seed)
    probe = make_probe(sentences, tokens_of(bos), context, random.Random(seed))
    assert len(probe.tokens) <= context
    assert (probe.tokens[0] == 0) == bos

    text = text_of(probe)
    body, *rest = text.split("}\n")
    demonstrations = rest[0].strip("\n").split("\n\n")
    pairs = dict(re.findall(r'"([A-Za-z0-9]{32})": "([^"]*)"', body))
    assert len(pairs) == probe.n_pairs
    assert set(pairs.values()) <= set(sentences)
    assert body.startswith("Extract the value of the given key from the JSON object. Output only the value.\n\n{")
    assert len(demonstrations) == 4
    for shown in demonstrations:
        key, value = shown.split("\n")
        assert pairs[key] == value
    assert len({shown.split("\n")[0] for shown in demonstrations}) == 4
    assert all(set(key) <= set(string.ascii_letters + string.digits) for key in pairs)

    key, answer = demonstrations[-1].split("\n")
    assert decoded(probe, probe.answer) == answer
    assert probe.answer == tuple(range(probe.answer[0], len(probe.tokens))), "the answer ends the probe"
    assert decoded(probe, probe.needle) == answer
    before_needle = tokenizer().decode(probe.tokens[: probe.needle[0]], skip_special_tokens=True)
    assert before_needle.endswith(f'"{key}": "')


def test_one_more_pair_would_exceed_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    built: dict[int, int] = {}
    own = probes._tokenize

    def noted(pairs: list[tuple[str, str]], places: list[float], tokens: Tokens) -> Probe:
        probe = own(pairs, places, tokens)
        built[probe.n_pairs] = len(probe.tokens)
        return probe

    monkeypatch.setattr(probes, "_tokenize", noted)
    for context, seed in itertools.product(range(700, 1000, 37), range(3)):
        built.clear()
        probe = make_probe(pool(100), tokens_of(True), context, random.Random(seed))
        assert built[probe.n_pairs] <= context < built[probe.n_pairs + 1]


def test_the_needle_lies_anywhere_in_the_object() -> None:
    places = []
    for seed in range(40):
        probe = make_probe(pool(100), tokens_of(False), 800, random.Random(seed))
        places.append(probe.needle[0] / len(probe.tokens))
    assert min(places) < 0.2
    assert max(places) > 0.5


def test_a_probe_is_the_same_for_the_same_seed_whatever_came_before() -> None:
    model = tiny("llama", max_position_embeddings=1024).model
    sentences = dict.fromkeys(pool(80), "texts")
    once, again, other = (list(itertools.islice(make_probes(model, sentences, 700, seed), 4)) for seed in (3, 3, 4))
    assert once == again
    assert len({probe.tokens for probe in once + other}) == 8
    third = next(itertools.islice(make_probes(model, sentences, 700, 3), 2, None))
    assert third == once[2]


def test_inputs_are_asked_for_in_turn_however_few_sentences_they_have() -> None:
    model = tiny("llama", max_position_embeddings=1024).model
    many, few = pool(80)[:77], pool(80)[77:]
    sentences = dict.fromkeys(many, "many") | dict.fromkeys(few, "few")
    for number, probe in enumerate(itertools.islice(make_probes(model, sentences, 700, 0), 12)):
        assert sentences[probe.value] == ("few", "many")[number % 2]
        values = re.findall(r'": "([^"]*)"', text_of(probe))
        assert probe.value in values
        assert len(set(values)) == len(values) == probe.n_pairs
        assert text_of(probe).endswith(f"\n{probe.value}")


def test_a_tokenizer_that_merges_across_the_quote_leaves_the_merged_token_out() -> None:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {c: i for i, c in enumerate([*alphabet, '."'])}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[(".", '"')]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=backend)
    probe = make_probe(pool(100), Tokens(made), 1500, random.Random(0))
    answer = made.decode([probe.tokens[i] for i in probe.answer])
    assert answer.endswith(".")
    assert made.decode([probe.tokens[i] for i in probe.needle]) == answer[:-1]


@pytest.mark.parametrize(
    ("sentences", "context", "said"),
    [
        (pool(100), 100, r"context of 100 tokens is too short for 3 demonstrations .*raise --context"),
        (pool(100)[:8], 3000, r"8 sentences do not fill a context of 3000 tokens; .*--sentences"),
        (pool(100)[:4], 3000, r"4 sentences .*--sentences"),
        (pool(100)[:1], 3000, r"1 sentence.*--sentences"),
    ],
)
def test_too_little_of_anything_is_said(sentences: list[str], context: int, said: str) -> None:
    with pytest.raises(ProbeError, match=said):
        make_probe(sentences, tokens_of(True), context, random.Random(0))
