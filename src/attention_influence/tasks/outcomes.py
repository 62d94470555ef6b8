"""What a pass over questions must predict, and what its losses say about each question.

Letters: N targets of all readings of a pass.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attention_influence.tasks.items import Question, Reading

Values = NDArray[np.float64]


def predictions(readings: Sequence[Reading]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions that predict, in the row that the readings' windows fill one after another, and their targets; [N]."""
    starts = np.cumsum([0, *(len(reading.tokens) for reading in readings)])
    at_N = [start + i for start, reading in zip(starts, readings, strict=False) for i in reading.at]
    target_N = [token for reading in readings for token in reading.targets]
    return np.array(at_N, dtype=np.int64), np.array(target_N, dtype=np.int64)


def by_reading(readings: Sequence[Reading], values: NDArray[np.generic]) -> list[Values]:
    """Values [..., N] of all targets as those of each reading."""
    ends = np.cumsum([len(reading.at) for reading in readings])[:-1]
    return np.split(values.astype(np.float64), ends, axis=-1)


def outcomes(
    questions: Sequence[Question], losses: Sequence[Values], firsts: Sequence[Values]
) -> list[tuple[float, float]]:
    """(loss, accuracy) of each question, out of losses and first guesses [targets] of each reading in turn.

    The loss is the right answer's, nats/token. The accuracy is the share of answer tokens that are the model's first
    guess; with choices, 1 where the right one has the lowest loss, else 0.
    """
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


def answer_losses(questions: Sequence[Question], loss_BN: NDArray[np.generic]) -> Values:
    """Mean loss [B, questions], nats/token, out of the losses of all targets; for questions without choices."""
    counts = [sum(len(reading.at) for reading in question.readings) for question in questions]
    starts = np.cumsum([0, *counts[:-1]])
    return np.asarray(np.add.reduceat(loss_BN.astype(np.float64), starts, axis=1) / counts)
