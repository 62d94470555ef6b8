"""A few fixed texts, scored in every unit: a device or kernel that has gone wrong shows before its scores are kept."""

from collections.abc import Sequence

from attention_influence.errors import AttentionInfluenceError
from attention_influence.scoring.scorer import Scorer

_TEXTS = (
    "The bridge opens at nine. The bridge closes at five. When does the bridge open? The bridge opens at nine.",
    "def total(prices, rate):\n    net = sum(prices)\n    return net + net * rate\n\n\nprint(total([3], 0.2))\n",
    "Mira has 12 pears and gives away 5, so she has 12 - 5 = 7 pears. She buys 6 more: 7 + 6 = 13 pears.",
)
# Nats/token, by precision of the weights: what other kernels and packs may change.
_TOLERANCE = {"fp32": 1e-3, "fp16": 0.02, "bf16": 0.05}

Losses = list[list[float | None]]


class BrokenDevice(AttentionInfluenceError):
    """The canaries' losses have moved away from those that the run began with."""


def canary_losses(scorer: Scorer) -> Losses:
    """[base, reference] of each text, nats/token; None where the tokenizer makes too little of it."""
    return [[score.loss_base, score.loss_ref] for score in scorer.score(_TEXTS)]


def check_canaries(scorer: Scorer, began_with: Sequence[Sequence[float | None]], precision: str) -> None:
    """Raises BrokenDevice when the losses differ from the run's first ones by more than rounding explains."""
    for now, then in zip(canary_losses(scorer), began_with, strict=True):
        for loss, first in zip(now, then, strict=True):
            if first is not None and (loss is None or abs(loss - first) > _TOLERANCE[precision]):
                raise BrokenDevice(
                    f"a fixed text's loss on {scorer.model.device} is {loss} nats/token, at the run's start it was "
                    f"{first}: this device or its kernels are not to be trusted. Score on another"
                )
