"""Which heads are masked: the chosen ones, random ones, and random ones matched by layer."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from attention_influence.errors import HeadsError
from attention_influence.heads.head_set import Head, HeadSet

Kind = Literal["chosen", "random", "matched"]


@dataclass(frozen=True)
class Condition:
    """Heads that attend uniformly."""

    kind: Kind
    heads: tuple[Head, ...]

    def by_layer(self) -> dict[int, list[int]]:
        """Layer → its heads, both ascending."""
        return HeadSet(self.heads).by_layer()


def conditions(
    n_heads: Mapping[int, int], chosen: Sequence[Head], draws: int, seed: int
) -> tuple[list[Condition], list[str]]:
    """The chosen heads, then `draws` draws of as many others from any layer, then as many matched by layer; and notes
    on layers that have too few others.

    `n_heads` maps each layer that has attention to its number of heads. Raises HeadsError where fewer heads are left
    than are chosen.
    """
    free = {layer: [h for h in range(count) if (layer, h) not in set(chosen)] for layer, count in n_heads.items()}
    left = [(layer, head) for layer, heads in sorted(free.items()) for head in heads]
    if len(left) < len(chosen):
        raise HeadsError(
            f"{len(chosen)} heads are chosen, and {len(left)} are left to compare them with; choose less than half"
        )
    wanted = {layer: len(heads) for layer, heads in HeadSet(tuple(chosen)).by_layer().items()}
    found = [Condition("chosen", tuple(chosen))]
    for draw in range(draws):
        found.append(
            Condition("random", tuple(sorted(random.Random(f"{seed}/random/{draw}").sample(left, len(chosen)))))
        )
    for draw in range(draws):
        found.append(Condition("matched", _matched(free, wanted, random.Random(f"{seed}/matched/{draw}"))))
    notes = [
        f"layer {layer} has {len(free[layer])} other heads for {count} chosen; the rest come from the nearest layers"
        for layer, count in wanted.items()
        if len(free[layer]) < count
    ]
    return found, notes


def _matched(free: Mapping[int, Sequence[int]], wanted: Mapping[int, int], rng: random.Random) -> tuple[Head, ...]:
    """As many free heads of each layer as are wanted; where there are too few, of the nearest layers that have some."""
    shuffled = {layer: rng.sample(heads, len(heads)) for layer, heads in sorted(free.items())}
    taken: list[Head] = []
    for layer, count in wanted.items():
        taken += [(layer, shuffled[layer].pop()) for _ in range(min(count, len(free[layer])))]
    for layer, count in wanted.items():
        for _ in range(count - len(free[layer])):
            nearest = min((other for other in shuffled if shuffled[other]), key=lambda other: abs(other - layer))
            taken.append((nearest, shuffled[nearest].pop()))
    return tuple(sorted(taken))
