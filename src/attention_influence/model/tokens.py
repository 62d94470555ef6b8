"""Text to token ids: the tokenizer as scoring needs it.

Special tokens written out in a text, such as `<|im_start|>`, are scored as the text that they are.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_influence.errors import ModelError

# Characters that are tokenized at once to find out whether a text is too long.
_PIECE_CHARS = 2**16
# Tokens of a piece that are there because it was cut, at most: a prefix, an unknown character, parts of a word.
_CUT_TOKENS = 8


class Tokens:
    """A model's tokenizer: ids and character offsets of plain text, and the BOS id that it puts first (or None)."""

    def __init__(self, tokenizer: Any) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelError(f"{type(tokenizer).__name__} is not a fast tokenizer; save one as tokenizer.json")
        with_special = tokenizer("a").input_ids
        bos = tokenizer.bos_token_id
        self.bos: int | None = bos if bos is not None and with_special[:1] == [bos] else None
        # A copy: the caller's tokenizer keeps its own treatment of special tokens.
        self._backend = type(backend).from_str(backend.to_str())
        self._backend.encode_special_tokens = True
        self._backend.no_truncation()
        self._backend.no_padding()
        self.hash: str = hashlib.sha256(self._backend.to_str().encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens; uses all cores."""
        return [e.ids for e in self._backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_with_starts(self, texts: Sequence[str]) -> list[tuple[list[int], NDArray[np.int64]]]:
        """Of each text the ids that `encode` gives, and the character at which each token begins; uses all cores."""
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [(e.ids, np.fromiter((start for start, _ in e.offsets), np.int64, len(e.ids))) for e in encodings]

    def surely_more_than(self, limit: int, text: str) -> bool:
        """Whether a text has more than `limit` tokens, found out in little memory; False where only `encode` can tell.

        Pieces of the text are tokenized by themselves until they amount to twice the limit. Their tokens differ from
        the text's near the cuts only, so some tokens of each piece are not counted.
        """
        if len(text) <= max(2 * limit, _PIECE_CHARS):
            return False
        count = 0
        for low in range(0, len(text), _PIECE_CHARS):
            count += max(0, len(self.encode([text[low : low + _PIECE_CHARS]])[0]) - _CUT_TOKENS)
            if count > 2 * limit:
                return True
        return False

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Token ids of one text and the half-open range of characters that each stands for."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets
