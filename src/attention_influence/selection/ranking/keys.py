"""The integer that ranks a row: its score's bits in rising order, then a tie hash that only its key decides."""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Keys = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def value_digits(type_: pa.DataType) -> int | None:
    """How many 16-bit digits rank values of a type; None for types that cannot be ranked."""
    if pa.types.is_float16(type_) or pa.types.is_float32(type_):
        return 2
    return 4 if pa.types.is_floating(type_) or pa.types.is_integer(type_) else None


def is_ranked(values: pa.Array) -> npt.NDArray[np.bool_]:
    """True where the value is neither null nor NaN nor infinite."""
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    if pa.types.is_floating(values.type):
        valid &= np.isfinite(values.fill_null(0).to_numpy(zero_copy_only=False))
    return np.asarray(valid, dtype=np.bool_)


def order_keys(values: pa.Array) -> Keys:
    """Unsigned integers in the order of the values (equal for equal values, -0.0 included); null as 0 would be."""
    numbers: npt.NDArray[Any] = values.fill_null(0).to_numpy(zero_copy_only=False)
    if numbers.dtype.kind == "u":
        return np.asarray(numbers, dtype=np.uint64)
    if numbers.dtype.kind == "i":
        return np.asarray(numbers.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63), dtype=np.uint64)
    # Floats of one sign order as their bits do; flipping the negative ones, and lifting the others, orders all.
    # Adding zero turns -0.0 into 0.0.
    if numbers.dtype.itemsize <= 4:
        bits = (numbers.astype(np.float32) + np.float32(0)).view(np.uint32)
        return np.where(bits >> np.uint32(31), ~bits, bits | np.uint32(1 << 31)).astype(np.uint64)
    wide = (numbers.astype(np.float64) + 0.0).view(np.uint64)
    return np.where(wide >> np.uint64(63), ~wide, wide | np.uint64(1 << 63))


def coded(strings: pa.Array | pa.ChunkedArray) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The distinct strings, and for each row the place of its own among them."""
    flat = strings.combine_chunks() if isinstance(strings, pa.ChunkedArray) else strings
    encoded = flat.dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()


def as_float64(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """The values, NaN for null."""
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)


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
