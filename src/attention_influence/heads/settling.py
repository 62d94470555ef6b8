"""When a chosen set of heads has settled, so that detection may stop."""

from attention_influence.heads.head_set import Head

# A chosen set that has not changed for this many checks has settled.
_CHECK_EVERY, _STABLE_CHECKS = 20, 4


class Settling:
    """Told the chosen set as samples come in; checks come every 20 samples."""

    def __init__(self) -> None:
        self._chosen: list[Head] = []
        self._unchanged = 0
        self._next = _CHECK_EVERY

    def is_due(self, samples: int) -> bool:
        """Whether `has_settled` is to be asked after so many samples."""
        return samples >= self._next

    def has_settled(self, samples: int, chosen: list[Head]) -> bool:
        """Whether the set is what it was at the check before, for the fourth time in turn; the order does not count."""
        self._next = samples + _CHECK_EVERY
        self._unchanged = self._unchanged + 1 if sorted(chosen) == self._chosen else 0
        self._chosen = sorted(chosen)
        return self._unchanged >= _STABLE_CHECKS
