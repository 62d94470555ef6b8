"""What is scored together: lots of texts, out of a stream of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

# Characters scored together, for each token of a pack: enough packs (about 16) that the last, part-filled one costs
# little; few enough that their tokens stay small in memory.
_CHARS_PER_PACK_TOKEN = 64

Item = TypeVar("Item")


def in_lots(
    batches: Iterable[Sequence[Item]], text_of: Callable[[Item], str | bytes | None], pack_tokens: int
) -> Iterator[list[Item]]:
    """What is scored together: lists that fill about 16 packs, a function of the texts alone, so that packs are."""
    held: list[Item] = []
    waiting = 0
    for batch in batches:
        for item in batch:
            held.append(item)
            waiting += len(text_of(item) or "")
            if waiting >= pack_tokens * _CHARS_PER_PACK_TOKEN:
                yield held
                held, waiting = [], 0
    if held:
        yield held
