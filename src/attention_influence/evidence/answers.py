"""Losses of answers, and whether they are right, with heads masked.

The first pass is forked and gives the unmasked model and the chosen heads at once; every other set of heads needs one
plain pass with a single row. Only the positions that predict answers go through the LM head.

Letters: B rows, N targets of all windows of a pass.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from attention_influence.model.language_model import LanguageModel
from attention_influence.model.windows import pack
from attention_influence.tasks.items import Question, Reading
from attention_influence.tasks.outcomes import by_reading, outcomes, predictions

Masked = Mapping[int, Sequence[int]]
Rows = list[NDArray[np.float64]]
"""[B, targets] of each reading."""


def answers(
    model: LanguageModel,
    questions: Sequence[Question],
    sets: Sequence[Masked],
    pack_tokens: int,
    advance: Callable[[int], None] = lambda tokens: None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Loss and accuracy [1 + sets, questions]: unmasked, then with each set of heads masked.

    One set without heads gives [1, questions], unmasked. What they are: see `outcomes`. Windows share a row up to
    `pack_tokens` tokens; 0 gives each a row of its own. `advance` is told the tokens of each pass.
    """
    readings = [reading for question in questions for reading in question.readings]
    packs = pack([len(reading.tokens) for reading in readings], pack_tokens)
    rows: list[tuple[Rows, Rows]] = []
    for number, masked in enumerate(sets):
        fork = min(masked) if number == 0 and masked else None
        losses: Rows = [np.empty(0)] * len(readings)
        firsts: Rows = list(losses)
        for members in packs:
            windows = [readings[i] for i in members]
            for i, loss, first in zip(members, *_measure(model, windows, masked, fork), strict=True):
                losses[i], firsts[i] = loss, first
            advance(sum(len(reading.tokens) for reading in windows))
        rows += [([r[b] for r in losses], [r[b] for r in firsts]) for b in range(2 if fork is not None else 1)]
    of_sets = np.array([outcomes(questions, losses, firsts) for losses, firsts in rows])
    return of_sets[..., 0], of_sets[..., 1]


def _measure(model: LanguageModel, readings: Sequence[Reading], masked: Masked, fork: int | None) -> tuple[Rows, Rows]:
    """Losses, and whether each target is the first guess, of readings in one row of windows."""
    body = model.forward([reading.tokens for reading in readings], masked, fork)
    at_N, target_N = (torch.from_numpy(x_N).to(model.device) for x_N in predictions(readings))
    losses_BN, first_BN = model.output.losses_and_firsts(body, at_N, target_N)
    return by_reading(readings, losses_BN.cpu().numpy()), by_reading(readings, first_BN.cpu().numpy())
