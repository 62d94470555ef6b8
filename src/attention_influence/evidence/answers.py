"""Losses of answers, and whether they are right, with heads masked.

The first pass is forked and gives the unmasked model and the chosen heads at once; every other set of heads needs one
plain pass with a single row. Only the positions that predict answers go through the LM head.

Letters: B rows, N targets of all windows of a pass.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from attention_influence.evidence.tasks.items import Question, Reading
from attention_influence.model.language_model import LanguageModel
from attention_influence.scoring.windows import pack

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

    The loss is the right answer's, nats/token. The accuracy is the share of answer tokens that are the model's first
    guess; with choices, 1 where the right one has the lowest loss, else 0. Windows share a row up to `pack_tokens`
    tokens; 0 gives each a row of its own. `advance` is told the tokens of each pass.
    """
    readings = [reading for question in questions for reading in question.readings]
    packs = pack([len(reading.tokens) for reading in readings], pack_tokens)
    rows: list[tuple[Rows, Rows]] = []
    for number, masked in enumerate(sets):
        fork = min(masked) if number == 0 else None
        losses: Rows = [np.empty(0)] * len(readings)
        firsts: Rows = list(losses)
        for members in packs:
            windows = [readings[i] for i in members]
            for i, loss, first in zip(members, *_measure(model, windows, masked, fork), strict=True):
                losses[i], firsts[i] = loss, first
            advance(sum(len(reading.tokens) for reading in windows))
        rows += [([r[b] for r in losses], [r[b] for r in firsts]) for b in range(2 if fork is not None else 1)]
    outcomes = np.array([_outcomes(questions, losses, firsts) for losses, firsts in rows])
    return outcomes[..., 0], outcomes[..., 1]


def _measure(model: LanguageModel, readings: Sequence[Reading], masked: Masked, fork: int | None) -> tuple[Rows, Rows]:
    """Losses, and whether each target is the first guess, of readings in one row of windows."""
    body = model.forward([reading.tokens for reading in readings], masked, fork)
    starts = np.cumsum([0, *(len(reading.tokens) for reading in readings)])
    at_N = torch.tensor([start + i for start, r in zip(starts, readings, strict=False) for i in r.at])
    target_N = torch.tensor([token for reading in readings for token in reading.targets], device=model.device)
    losses_BN, first_BN = model.output.losses_and_firsts(body, at_N.to(model.device), target_N)
    ends = np.cumsum([len(reading.at) for reading in readings])[:-1]
    losses, firsts = (x_BN.double().cpu().numpy() for x_BN in (losses_BN, first_BN))
    return np.split(losses, ends, axis=1), np.split(firsts, ends, axis=1)


def _outcomes(questions: Sequence[Question], losses: Rows, firsts: Rows) -> list[tuple[float, float]]:
    """(loss, accuracy) of each question, of losses and first guesses [targets] of each reading."""
    found, start = [], 0
    for question in questions:
        readings = slice(start, start + len(question.readings))
        start = readings.stop
        choice = np.concatenate([reading.choice for reading in question.readings])
        loss = np.concatenate(losses[readings])
        tokens = np.bincount(choice, minlength=question.n_choices)
        sums = np.bincount(choice, loss, question.n_choices)
        if question.n_choices == 1:
            accuracy = float(np.concatenate(firsts[readings]).mean())
        else:
            accuracy = float(np.argmin(sums / tokens if question.by_length else sums) == question.right)
        found.append((float(sums[question.right] / tokens[question.right]), accuracy))
    return found
