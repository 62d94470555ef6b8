"""Natural sentences out of any texts, for the values of the retrieval task."""

import re
from collections.abc import Iterable

from attention_influence.model.tokens import Tokens

# A sentence starts after the end of another or of a line, and ends with its own full stop.
_SENTENCE = re.compile(
    r"(?:^|(?<=[.!?。！？]\s)|(?<=[。！？]))[^\s.!?。！？][^.!?。！？\n]*[.!?。！？](?=\s|$|(?<=[。！？]))", re.M
)
_MIN_TOKENS, _MAX_TOKENS = 8, 30
_MOST_CHARS = 400


def sentences_of(texts: Iterable[str], tokens: Tokens, limit: int) -> list[str]:
    """Up to `limit` different sentences of 8 to 30 tokens, in the order of the texts.

    Sentences with quotes, backslashes or control characters are dropped: JSON would write them differently from what
    the model is asked to repeat. So are those that start with a small letter (cut at an abbreviation), and those of
    which less than half are letters.
    """
    found: dict[str, None] = {}
    for text in texts:
        candidates = [
            s for s in (m.group().strip() for m in _SENTENCE.finditer(text)) if _is_plain(s) and s not in found
        ]
        for sentence, ids in zip(candidates, tokens.encode(candidates), strict=True):
            if _MIN_TOKENS <= len(ids) <= _MAX_TOKENS:
                found[sentence] = None
        if len(found) >= limit:
            break
    return list(found)[:limit]


def _is_plain(sentence: str) -> bool:
    if sentence[0].islower() or len(sentence) > _MOST_CHARS or any(c in '"\\' or not c.isprintable() for c in sentence):
        return False
    return 2 * sum(map(str.isalpha, sentence)) >= len(sentence)
