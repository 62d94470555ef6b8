"""Which heads a task needs: the rise of the right answer's loss when one head alone attends uniformly.

All heads of a layer are rows of one batch, branched off one unmasked pass (`model/passes/trunk.py`). Of choices, the
branches hold the right one only.

Letters: I items, H heads that are measured, B rows, N targets.
"""

import hashlib
import json
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attention_influence.errors import HeadsError
from attention_influence.heads.attribution import attribute
from attention_influence.heads.head_set import Head, HeadSet, as_matrix, rank_heads, standard_error, versions
from attention_influence.heads.settling import Settling
from attention_influence.heads.unfinished import Rows, Unfinished
from attention_influence.model.attention.pass_state import Masked
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.passes.trunk import Trunk, check_trunk
from attention_influence.model.self_test import self_test
from attention_influence.progress import stage
from attention_influence.shares import count_in
from attention_influence.tasks.items import Question
from attention_influence.tasks.outcomes import answer_losses, by_reading, outcomes, predictions
from attention_influence.tasks.packs import digest_of, in_packs, right_tokens

_log = logging.getLogger(__name__)

# Tokens of all rows of a branch.
_BRANCH_TOKENS = {"cpu": 8192, "cuda": 65536}
_TESTED_TOKENS = 128
# As many times the heads to choose are measured after attribution.
_SHORTLIST = 3


