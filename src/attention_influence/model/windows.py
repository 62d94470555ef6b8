"""Documents longer than the context, in windows; windows, in packs. Pure arithmetic on lengths."""

import math
from collections.abc import Sequence
from itertools import pairwise


def cut(n_tokens: int, window: int, bos: bool) -> list[range]:
    """The document's tokens in ⌈n/C⌉ windows of equal length (they differ by one at most), in order, none left out.

    C is `window`, less one when each window starts with a BOS of its own. No window for no tokens.
    """
    count = math.ceil(n_tokens / (window - bos))
    bounds = [i * n_tokens // max(count, 1) for i in range(count + 1)]
    return [range(low, high) for low, high in pairwise(bounds)]


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of windows, longest first, in packs of at most `budget` tokens; a longer window is a pack alone.

    A function of the lengths, their order and the budget only.
    """
    packs: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if not packs or lengths[index] > room:
            packs.append([])
            room = budget
        packs[-1].append(index)
        room -= lengths[index]
    return packs
