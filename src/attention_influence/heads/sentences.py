"""Natural sentences out of any texts, for the values of the retrieval task."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import regex

from attention_influence.corpus.rows import must_be_texts
from attention_influence.errors import ProbeError, TextsError
from attention_influence.model.tokens import Tokens

# Unicode's own classes (UAX #29). Western marks end a sentence only before white space, the others wherever they stand.
_MARK = r"\p{Sentence_Break=STerm}\p{Sentence_Break=ATerm}"
WESTERN_MARKS = r"[[!?]\p{Sentence_Break=ATerm}]"
"""A set for `regex` (V1): marks that end a sentence before white space."""
FULL_MARKS = r"[\p{Sentence_Break=STerm}--[!?]]"
"""The same of marks that end a sentence wherever they stand."""
# Scripts without a mark at the end of a sentence: white space stands between phrases and beside numerals, not words.
_UNMARKED = r"\p{Thai}\p{Lao}\p{Tibetan}\p{Tai_Le}\p{New_Tai_Lue}\p{Tai_Viet}"
_FEWEST_PHRASE_CHARS = 10
# A sentence starts after the end of another or of a line, and ends with its own mark.
_SENTENCE = regex.compile(
    rf"(?:^|(?<={WESTERN_MARKS}\s)|(?<={FULL_MARKS}\s)|(?<={FULL_MARKS}))[^\s{_MARK}{_UNMARKED}][^{_MARK}\n]*[{_MARK}]"
    rf"(?=\s|$|(?<={FULL_MARKS}))"
    rf"|(?<!\S)[{_UNMARKED}]\S*(?: \p{{N}}\S*(?: [{_UNMARKED}]\S*)?)*",
    regex.M | regex.V1,
)
_STARTS_UNMARKED = regex.compile(rf"[{_UNMARKED}]")
# JSON would write the first four differently from what the model is asked to repeat; the others are no text.
_UNFIT = regex.compile(r"[\"\\\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Cn}\p{Co}]")
_LETTER = regex.compile(r"[\p{L}\p{M}]")
_WORD_END = regex.compile(r"(?w)\b")
_MIN_TOKENS, _MAX_TOKENS = 8, 30
_MOST_CHARS = 400
_ENCODED_TOGETHER = 4096


@dataclass(frozen=True)
class Found:
    """Sentences of one input."""

    sentences: list[str]
    looked_at: int
    """How many there were of any length, as far as they were looked at."""
    shortened: int
    """Of `sentences`, how many are only the first words of one."""


def sentences_of(texts: Iterable[str], tokens: Tokens, limit: int, seed: int = 0) -> Found:
    """Up to `limit` different sentences of 8 to 30 tokens, in the order of the texts; drawn evenly if there are more.

    Sentences with quotes, backslashes or control characters are dropped: JSON would write them differently from what
    the model is asked to repeat. So are those that start with a small letter where sentences start with a capital (cut
    at an abbreviation), and those of which less than half are letters. Of a sentence that is too long because the
    tokenizer makes more than a token of each of its characters, the first words that fit are taken. Raises TextsError
    for what is no list of texts.
    """
    must_be_texts(texts)
    texts = list(texts)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            raise TextsError(f"text {number} of those given for sentences is a {type(text).__name__}; give strings")
    candidates = list(
        {s: None for text in texts for s in (m.group().strip() for m in _SENTENCE.finditer(text)) if _is_plain(s)}
    )
    order = list(range(len(candidates)))
    if len(order) > limit:
        random.Random(seed).shuffle(order)
    fitting: dict[int, str] = {}
    shortened, looked_at = 0, 0
    for start in range(0, len(order), _ENCODED_TOGETHER):
        if len(fitting) >= limit:
            break
        lot = order[start : start + _ENCODED_TOGETHER]
        for at, ids in zip(lot, tokens.encode([candidates[at] for at in lot]), strict=True):
            if len(fitting) >= limit:
                break
            looked_at += 1
            sentence = candidates[at]
            if len(ids) > _MAX_TOKENS and (len(ids) > len(sentence) or _STARTS_UNMARKED.match(sentence)):
                if beginning := _first_words(sentence, tokens):
                    fitting[at] = beginning
                    shortened += 1
            elif _MIN_TOKENS <= len(ids) <= _MAX_TOKENS:
                fitting[at] = sentence
    return Found(list(dict.fromkeys(fitting[at] for at in sorted(fitting))), looked_at, shortened)


def draw_sentences(
    texts: Mapping[str, Sequence[str]], tokens: Tokens, limit: int, seed: int
) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """Up to `limit` different sentences → their input, an equal share from each as far as it has them; input → counts.

    The counts are `texts`, `sentences` (of the sentences given) and `shortened` (see `sentences_of`). Raises ProbeError
    when there is no sentence at all.
    """
    found = {name: sentences_of(of_input, tokens, limit, seed) for name, of_input in texts.items()}
    if not any(one.sentences for one in found.values()):
        long = sum(one.looked_at for one in found.values())
        raise ProbeError(
            f"no natural sentence of {_MIN_TOKENS} to {_MAX_TOKENS} tokens was found in the texts given for the task "
            + (f"({long:,} sentences are shorter or longer)" if long else f"({sum(map(len, texts.values())):,} texts)")
            + "; give prose with --sentences"
        )
    shares: dict[str, int] = {}
    for name in sorted(found, key=lambda name: len(found[name].sentences)):
        left = limit - sum(shares.values())
        shares[name] = min(len(found[name].sentences), left // (len(found) - len(shares)))
    pooled: dict[str, str] = {}
    for name, one in found.items():
        chosen = random.Random(seed).sample(range(len(one.sentences)), shares[name])
        for at in sorted(chosen):
            pooled.setdefault(one.sentences[at], name)
    owners = list(pooled.values())
    counts = {
        name: {"texts": len(of_input), "sentences": owners.count(name), "shortened": found[name].shortened}
        for name, of_input in texts.items()
    }
    return pooled, counts


def _is_plain(sentence: str) -> bool:
    # Georgian's everyday letters count as small ones, and no sentence of it starts with a capital.
    begins_small = sentence[0].islower() and sentence[0].title() != sentence[0]
    if begins_small or len(sentence) > _MOST_CHARS or _UNFIT.search(sentence):
        return False
    if len(sentence) < _FEWEST_PHRASE_CHARS and _STARTS_UNMARKED.match(sentence):
        return False
    return 2 * len(_LETTER.findall(sentence)) >= len(sentence)


def _first_words(sentence: str, tokens: Tokens) -> str | None:
    """As many of the first words of a sentence as fit (of a script without spaces, characters); None if none do."""
    _, offsets = tokens.encode_with_offsets(sentence)
    fitting = offsets[_MAX_TOKENS][0]
    for end in reversed([m.start() for m in _WORD_END.finditer(sentence) if 0 < m.start() <= fitting]):
        beginning = sentence[:end].rstrip()
        count = len(tokens.encode([beginning])[0])
        if count <= _MAX_TOKENS:
            return beginning if count >= _MIN_TOKENS else None
    return None
