"""Hashes that only the key of a row decides: they break ties, and draw samples. No torch here."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Keys = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def coded(strings: pa.Array | pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The distinct strings, and for each row the place of its own among them."""
    flat = strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings
    encoded = flat.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()


def rows_of_each(strings: pa.Array | pa.ChunkedArray) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Each distinct string, and which rows have it."""
    names, codes = coded(strings)
    for code, name in enumerate(names):
        yield name, codes == code


def tie_hashes(sources: pa.Array | pa.ChunkedArray, rows: npt.NDArray[np.int64]) -> Keys:
    """64 bits for each (source, row), the same in every version and on every machine.

    splitmix64 (Steele, Lea and Flood 2014) at place `row` of the stream seeded with the first 8 bytes, little-endian,
    of blake2b(source); one to one in `row` for each source.
    """
    names, codes = coded(sources)
    return hashes_of_rows(source_seeds(names)[codes], rows)


def source_seeds(names: Iterable[str]) -> Keys:
    """What `hashes_of_rows` needs of each source."""
    digests = (hashlib.blake2b(name.encode("utf-8"), digest_size=8).digest() for name in names)
    return np.array([int.from_bytes(digest, "little") for digest in digests], dtype=np.uint64)


def hashes_of_rows(seeds: Keys, rows: npt.NDArray[np.int64]) -> Keys:
    """`tie_hashes` of rows, given the seed of each one's source."""
    return _mixed(seeds + (rows.astype(np.uint64) + np.uint64(1)) * _GOLDEN)


def salted(hashes: Keys, salt: str) -> Keys:
    """Other hashes of the same rows, unrelated to these and to those of another salt; one to one."""
    seed = int.from_bytes(hashlib.blake2b(salt.encode("utf-8"), digest_size=8).digest(), "little")
    return _mixed((hashes ^ np.uint64(seed)) + _GOLDEN)


def _mixed(state: Keys) -> Keys:
    state = (state ^ (state >> np.uint64(30))) * _MIX_1
    state = (state ^ (state >> np.uint64(27))) * _MIX_2
    return np.asarray(state ^ (state >> np.uint64(31)), dtype=np.uint64)
