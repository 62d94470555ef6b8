"""Work done in advance: what is made when, and where its errors come."""

import threading
from collections.abc import Iterator

import pytest

from attention_influence.concurrency import Begun, ahead


def items(made: list[threading.Event], breaks_at: int | None = None) -> Iterator[int]:
    for number, event in enumerate(made):
        if number == breaks_at:
            raise ValueError(f"item {number}")
        event.set()
        yield number


def test_the_first_item_is_made_before_anyone_asks_and_each_other_while_one_is_used() -> None:
    made = [threading.Event() for _ in range(4)]
    begun = Begun(items(made))
    assert made[0].wait(10)
    assert not made[1].is_set()
    for number in begun:
        assert number == 3 or made[number + 1].wait(10)


@pytest.mark.parametrize("breaks_at", [0, 1, 3])
@pytest.mark.parametrize("way", [ahead, Begun])
def test_an_error_comes_in_the_place_of_its_item(way: type[Begun[int]], breaks_at: int) -> None:
    seen = []
    with pytest.raises(ValueError, match=f"item {breaks_at}"):  # noqa: PT012
        for number in way(items([threading.Event() for _ in range(4)], breaks_at)):
            seen.append(number)
    assert seen == list(range(breaks_at))


def test_nothing_gives_nothing() -> None:
    assert list(Begun(items([]))) == list(ahead(items([]))) == []
