"""The integer that ranks a row: its score's bits in rising order. Ties are broken by `store.row_hashes`."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from attention_influence.store.row_hashes import Keys


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


def as_float64(values: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """The values, NaN for null."""
    return np.asarray(values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64)
