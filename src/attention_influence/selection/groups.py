"""The groups within which documents are ranked and cut: domains, or the length bins of each domain.

A length bin holds the documents with 2^b up to 2^(b+1) − 1 tokens; the first one those without any token, too.
"""

import threading
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_BINS = 64

Numbers = npt.NDArray[np.int64]


class Group(NamedTuple):
    """One of them; sorts by domain, then by length."""

    domain: str
    length_bin: int = 0

    @property
    def lengths(self) -> tuple[int, int]:
        """Fewest and most tokens of its length bin."""
        return (1 << self.length_bin if self.length_bin else 0), (2 << self.length_bin) - 1


class Groups:
    """Numbers groups in the order in which they are met; threads may meet them at the same time."""

    def __init__(self, by_length: bool) -> None:
        self.all: list[Group] = []
        """By number."""
        self.by_length = by_length
        self._domains: dict[str, int] = {}
        self._numbers = np.full((0, _BINS if by_length else 1), -1, dtype=np.int64)
        self._lock = threading.Lock()

    def of(self, domain: pa.Array, tokens: Numbers) -> Numbers:
        """The number of each row's group."""
        encoded = domain.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        with self._lock:
            domains = np.array([self._domains.setdefault(name, len(self._domains)) for name in names], dtype=np.int64)
            if len(self._domains) > len(self._numbers):
                more = np.full((len(self._domains), self._numbers.shape[1]), -1, dtype=np.int64)
                self._numbers = np.concatenate([self._numbers, more])
            places = domains[encoded.indices.to_numpy()]
            if self.by_length:
                places = places * _BINS + length_bins(tokens)
            numbers = self._numbers.ravel()
            found: Numbers = numbers[places]
            if (found < 0).any():
                names = list(self._domains)
                for place in np.unique(places[found < 0]).tolist():
                    domain_number, length_bin = divmod(place, self._numbers.shape[1])
                    numbers[place] = len(self.all)
                    self.all.append(Group(names[domain_number], length_bin))
                found = numbers[places]
        return found


def length_bins(tokens: Numbers) -> Numbers:
    """The length bin of documents with so many tokens each."""
    # frexp's exponent is exact where a logarithm would round up just below a power of two.
    return np.maximum(np.frexp(tokens.astype(np.float64))[1].astype(np.int64) - 1, 0)
