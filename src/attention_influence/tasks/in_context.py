"""Tasks that can only be done from the context: arbitrary labels, tables to look up, arithmetic after examples.

Every item is made by a generator of its own from the seed, so that item i is the same however many are asked for.
"""

import random
from collections.abc import Callable, Sequence

from attention_influence.tasks.items import Choices, Item

_CATEGORIES = {
    "animals": "horse sheep tiger rabbit whale eagle spider monkey donkey snake goat crow",
    "tools": "hammer saw drill wrench shovel axe chisel pliers ladder rake scissors broom",
    "foods": "bread cheese rice soup butter onion apple honey pasta carrot salad cake",
    "places": "river mountain beach forest desert island valley harbour village lake meadow cave",
}
_LABELS = ("blick", "dorm", "fep", "gorp", "mip", "tulver", "wug", "zab")
_SHOTS_OF_A_CATEGORY = 8
_TABLE_ROWS = 20
_DIGITS = 5
_NAMES = "Ada Bo Cleo Dan Eva Finn Gia Hugo Ida Jon Kim Leo Mia Ned Ola Pam Quinn Rob Sue Tom Uma Vic Wes Xena"
_SUMS = 12


def in_context_items(count: int, seed: int) -> list[Item | Choices]:
    """`count` items of each task: classification, copying and arithmetic in context."""
    makers: Sequence[Callable[[random.Random], Item | Choices]] = (_classification, _copying, _arithmetic)
    return [make(random.Random(f"{seed}/{make.__name__}/{i}")) for make in makers for i in range(count)]


def _classification(rng: random.Random) -> Choices:
    """Words of three categories with nonsense labels; which label has a word that is not among the examples?"""
    categories = rng.sample(sorted(_CATEGORIES), 3)
    labels = rng.sample(_LABELS, 3)
    drawn = [rng.sample(_CATEGORIES[name].split(), _SHOTS_OF_A_CATEGORY + 1) for name in categories]
    shots = [f"{word}: {label}\n" for words, label in zip(drawn, labels, strict=True) for word in words[1:]]
    rng.shuffle(shots)
    right = rng.randrange(3)
    prompt = "".join(shots) + f"{drawn[right][0]}:"
    return Choices("in-context classification", prompt, tuple(f" {label}" for label in labels), right, by_length=True)


def _copying(rng: random.Random) -> Item:
    """A table of names and numbers, and the number of one of them again."""
    numbers = [str(rng.randrange(10 ** (_DIGITS - 1), 10**_DIGITS)) for _ in range(_TABLE_ROWS)]
    table = list(zip(rng.sample(_NAMES.split(), _TABLE_ROWS), numbers, strict=True))
    name, number = rng.choice(table)
    return Item("in-context copying", "".join(f"{n}: {v}\n" for n, v in table) + f"\n{name}:", f" {number}")


def _arithmetic(rng: random.Random) -> Item:
    """Sums and differences of two-digit numbers, and one more whose result is asked for."""
    lines = []
    for _ in range(_SUMS + 1):
        a, b = sorted((rng.randrange(10, 100), rng.randrange(10, 100)), reverse=True)
        lines.append((f"{a} + {b} =", f" {a + b}") if rng.random() < 0.5 else (f"{a} - {b} =", f" {a - b}"))
    question, answer = lines.pop()
    return Item("in-context arithmetic", "".join(q + a + "\n" for q, a in lines) + question, answer)