class Ablation:
    """A detection by ablation: measured pack by pack, kept as it goes on, finished by `run`.

    `tasks` are questions by task; their order in the measurement is drawn by `seed`. ceil(`share` × heads) heads are to
    be chosen. With `steps`, all heads are attributed first (see `attribute`), and only the three times as many heads of
    the largest estimates, of either sign, are measured.

    With `unfinished`, the URL of a file, what is measured is kept there; the same detection resumes from it, to the
    same result. The model is tested first with all heads masked. Raises HeadsError for no questions, an impossible
    share and the unfinished file of another detection, ModelError where heads cannot be masked exactly.
    """

    def __init__(
        self,
        model: LanguageModel,
        tasks: Mapping[str, Sequence[Question]],
        *,
        share: float = 0.05,
        steps: int = 0,
        seed: int = 0,
        unfinished: str | None = None,
    ) -> None:
        order = [(task, question) for task, of_task in tasks.items() for question in of_task]
        if not order:
            raise HeadsError("there is no item to find heads with; give --items, or --tasks")
        if not 0 < share <= 1:
            raise HeadsError(f"share is {share}; need 0 < share ≤ 1")
        random.Random(seed).shuffle(order)
        self.model, self.seed, self.share, self.steps = model, seed, share, steps
        self.tasks = [task for task, _ in order]
        self.questions = [question for _, question in order]
        self.digest = digest_of(order)
        every: list[Head] = [(layer, head) for layer, count in model.heads.items() for head in range(count)]
        self.count = count_in(share, len(every))
        most = max(len(reading.tokens) for question in self.questions for reading in question.readings)
        masked = {layer: range(count) for layer, count in model.heads.items()}
        tested = self_test(model, masked, min(model.context, max(most, _TESTED_TOKENS)))
        check_trunk(model, self.questions[0].readings[0].tokens)
        self.heads = every
        """Those that are measured, in order of layer and head."""
        self._estimates: Rows | None = None
        if steps:
            with stage("attributing"):
                self._estimates = attribute(model, self.questions, steps, tested.packing)
            self.heads = sorted(every[h] for h in _shortlist(self._estimates.mean(0), _SHORTLIST * self.count))
        self._every = every
        self._masked: Masked = {}
        self._branch_tokens = _BRANCH_TOKENS.get(model.device.type, _BRANCH_TOKENS["cpu"])
        self._budget = self._branch_tokens // max(model.heads.values()) if tested.packing else 0
        self.packs = list(in_packs(self.questions, self._budget))
        self._url = unfinished
        self._rows: Rows
        self._resume()

    def after(self, masked: Sequence[Head]) -> "Ablation":
        """The same detection among the other heads, with these attending uniformly in every pass.

        What it measures is kept in a file of its own.
        """
        return self._with(masked, [head for head in self.heads if head not in masked], f"{self._url}.{len(masked)}")

    def losses(self, masked: Sequence[Head]) -> NDArray[np.float64]:
        """Of each item [I] the right answer's loss, nats/token, when these heads attend uniformly together."""
        return self._with(masked, [], None).measure()[:, 1]

    def _with(self, masked: Sequence[Head], heads: list[Head], url: str | None) -> "Ablation":
        other = copy(self)
        other._masked, other.heads = HeadSet(tuple(masked)).by_layer(), heads
        other._url = url if self._url is not None else None
        other._resume()
        return other

    def work(self, items: int | None = None) -> float:
        """Tokens of the first `items` items (default: all), times the passes through all layers that they take."""
        layers = len(self.model.layers)
        passes = sum(layers - layer for layer, _ in self.heads) / layers
        return passes * sum(map(right_tokens, self.questions[:items]))

    @property
    def done(self) -> float:
        """`work` that is measured already."""
        return self.work(len(self._rows))

    def run(self, until_stable: bool = False, advance: Callable[[float], None] = lambda more: None) -> HeadSet:
        """The heads whose masking raises the mean loss most, with the whole matrix. Warnings are logged.

        Parameters as in `measure`. After attribution the matrix holds estimates where a head was not measured.
        """
        found = self.head_set(self.measure(until_stable, advance), until_stable)
        for warning in found.warnings():
            _log.warning(warning)
        return found

    def measure(self, until_stable: bool = False, advance: Callable[[float], None] = lambda more: None) -> Rows:
        """What is measured of each item. With `until_stable` of fewer items, as soon as the chosen set has settled.

        `advance` is told more `work`.
        """
        settling, end = Settling(), 0
        for pack in self.packs:
            end += len(pack)
            if end > len(self._rows):
                self._rows = np.concatenate([self._rows, self._measure(pack, advance)])
                self._unfinished.keep(self._rows)
            if until_stable and settling.is_due(end) and settling.has_settled(end, self._chosen(self._rows[:end])):
                break
        return self._rows[:end]

    def head_set(self, rows: Rows, until_stable: bool = False) -> HeadSet:
        """What follows from measured rows."""
        rise_IH = rises(rows)
        scores, errors = self._matrix(self.heads, rise_IH.mean(0)), self._matrix(self.heads, standard_error(rise_IH))
        parameters: dict[str, Any] = {"share": self.share, "until_stable": until_stable, "items": len(self.questions)}
        if self._estimates is not None:
            unmeasured = np.isnan(scores)
            scores[unmeasured] = self._matrix(self._every, self._estimates.mean(0))[unmeasured]
            errors[unmeasured] = self._matrix(self._every, standard_error(self._estimates))[unmeasured]
            parameters |= {"steps": self.steps, "measured": [list(head) for head in self.heads]}
        return HeadSet(
            heads=tuple(self._chosen(rows)),
            model=asdict(self.model.identity),
            method="ablation" if self._estimates is None else "attribution",
            parameters=parameters,
            seed=self.seed,
            n_samples=len(rows),
            tasks=self._of_tasks(rows),
            items_digest=self.digest,
            scores=as_matrix(scores),
            standard_errors=as_matrix(errors),
            versions=versions(),
        )

    def forget(self) -> None:
        """Removes the file of what was measured, once the result is written."""
        self._unfinished.remove()

    def _measure(self, questions: Sequence[Question], advance: Callable[[float], None]) -> Rows:
        model = self.model
        readings = [reading for question in questions for reading in question.readings]
        body = model.forward([reading.tokens for reading in readings], self._masked)
        losses, firsts = (
            [values[0] for values in by_reading(readings, x_BN.cpu().numpy())]
            for x_BN in model.output.losses_and_firsts(body, *self._predictions(questions))
        )
        accuracy_I = [accuracy for _, accuracy in outcomes(questions, losses, firsts)]
        right = [question.right_answer() for question in questions]
        predicted = self._predictions(right)
        trunk = Trunk(model, [reading.tokens for question in right for reading in question.readings], self._masked)

        def losses_of(body: object) -> Rows:
            return answer_losses(right, model.output.losses(body, *predicted).cpu().numpy())

        columns = [np.array([accuracy_I]), losses_of(trunk.output)]
        tokens = sum(map(right_tokens, right))
        rows = max(1, self._branch_tokens // tokens)
        for layer, of_layer in HeadSet(tuple(self.heads)).by_layer().items():
            for heads in np.array_split(of_layer, -(-len(of_layer) // rows)):
                columns += [losses_of(body) for body in trunk.branches(layer, [[int(head)] for head in heads])]
                advance(len(heads) * tokens * (len(model.layers) - layer) / len(model.layers))
        return np.concatenate(columns).T

    def _predictions(self, questions: Sequence[Question]) -> tuple[torch.Tensor, torch.Tensor]:
        at_N, target_N = predictions([reading for question in questions for reading in question.readings])
        return torch.from_numpy(at_N).to(self.model.device), torch.from_numpy(target_N).to(self.model.device)

    def _chosen(self, rows: Rows) -> list[Head]:
        """Among those that are measured."""
        return rank_heads(as_matrix(self._matrix(self.heads, rises(rows).mean(0))))[: self.count]

    def _of_tasks(self, rows: Rows) -> dict[str, dict[str, float | None]]:
        tasks = np.array(self.tasks[: len(rows)])
        found: dict[str, dict[str, float | None]] = {}
        for task in dict.fromkeys(self.tasks):
            chances = [1 / q.n_choices for q, of in zip(self.questions, self.tasks, strict=True) if of == task]
            mine = rows[tasks == task]
            found[task] = {
                "items": len(mine),
                "accuracy": float(mine[:, 0].mean()) if len(mine) else None,
                "chance": float(np.mean(chances)) if max(chances) < 1 else None,
                "loss": float(mine[:, 1].mean()) if len(mine) else None,
            }
        return found

    def _matrix(self, heads: Sequence[Head], value_H: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.full((max(self.model.heads) + 1, max(self.model.heads.values())), np.nan)
        for (layer, head), value in zip(heads, value_H, strict=True):
            values[layer, head] = value
        return values

    def _resume(self) -> None:
        model, masked = self.model, sorted(self._masked.items())
        about = (asdict(model.identity), str(model.dtype), model.device.type, self.digest, self._budget, self.heads)
        fingerprint = hashlib.sha256(json.dumps([*about, masked, versions()], sort_keys=True).encode()).hexdigest()
        self._unfinished = Unfinished(self._url, fingerprint)
        self._rows = self._unfinished.read(2 + len(self.heads))
        ends = np.cumsum([len(pack) for pack in self.packs])
        if len(self._rows) not in (0, *ends):
            raise HeadsError(f"{self._url} breaks off within a pack of items. Remove it to start again")


def rises(rows: Rows) -> NDArray[np.float64]:
    """Rise of each item's loss [I, H] with each measured head masked."""
    return rows[:, 2:] - rows[:, 1:2]


def _shortlist(estimate_H: NDArray[np.float64], count: int) -> list[int]:
    """Of the largest estimates of either sign: of the heads with the largest effects the derivative often has the wrong
    one, because their softmax is saturated."""
    return [int(h) for h in np.argsort(-np.abs(estimate_H), kind="stable")[:count]]
