"""What can be known of a document's influence without the model: how it repeats itself, and what kind of text it is.

A text is a list of 64-bit hashes: of its tokens where a tokenizer is at hand, for influence is a mean over tokens; else
of its words, which are runs of letters, of digits and of two or more spaces, and single other bytes. Both are called
words below. All of it is array arithmetic and sorts in NumPy, without a loop over words.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.float64]

# Odd multipliers with well-spread bits; sums and products wrap at 64 bits.
_WORD = np.uint64(0x9E3779B97F4A7C15)
_GRAM = np.uint64(0xBF58476D1CE4E5B9)
_LONGEST_WORD = 64
"""Bytes that a word's hash counts; longer runs are cut there."""

_CONTEXTS = (1, 2, 3, 5)
"""Words of a context whose earlier continuation a word may repeat."""
_TRUST = {1: 0.25, 2: 0.5, 3: 0.65, 5: 0.8}
"""Context → the probability that a guess gives to what followed it last time."""
_RARE = 5.0
"""Nats, from which on a word is called rare."""

_LETTER, _DIGIT, _SPACE, _LINE, _OTHER = range(5)
_SHARES = ("letters", "digits", "spaces", "lines", "signs", "capitals", "brackets", "beyond_ascii")

_BUCKET_BITS = 16

NAMES: tuple[str, ...] = (
    *(f"{what}_{n}" for n in _CONTEXTS for what in ("seen", "hit", "hit_rare", "any", "any_rare")),
    *("near", "gain", "unexplained", "gain_ratio", "losses", "known", "rare", "rare_known", "rare_hit"),
    *("repeated_lines", "distinct", "log_words", "bytes_per_word", "compression", "compression_halves"),
    *("rarity", "rarity_spread", "rarity_median"),
    *_SHARES,
)
"""Of the features, in their order. seen_n: share of words whose n words before stood earlier; hit_n: that repeat what
followed these last time; any_n: at any earlier time; the _rare ones weigh words by their rarity. A guess expects what
followed the longest context last time: gain is what it takes from the mean rarity, unexplained what it leaves, losses
what it costs where it is wrong. known: share of rarity in words that stood earlier; rare_known, rare_hit: shares of the
rare words that did, and that are guessed."""


def _byte_classes() -> NDArray[np.uint8]:
    classes = np.full(256, _OTHER, dtype=np.uint8)
    for characters, kind in ((b"0123456789", _DIGIT), (b" \t", _SPACE), (b"\r\n", _LINE)):
        classes[list(characters)] = kind
    letters = [byte for byte in range(256) if byte >= 128 or chr(byte).isalpha() or chr(byte) == "_"]
    classes[letters] = _LETTER
    return classes


_CLASSES = _byte_classes()
_CAPITALS, _BRACKETS = (np.isin(np.arange(256), list(some)) for some in (bytes(range(65, 91)), b"()[]{}<>"))
_SINGLE_SPACE = np.uint64(ord(" ") + 1)
_POWERS = _WORD ** np.arange(_LONGEST_WORD, dtype=np.uint64)


@dataclass(frozen=True)
class Text:
    """A document as predictions see it."""

    content: bytes
    """UTF-8."""
    words: Hashes


def in_words(content: bytes) -> Text:
    """A UTF-8 text without a tokenizer."""
    return Text(content, words_of(content))


def in_tokens(content: bytes, tokens: Sequence[int]) -> Text:
    """A UTF-8 text by its token ids."""
    return Text(content, _spread((np.asarray(tokens, dtype=np.uint64) + np.uint64(1)) * _WORD))


def words_of(content: bytes) -> Hashes:
    """The hash of each word of a UTF-8 text, in order."""
    values = np.frombuffer(content, dtype=np.uint8)
    if not len(values):
        return np.zeros(0, dtype=np.uint64)
    classes = _CLASSES[values]
    begins = np.ones(len(values), dtype=np.bool_)
    begins[1:] = (classes[1:] != classes[:-1]) | (classes[1:] == _OTHER)
    starts = np.flatnonzero(begins)
    within = np.arange(len(values)) - np.repeat(starts, np.diff(starts, append=len(values)))
    starts = np.flatnonzero(begins | (within % _LONGEST_WORD == 0))
    weighted = (values.astype(np.uint64) + np.uint64(1)) * _POWERS[within % _LONGEST_WORD]
    sums = np.add.reduceat(weighted, starts)
    sums = sums[(sums != _SINGLE_SPACE) | (np.diff(starts, append=len(values)) > 1)]
    return _spread(sums)


def _spread(sums: Hashes) -> Hashes:
    return np.asarray((sums ^ (sums >> np.uint64(31))) * _GRAM, dtype=np.uint64)


@dataclass(frozen=True)
class WordCounts:
    """How often words come in some documents, by a part of their hashes: so a word's rarity can be told."""

    counts: NDArray[np.int64]
    """[2**_BUCKET_BITS]."""
    total: int

    def rarity(self, words: Hashes, counted: bool) -> Numbers:
        """−ln of each word's relative frequency; that of a document which was `counted` without its own words."""
        buckets = _buckets(words)
        counts, total = self.counts[buckets], self.total
        if counted:
            _, of_word, own = np.unique(buckets, return_inverse=True, return_counts=True)
            counts, total = counts - own[of_word], total - len(words)
        return np.asarray(np.log(total + len(self.counts)) - np.log(counts + 1))


