"""Losses of windows from packs, one forward pass each, the next launched before the losses of the last are read.

Packs become smaller where memory runs out, and grow again.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from attention_influence.model.memory import Shortage, is_out_of_memory
from attention_influence.model.windows import pack

Losses = NDArray[np.float32]
"""[2, scored tokens], nats: base, then reference."""

Launched = Callable[[], list[Losses]]
"""Waits for a pass that was launched, and gives the losses of its windows."""

# Tokens a pack that memory must suffice for, if the pack has more than one window.
SMALLEST_PACK = 256


def losses_in_packs(
    windows: Sequence[Sequence[int]],
    pack_tokens: int,
    shortage: Shortage,
    launch: Callable[[list[Sequence[int]]], Launched],
    done: Callable[[Sequence[int]], None],
) -> list[Losses | None]:
    """The losses of each window, from passes over packs of at most `pack_tokens` tokens (0: of one window each).

    None for a window that memory does not suffice for, alone in its pack. After a pack of several is too large, it and
    those that follow are packed again, half as large; windows that are done stay done. Packs double again after a call
    in which memory sufficed. `done` is called with the windows of each pack, when its losses were read. Raises the
    error where memory does not suffice for several windows of SMALLEST_PACK tokens.
    """
    losses: list[Losses | None] = [None] * len(windows)
    shortages_before = shortage.times
    unread: tuple[list[int], Launched] | None = None

    def read() -> None:
        if unread is not None:
            for i, both in zip(unread[0], unread[1](), strict=True):
                losses[i] = both
            done(unread[0])

    waiting = list(range(len(windows)))
    while waiting:
        packs = [
            [waiting[i] for i in members]
            for members in pack([len(windows[i]) for i in waiting], shortage.allows(pack_tokens))
        ]
        waiting = []
        for number, members in enumerate(packs):
            try:
                launched = launch([windows[i] for i in members])
            except (RuntimeError, MemoryError) as error:
                if len(members) > 1:
                    if not shortage.worsen(error, pack_tokens):
                        raise
                    waiting = sorted(i for left in packs[number:] for i in left)
                    break
                if not is_out_of_memory(error):
                    raise
                done(members)
            else:
                read()
                unread = members, launched
    read()
    if shortage.times == shortages_before:
        shortage.ease()
    return losses
