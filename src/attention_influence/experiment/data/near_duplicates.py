"""Documents that nearly repeat an earlier one, by MinHash (datasketch): an arm that sees them again sees more epochs.

Needs datasketch (`pip install 'attention-influence[experiment]'`).
"""

from collections.abc import Hashable, Iterable
from typing import TypeVar

from attention_influence.errors import UsageError
from attention_influence.experiment.data.decontaminate import words_of

Key = TypeVar("Key", bound=Hashable)

THRESHOLD = 0.8
_SHINGLE_WORDS = 5
_PERMUTATIONS = 128


def near_duplicates(documents: Iterable[tuple[Key, str]], threshold: float = THRESHOLD) -> dict[Key, Key]:
    """Key of each near duplicate → key of the first document kept that it resembles, in the order of the documents.

    Documents resemble each other when the Jaccard index of their sets of 5 words in a row is estimated at `threshold`
    or more; the standard error of the estimate is 0.03 to 0.04. Texts without a word are never duplicates. Memory is
    about 1.5 KB a document kept. Raises UsageError without datasketch.
    """
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError as error:
        raise UsageError(
            f"datasketch is needed to find near duplicates ({error}): pip install 'attention-influence[experiment]'"
        ) from error
    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS)
    kept: dict[int, tuple[Key, MinHash]] = {}
    found: dict[Key, Key] = {}
    for number, (key, text) in enumerate(documents):
        shingles = _shingles(text)
        if not shingles:
            continue
        sketch = MinHash(num_perm=_PERMUTATIONS)
        sketch.update_batch(shingles)
        alike = [i for i in sorted(index.query(sketch)) if kept[i][1].jaccard(sketch) >= threshold]
        if alike:
            found[key] = kept[alike[0]][0]
        else:
            index.insert(number, sketch)
            kept[number] = key, sketch
    return found


def _shingles(text: str) -> list[bytes]:
    words = words_of(text)
    count = max(len(words) - _SHINGLE_WORDS + 1, 1 if words else 0)
    return [" ".join(words[i : i + _SHINGLE_WORDS]).encode() for i in range(count)]
