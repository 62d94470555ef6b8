"""Pairs of words, and the second of each again: retrieval for networks too small for the paper's task.

The paper's probes need some 500 tokens and a network that copies whole sentences. These are as short as the context
asks for: n different words in pairs, then the first words again in another order, each followed by its second, which is
to be predicted. Nothing but the list tells which it is.
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence

from attention_influence.errors import ProbeError
from attention_influence.heads.probes import Probe
from attention_influence.model.tokens import Tokens

_MOST_PAIRS, _FEWEST_PAIRS = 16, 3
_WORDS = 1000


def frequent_words(texts: Sequence[str], tokens: Tokens) -> list[int]:
    """The 1,000 tokens that stand most often in the texts and are made of letters, but for white space at their ends.

    Each is a word or a part of one. Equally frequent ones come by their id.
    """
    counts: Counter[int] = Counter()
    spelled: dict[int, str] = {}
    for text in texts:
        ids, offsets = tokens.encode_with_offsets(text)
        counts.update(ids)
        for token, (low, high) in zip(ids, offsets, strict=True):
            if token not in spelled:
                spelled[token] = text[low:high].strip()
    words = [token for token in sorted(counts, key=lambda token: (-counts[token], token)) if spelled[token].isalpha()]
    return words[:_WORDS]


def make_pair_probes(words: Sequence[int], bos: int | None, context: int, seed: int) -> Iterator[Probe]:
    """Endless probes of at most `context` tokens and 16 pairs, each drawn from a generator of its own.

    Raises ProbeError where three pairs do not fit, or there are too few words.
    """
    before = [] if bos is None else [bos]
    pairs = min(_MOST_PAIRS, (context - len(before)) // 4)
    if pairs < _FEWEST_PAIRS:
        raise ProbeError(f"a context of {context} tokens is too short for {_FEWEST_PAIRS} pairs of words, asked again")
    pairs = min(pairs, len(words) // 2)
    if pairs < _FEWEST_PAIRS:
        raise ProbeError(f"the texts have {len(words)} words of one token, and pair probes need {2 * _FEWEST_PAIRS}")
    number = 0
    while True:
        yield _probe(words, before, pairs, random.Random(f"{seed}/{number}"))
        number += 1


def _probe(words: Sequence[int], before: list[int], n_pairs: int, rng: random.Random) -> Probe:
    drawn = rng.sample(words, 2 * n_pairs)
    pairs = list(zip(drawn[::2], drawn[1::2], strict=True))
    asked = rng.sample(pairs, n_pairs)
    start = len(before)
    seconds = range(start + 1, start + 4 * n_pairs, 2)
    return Probe(
        tuple(before + drawn + [token for pair in asked for token in pair]),
        answer=tuple(seconds[n_pairs:]),
        needle=tuple(seconds[:n_pairs]),
        n_pairs=n_pairs,
        value="",
    )
