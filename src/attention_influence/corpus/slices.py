"""Parts of one file, by the keys of its rows."""

import math
from dataclasses import dataclass
from typing import Any

from attention_influence.corpus.sources import Source

# UTF-8 bytes a token, for sizes in advance only: English prose has four to five, code and other scripts fewer.
BYTES_PER_TOKEN = 4


@dataclass(frozen=True)
class Slice:
    """The rows of one source whose key lies in [start, end); an `end` of None is the end of the file."""

    source: Source
    start: int = 0
    end: int | None = None

    def has(self, keys: Any) -> Any:
        """Whether it holds a row of that key, or of each key of an array."""
        return (keys >= self.start) & (keys < (math.inf if self.end is None else self.end))


@dataclass(frozen=True)
class Block:
    """Where reading may begin: the keys [start, start + keys), such as a row group, and about their bytes of text."""

    start: int
    keys: int
    size: int
    is_seekable: bool = False
    """Whether reading may also begin at any other of its keys."""
