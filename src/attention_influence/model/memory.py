"""How too little memory shows, and how much less is computed at once after it did."""

from dataclasses import dataclass

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a GPU or the host has too little memory for what was asked."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


@dataclass
class Shortage:
    """Halves what is computed at once (tokens, rows) each time memory runs out, and doubles it again later."""

    least: int
    """What is not halved any more."""
    times: int = 0
    """How often memory ran out."""
    halvings: int = 0

    def allows(self, most: int) -> int:
        """What is computed at once now, where `most` is wanted."""
        return max(most >> self.halvings, min(most, self.least))

    def worsen(self, error: BaseException, most: int) -> bool:
        """Whether `error` means that memory ran out, and less may be tried: then half as much is allowed."""
        if not is_out_of_memory(error) or self.allows(most) <= self.least:
            return False
        self.halvings += 1
        self.times += 1
        return True

    def ease(self) -> None:
        """Allows twice as much again: called after a while in which memory sufficed."""
        self.halvings = max(0, self.halvings - 1)