def count_words(documents: Iterable[Hashes]) -> WordCounts:
    """The words of the documents, counted."""
    counts = np.zeros(1 << _BUCKET_BITS, dtype=np.int64)
    for words in documents:
        np.add.at(counts, _buckets(words), 1)
    return WordCounts(counts, int(counts.sum()))


def _buckets(words: Hashes) -> NDArray[np.int64]:
    return (words >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)


def features_of(text: Text, elsewhere: WordCounts, *, counted: bool = False) -> Numbers:
    """The features of a text, [len(NAMES)]; NaN where it is too short to have one.

    `elsewhere` says how rare its words are; where the document itself was `counted` there, it is left out.
    """
    content, words = text.content, text.words
    n = len(words)
    rarity = elsewhere.rarity(words, counted)
    lines = [line for line in content.split(b"\n") if line.strip()]
    values = [
        *_repetition(words, rarity),
        1 - len(set(lines)) / len(lines) if lines else np.nan,
        len(np.unique(words)) / n if n else np.nan,
        np.log1p(n),
        len(content) / n if n else np.nan,
        *_compression(content),
        float(rarity.mean()) if n else np.nan,
        float(rarity.std()) if n else np.nan,
        float(np.median(rarity)) if n else np.nan,
        *_shares(content),
    ]
    return np.array(values, dtype=np.float64)


def _repetition(words: Hashes, rarity: Numbers) -> list[float]:
    """The features of repetition, in the order of NAMES."""
    earlier = {n: _earlier(grams) for n, grams in _grams(words)}
    values = []
    for context in _CONTEXTS:
        weights, follows = rarity[context:], words[context:]
        if not len(follows):
            values += [np.nan] * 5
            continue
        last = earlier[context][:-1]
        seen, again = last >= 0, earlier[context + 1] >= 0
        hit = seen & (follows[last] == follows)
        whole = weights.sum()
        values += [seen.mean(), hit.mean(), weights[hit].sum() / whole, again.mean(), weights[again].sum() / whole]
    (pairs,) = np.nonzero(earlier[2] >= 0)
    near = (1 / np.log2(2 + pairs - earlier[2][pairs])).sum() / len(earlier[2]) if len(earlier[2]) else np.nan
    return [*values, near, *_guesses(words, rarity, earlier)]


def _guesses(words: Hashes, rarity: Numbers, earlier: Mapping[int, NDArray[np.int64]]) -> list[float]:
    """What expecting the continuation of the longest earlier context explains, in the order of NAMES."""
    if not len(words):
        return [np.nan] * 8
    trust, hit = np.zeros(len(words)), np.zeros(len(words), dtype=np.bool_)
    for context in _CONTEXTS:
        last = earlier[context][:-1]
        (seen,) = np.nonzero(last >= 0)
        trust[seen + context] = _TRUST[context]
        hit[seen + context] = words[last[seen] + context] == words[seen + context]
    gain = np.log(1 - trust + trust * hit * np.exp(rarity))
    known, rare = earlier[1] >= 0, rarity > _RARE
    left, many = float((rarity - gain).mean()), max(int(rare.sum()), 1)
    return [
        float(gain.mean()),
        left,
        float(gain.mean()) / max(left, 1e-3),
        float(np.minimum(gain, 0).mean()),
        float(rarity[known].sum() / rarity.sum()),
        float(rare.mean()),
        float((known & rare).sum()) / many,
        float((hit & rare).sum()) / many,
    ]


def _grams(words: Hashes) -> Iterator[tuple[int, Hashes]]:
    """Up to one more than the longest context: n, and a hash of each n words in a row, at the place of the first."""
    grams = words
    for n in range(1, _CONTEXTS[-1] + 2):
        yield n, grams
        grams = (grams[:-1] ^ (grams[:-1] >> np.uint64(29))) * _GRAM + words[n:]


def _earlier(keys: Hashes) -> NDArray[np.int64]:
    """The last earlier place of the same key, −1 where there is none."""
    order = np.argsort(keys, kind="stable")
    same = keys[order[1:]] == keys[order[:-1]]
    earlier = np.full(len(keys), -1, dtype=np.int64)
    earlier[order[1:][same]] = order[:-1][same]
    return earlier


def _compression(content: bytes) -> Iterator[float]:
    """Compressed over whole size; and of the halves each alone, over that: how much the second repeats of the first."""
    if not content:
        yield from (np.nan, np.nan)
        return
    middle = len(content) // 2
    whole = len(zlib.compress(content, 6))
    yield whole / len(content)
    yield (len(zlib.compress(content[:middle], 6)) + len(zlib.compress(content[middle:], 6))) / whole


def _shares(content: bytes) -> list[float]:
    """_SHARES: of the bytes."""
    values = np.frombuffer(content, dtype=np.uint8)
    if not len(values):
        return [np.nan] * len(_SHARES)
    counts = np.bincount(values, minlength=256)
    of_class = np.bincount(_CLASSES, weights=counts, minlength=5)
    others = [counts[_CAPITALS].sum(), counts[_BRACKETS].sum(), counts[128:].sum()]
    shares: list[float] = (np.concatenate([of_class, others]) / len(values)).tolist()
    return shares
