"""The retrieval task: find the sentence that belongs to a key in a JSON object (paper, section 3 and appendix A).

A probe's prompt and answer are tokenized once, as one string; what belongs to the answer and to the value in the JSON
is identified by character offsets.
"""

import random
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from attention_influence.errors import ProbeError
from attention_influence.model.tokens import Tokens
from attention_influence.tasks.items import Question, Reading

_INSTRUCTION = "Extract the value of the given key from the JSON object. Output only the value."
_DEMONSTRATIONS = 3
_KEY_CHARS = 32
_FEWEST_PAIRS = _DEMONSTRATIONS + 2


@dataclass(frozen=True)
class Probe:
    """One sample: the tokens of prompt and answer, and where the needle lies."""

    tokens: tuple[int, ...]
    """With the tokenizer's BOS, if it adds one."""
    answer: tuple[int, ...]
    """Positions of the answer's tokens; each is predicted by the position before it."""
    needle: tuple[int, ...]
    """Positions of the tokens inside the value in the JSON that the query's key belongs to."""
    n_pairs: int
    value: str
    """The sentence that is asked for."""

    def question(self) -> Question:
        """The answer to be predicted, as of an item of any other task."""
        at = tuple(i - 1 for i in self.answer)
        targets = tuple(self.tokens[i] for i in self.answer)
        return Question((Reading(self.tokens[:-1], at, targets, (0,) * len(at)),))


def make_probe(
    sentences: Collection[str], tokens: Tokens, context: int, rng: random.Random, value: str | None = None
) -> Probe:
    """A probe of at most `context` tokens, to which no further pair could be added; `value` is the sentence asked for.

    By default one of `sentences` as the others are. Raises ProbeError.
    """
    too_few = ProbeError(
        f"{len(sentences)} sentences do not fill a context of {context} tokens; give more texts with --sentences, or "
        "lower --context"
    )
    if len(sentences) < _FEWEST_PAIRS:
        raise too_few
    pool = list(sentences)
    typical = len(tokens.encode([_pair(_random_key(rng), pool[0])])[0])
    most = min(len(pool), 4 * context // typical + _FEWEST_PAIRS)
    drawn = rng.sample(pool, most)
    if value is not None:
        place = drawn.index(value) if value in drawn else _DEMONSTRATIONS
        drawn[place], drawn[_DEMONSTRATIONS] = drawn[_DEMONSTRATIONS], value
    pairs = [(_random_key(rng), sentence) for sentence in drawn]
    places = [rng.random() for _ in pairs]

    def tokenized(n_pairs: int) -> Probe:
        return _tokenize(pairs[:n_pairs], places, tokens)

    sizes = [len(ids) for ids in tokens.encode([_pair(*pair) for pair in pairs])]
    n_pairs, total = 0, sum(sizes[: _DEMONSTRATIONS + 1])  # the demonstrations and the answer repeat theirs
    while n_pairs < most and total + sizes[n_pairs] < context:
        total += sizes[n_pairs]
        n_pairs += 1
    n_pairs = max(n_pairs, _FEWEST_PAIRS)
    probe = tokenized(min(n_pairs, most))
    while len(probe.tokens) > context:
        if probe.n_pairs <= _FEWEST_PAIRS:
            raise ProbeError(
                f"a context of {context} tokens is too short for {_DEMONSTRATIONS} demonstrations and a query "
                f"({len(probe.tokens)} tokens); raise --context"
            )
        probe = tokenized(probe.n_pairs - 1)
    while probe.n_pairs < most:
        longer = tokenized(probe.n_pairs + 1)
        if len(longer.tokens) > context:
            return probe
        probe = longer
    raise too_few


def _random_key(rng: random.Random) -> str:
    return "".join(rng.choices(string.ascii_letters + string.digits, k=_KEY_CHARS))


def _pair(key: str, sentence: str) -> str:
    return f'"{key}": "{sentence}", '


def _tokenize(pairs: Sequence[tuple[str, str]], places: Sequence[float], tokens: Tokens) -> Probe:
    """The probe whose first pairs are the demonstrations and the query; `places` order the pairs in the JSON."""
    text = _INSTRUCTION + "\n\n{"
    query = _DEMONSTRATIONS
    in_json = (0, 0)
    for i in sorted(range(len(pairs)), key=lambda i: places[i]):
        key, sentence = pairs[i]
        if i == query:
            start = len(text) + len(key) + 5  # "key": "
            in_json = (start, start + len(sentence))
        text += _pair(key, sentence)
    text = text.removesuffix(", ") + "}\n"
    for key, sentence in pairs[:_DEMONSTRATIONS]:
        text += f"\n{key}\n{sentence}\n"
    key, sentence = pairs[query]
    text += f"\n{key}\n"
    in_answer = (len(text), len(text) + len(sentence))
    ids, offsets = tokens.encode_with_offsets(text + sentence)
    bos = [] if tokens.bos is None else [tokens.bos]
    answer = _inside(offsets, in_answer)
    needle = _inside(offsets, in_json)
    shift = len(bos)
    return Probe(
        tuple(bos + ids),
        tuple(i + shift for i in answer),
        tuple(i + shift for i in needle),
        len(pairs),
        sentence,
    )


def _inside(offsets: Sequence[tuple[int, int]], span: tuple[int, int]) -> list[int]:
    return [i for i, (low, high) in enumerate(offsets) if span[0] <= low < high <= span[1]]
