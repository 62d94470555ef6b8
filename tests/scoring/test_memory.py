"""Memory that runs out: fewer logits at a time first, then smaller packs for what is left of a lot, and back again."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch

from attention_influence import Scorer
from attention_influence.model.loss import LMHead
from attention_influence.model.memory import Shortage
from attention_influence.scoring.packs import SMALLEST_PACK, losses_in_packs
from model.test_losses import losses
from scoring.tiny import HEADS
from tiny_models import Tiny, random_tokens, tiny

WINDOWS = [[0] * length for length in (300, 200, 200, 150, 100, 50)]
ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), RuntimeError("can't allocate memory: 12")]


class Device:
    """Scores packs of up to `room` tokens, and notes their windows' lengths."""

    def __init__(self, room: int, error: BaseException = ERRORS[0]) -> None:
        self.room, self.error = room, error
        self.passed: list[list[int]] = []
        self.failed: list[list[int]] = []
        self.done: list[int] = []
        self.order: list[str] = []
        self.shortage = Shortage(SMALLEST_PACK)

    def score(self, pack_tokens: int = 1000) -> list[Any]:
        return losses_in_packs(WINDOWS, pack_tokens, self.shortage, self._launch, self.done.extend)

    def _launch(self, windows: Sequence[Sequence[int]]) -> Callable[[], list[Any]]:
        lengths = [len(window) for window in windows]
        if sum(lengths) > self.room:
            self.failed.append(lengths)
            raise self.error
        self.passed.append(lengths)
        number = len(self.passed)
        self.order.append(f"launch {number}")

        def read() -> list[Any]:
            self.order.append(f"read {number}")
            return lengths

        return read


@pytest.mark.parametrize("error", ERRORS)
def test_a_pack_that_is_too_large_and_what_follows_is_packed_again_and_nothing_is_done_twice(
    error: BaseException,
) -> None:
    device = Device(room=600, error=error)
    assert device.score() == [len(window) for window in WINDOWS]
    assert device.failed == [[300, 200, 200, 150, 100, 50]]
    assert device.passed == [[300, 200], [200, 150, 100, 50]]
    assert sorted(device.done) == list(range(len(WINDOWS)))


def test_a_pack_is_launched_before_the_losses_of_the_last_are_read() -> None:
    device = Device(room=10_000)
    assert device.score(pack_tokens=400) == [len(window) for window in WINDOWS]
    assert device.order == ["launch 1", "launch 2", "read 1", "launch 3", "read 2", "read 3"]


def test_packs_grow_back_after_a_lot_in_which_memory_sufficed() -> None:
    device = Device(room=600)
    device.score()
    device.room = 10_000
    for expected in ([[300, 200], [200, 150, 100, 50]], [[300, 200, 200, 150, 100, 50]]):
        device.passed.clear()
        device.score()
        assert device.passed == expected
    assert device.shortage.times == 1


def test_a_window_that_memory_does_not_suffice_for_has_no_losses_and_the_others_have() -> None:
    device = Device(room=290)
    assert device.score() == [None, 200, 200, 150, 100, 50]
    assert sorted(device.done) == list(range(len(WINDOWS)))


def test_memory_that_does_not_suffice_for_the_smallest_packs_is_an_error() -> None:
    device = Device(room=0)
    with pytest.raises(torch.OutOfMemoryError):
        device.score(pack_tokens=SMALLEST_PACK)


def test_other_errors_are_not_taken_for_too_little_memory() -> None:
    device = Device(room=0, error=RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        device.score()
    assert device.shortage.times == 0


def failing(own: Callable[..., Any], room: int, tried: list[int]) -> Callable[..., Any]:
    def logits(self: LMHead, body: Any, hidden: torch.Tensor, *entries: Any) -> Any:
        tried.append(len(hidden))
        if len(hidden) > room:
            raise ERRORS[0]
        return own(self, body, hidden, *entries)

    return logits


def test_the_lm_head_computes_fewer_logits_at_a_time_before_any_pack_becomes_smaller(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: Tiny = tiny("llama")
    windows = [random_tokens(length, seed=length) for length in (90, 60, 30)]
    expected = losses(made.model, windows, {1: [0]})
    made.model.output.shortage.least = 8
    tried: list[int] = []
    monkeypatch.setattr(LMHead, "logits", failing(LMHead.logits, 40, tried))
    monkeypatch.setattr("attention_influence.model.loss._BLOCK_ROWS", 128)
    monkeypatch.setattr("attention_influence.model.loss._BLOCK_ENTRIES", 32)
    for ours, theirs in zip(losses(made.model, windows, {1: [0]}), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    scorer = Scorer(made.model, HEADS)
    texts = ["the keeper wrote the height of the tide " * n for n in (1, 2, 3)]
    before, tried[:] = made.model.output.shortage.times, []
    assert all(score.influence is not None for score in scorer.score(texts))
    assert max(tried) > 40, "it never grew back"
    assert made.model.output.shortage.times > before
    assert scorer.shortage.times == 0


def test_an_amount_is_halved_down_to_the_least_and_doubled_again() -> None:
    shortage = Shortage(10)
    assert shortage.allows(7) == 7
    assert [shortage.worsen(ERRORS[0], 40) for _ in range(3)] == [True, True, False]
    assert (shortage.allows(40), shortage.allows(7), shortage.times) == (10, 7, 2)
    shortage.ease()
    assert (shortage.allows(40), shortage.times) == (20, 2)
