"""Do the chosen heads matter? Which tasks degrade when they are masked, compared with random heads (paper, Table 6).

The *mirror effect*: tasks that masking hurts most are those that data chosen by these heads should help most.
Letters: D draws of random heads, I items.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attention_influence.evidence.answers import answers
from attention_influence.evidence.masking import Condition, Kind
from attention_influence.evidence.statistics import Interval, mean_interval
from attention_influence.heads.head_set import HeadSet
from attention_influence.model.self_test import self_test
from attention_influence.scoring.scorer import Scorer
from attention_influence.tasks.items import Question

KINDS: tuple[Kind, ...] = ("chosen", "random", "matched")

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Change:
    """A mean over items, and over draws where there are several, and how much worse it is than unmasked."""

    mean: float
    """Loss in nats/token, accuracy, or another metric."""
    worse: float
    """Rise of the loss, or fall of the accuracy."""
    interval: Interval
    """95%, of `worse`; over items and draws."""
    draws: tuple[float, ...]
    """`worse` of each draw; one for the chosen heads."""


@dataclass(frozen=True)
class Excess:
    """How much more masking the chosen heads costs than masking random ones matched by layer."""

    mean: float
    interval: Interval

    @property
    def verdict(self) -> str:
        """In words, by whether the interval excludes 0."""
        if self.interval is None:
            return "too few items to say"
        if self.interval[0] > 0:
            return "leans on these heads"
        return "no more than on random ones" if self.interval[1] >= 0 else "less than on random ones"


@dataclass(frozen=True)
class TaskResult:
    """One task in all conditions."""

    task: str
    items: int
    loss: float
    """Unmasked, nats/token: the mean over items of each answer's mean."""
    accuracy: float
    """Unmasked: share of answer tokens predicted right, or of right choices."""
    chance: float | None
    """Accuracy of guessing, where there are choices."""
    loss_changes: Mapping[Kind, Change]
    accuracy_changes: Mapping[Kind, Change]
    loss_excess: Excess
    accuracy_excess: Excess


def validate_heads(
    scorer: Scorer,
    conditions: Sequence[Condition],
    tasks: Mapping[str, Sequence[Question]],
    seed: int,
    advance: Callable[[int], None] = lambda tokens: None,
) -> list[TaskResult]:
    """Figures of each task, those first that lean most on the chosen heads, `conditions[0]`, by loss.

    The scorer has tested its own heads; here all random ones, masked together, are tested once against the oracle:
    each masked head is compared with a plain mean one by one, and what does not depend on heads (packing) is known.
    Raises ModelError.
    """
    others = HeadSet(tuple({head for condition in conditions[1:] for head in condition.heads}))
    self_test(scorer.model, others.by_layer(), scorer.window)
    budget = scorer.pack_tokens if scorer.tested.packing else 0
    questions = [question for of_task in tasks.values() for question in of_task]
    sets = [condition.by_layer() for condition in conditions]
    losses, accuracies = answers(scorer.model, questions, sets, budget, advance)
    kinds = np.array([condition.kind for condition in conditions])
    found, start = [], 0
    for name, of_task in tasks.items():
        items = slice(start, start + len(of_task))
        start = items.stop
        found.append(_result_of(name, of_task, losses[:, items], accuracies[:, items], kinds, seed))
    return sorted(found, key=lambda result: -result.loss_excess.mean)


def _result_of(
    name: str, questions: Sequence[Question], losses: Values, accuracies: Values, kinds: NDArray[np.str_], seed: int
) -> TaskResult:
    """Of losses and accuracies [1 + conditions, I]."""
    rise = losses[1:] - losses[0]
    fall = accuracies[0] - accuracies[1:]
    guesses = [1 / question.n_choices for question in questions]
    return TaskResult(
        task=name,
        items=len(questions),
        loss=float(losses[0].mean()),
        accuracy=float(accuracies[0].mean()),
        chance=float(np.mean(guesses)) if max(guesses) < 1 else None,
        loss_changes={kind: change_of(losses[1:][kinds == kind], rise[kinds == kind], seed) for kind in KINDS},
        accuracy_changes={kind: change_of(accuracies[1:][kinds == kind], fall[kinds == kind], seed) for kind in KINDS},
        loss_excess=excess_of(rise, kinds, seed),
        accuracy_excess=excess_of(fall, kinds, seed),
    )


def change_of(values_DI: Values, worse_DI: Values, seed: int) -> Change:
    """The change that values [D, I] are, `worse_DI` by draw and item."""
    return Change(
        float(values_DI.mean()),
        float(worse_DI.mean()),
        mean_interval(worse_DI, seed),
        tuple(float(worse) for worse in worse_DI.mean(1)),
    )


def excess_of(worse: Values, kinds: NDArray[np.str_], seed: int) -> Excess:
    """Of how much worse [conditions, I] items are, with heads of these kinds masked."""
    more_DI = worse[kinds == "chosen"] - worse[kinds == "matched"]
    return Excess(float(more_DI.mean()), mean_interval(more_DI, seed))
