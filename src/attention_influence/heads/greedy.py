"""Heads chosen for what they do together: a set grown in rounds by ablation.

Heads compensate for one another: of two that do the same, masking either alone costs nothing. Each round measures every
other head with the heads of earlier rounds masked, and adds those that raise the loss most. A round costs an ablation.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from attention_influence.errors import HeadsError
from attention_influence.heads.ablation import Ablation, rises
from attention_influence.heads.head_set import HeadSet, as_matrix, rank_heads, standard_error
from attention_influence.heads.unfinished import Rows

_log = logging.getLogger(__name__)


class Greedy:
    """A set of `ablation.count` heads, grown in `rounds` rounds of about equally many heads.

    One round is the ablation itself; as many rounds as heads add one at a time. Resumes as the ablation does, from a
    file for each round. Raises HeadsError for an impossible number of rounds.
    """

    def __init__(self, ablation: Ablation, rounds: int) -> None:
        if not 1 <= rounds <= ablation.count:
            raise HeadsError(f"{rounds} rounds for {ablation.count} heads; need 1 to {ablation.count}")
        self._rounds = [ablation]
        self._sizes = [len(part) for part in np.array_split(range(ablation.count), rounds)]

    def work(self) -> float:
        """Tokens times passes through all layers, at most."""
        return self._rounds[0].work() * len(self._sizes)

    @property
    def done(self) -> float:
        """`work` that an earlier run has done of the first round."""
        return self._rounds[0].done

    def run(self, until_stable: bool = False, advance: Callable[[float], None] = lambda more: None) -> HeadSet:
        """The heads in the order in which they were added. Warnings are logged.

        Each round may end `until_stable`; `advance` is told more `work` (see `Ablation.run`).

        A head's score is the rise when it is masked beside the heads of earlier rounds, in the last round that measured
        it. `parameters` tell as many heads of the largest `single` effects, and the rise when either set is masked
        `together`: mean over the items, nats/token, and standard error.
        """
        first = self._rounds[0]
        base = first.measure(until_stable, advance)
        single = first.head_set(base, until_stable)
        scores, errors = (np.array(of, dtype=np.float64) for of in (single.scores, single.standard_errors))
        chosen = list(single.heads[: self._sizes[0]])
        for size in self._sizes[1:]:
            current = first.after(chosen)
            self._rounds.append(current)
            advance(current.done)
            rise_IH = rises(current.measure(until_stable, advance))
            at = tuple(np.transpose(current.heads))
            scores[at], errors[at] = rise_IH.mean(0), standard_error(rise_IH)
            chosen += [head for head in rank_heads(as_matrix(scores)) if head in current.heads][:size]
            advance(first.work() - current.work())
        together = {
            name: _mean_and_error(first.losses(heads)[: len(base)] - base[:, 1])
            for name, heads in (("together", chosen), ("single_together", single.heads))
        }
        found = replace(
            single,
            heads=tuple(chosen),
            method="greedy",
            parameters={
                **single.parameters,
                "rounds": len(self._sizes),
                "single": [list(head) for head in single.heads],
                **together,
            },
            scores=as_matrix(scores),
            standard_errors=as_matrix(errors),
        )
        for warning in found.warnings():
            _log.warning(warning)
        return found

    def forget(self) -> None:
        """Removes the files of what was measured, once the result is written."""
        for ablation in self._rounds:
            ablation.forget()


def _mean_and_error(rise_I: Rows) -> list[float | None]:
    return as_matrix(np.array([[rise_I.mean(), standard_error(rise_I)]]))[0]
