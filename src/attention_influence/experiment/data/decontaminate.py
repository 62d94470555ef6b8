"""Which documents hold a benchmark item: they share 13 words in a row with it (Brown et al. 2020, appendix C).

Words are runs of letters and digits in lower case, whatever stands between them; in scripts that put no spaces between
words each character counts as one. Items of fewer than 13 words are looked for whole, those of fewer than 8 not at all.
"""

from collections.abc import Iterable, Iterator

import regex

from attention_influence.tasks.items import Choices, Item

WORDS = 13
_FEWEST = 8
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
_WORD = regex.compile(rf"[{_UNSPACED}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_UNSPACED}]]+", regex.V1)


class Decontamination:
    """The word sequences of benchmark items, to find documents that hold one."""

    def __init__(self, items: Iterable[str]) -> None:
        self.items = 0
        self.too_short = 0
        """Items of fewer than 8 words: they stand in many texts by chance, and are not looked for."""
        self._sequences: dict[int, set[str]] = {}
        """By their number of words."""
        for text in items:
            words = words_of(text)
            self.items += 1
            if len(words) < _FEWEST:
                self.too_short += 1
                continue
            length = min(WORDS, len(words))
            self._sequences.setdefault(length, set()).update(_runs(words, length))

    def contaminated(self, text: str) -> bool:
        """Whether the text shares a sequence of words with an item."""
        words = words_of(text)
        return any(
            not sequences.isdisjoint(_runs(words, length)) for length, sequences in sorted(self._sequences.items())
        )


def item_text(item: Item | Choices) -> str:
    """What a document that holds the item would say: its prompt and the right answer."""
    return item.prompt + (item.answer if isinstance(item, Item) else item.choices[item.right])


def words_of(text: str) -> list[str]:
    return list(_WORD.findall(text.lower()))


def _runs(words: list[str], length: int) -> Iterator[str]:
    return (" ".join(words[i : i + length]) for i in range(len(words) - length + 1))
