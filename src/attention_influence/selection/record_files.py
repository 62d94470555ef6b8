"""Files of equal records, without any header: NumPy's structured arrays as they lie in memory."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from attention_influence.selection.groups import Numbers

Records = npt.NDArray[np.void]

_BLOCK_RECORDS = 1 << 18


def append(path: Path, records: Records) -> None:
    """Adds records to the end of a file, made if there is none."""
    with path.open("ab") as file:
        records.tofile(file)


def read(path: Path, dtype: np.dtype[np.void], first: int, count: int) -> Records:
    """`count` records from the `first` on."""
    return np.fromfile(path, dtype=dtype, count=count, offset=first * dtype.itemsize)


def blocks(path: Path, dtype: np.dtype[np.void]) -> Iterator[Records]:
    """All records, some at a time."""
    with path.open("rb") as file:
        while len(block := np.fromfile(file, dtype=dtype, count=_BLOCK_RECORDS)):
            yield block


def parted(records: Records, parts: Numbers) -> Iterator[tuple[int, Records]]:
    """(part, its records in their order), given the part of each."""
    order = np.argsort(parts, kind="stable")
    along = parts[order]
    bounds = np.flatnonzero(np.diff(along, prepend=-1, append=-1))
    for low, high in pairwise(bounds.tolist()):
        yield int(along[low]), records[order[low:high]]
