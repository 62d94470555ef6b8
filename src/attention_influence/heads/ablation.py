"""Which heads a task needs: the rise of the right answer's loss when one head alone attends uniformly.

All heads of a layer are rows of one batch, branched off one unmasked pass (`model/trunk.py`). Of choices, the branches
hold the right one only.

Letters: I items, H heads of all layers, B rows, N targets.
"""

import hashlib
import json
import logging
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version

import numpy as np
import torch
from numpy.typing import NDArray

from attention_influence.errors import HeadsError, ModelError
from attention_influence.heads.head_set import Head, HeadSet, Matrix, as_matrix, top_heads
from attention_influence.heads.settling import Settling
from attention_influence.heads.unfinished import Rows, Unfinished
from attention_influence.model.language_model import LanguageModel
from attention_influence.model.memory import is_out_of_memory
from attention_influence.model.self_test import self_test
from attention_influence.model.trunk import Trunk, check_trunk
from attention_influence.tasks.items import Question
from attention_influence.tasks.outcomes import answer_losses, by_reading, outcomes, predictions

_log = logging.getLogger(__name__)

# Tokens of all rows of a branch.
_BRANCH_TOKENS = {"cpu": 8192, "cuda": 65536}
_CHECKED_TOKENS, _TESTED_TOKENS = 16, 128


class Ablation:
    """A detection by ablation: measured pack by pack, kept as it goes on, finished by `run`.

    `tasks` are questions by task; their order in the measurement is drawn by `seed`. With `unfinished`, the URL of a
    file, what is measured is kept there; the same detection resumes from it, to the same result, and removes it at the
    end. The model is tested first with all heads masked. Raises HeadsError for no questions and for the unfinished file
    of another detection, ModelError where heads cannot be masked exactly.
    """

    def __init__(
        self,
        model: LanguageModel,
        tasks: Mapping[str, Sequence[Question]],
        seed: int = 0,
        unfinished: str | None = None,
    ) -> None:
        order = [(task, question) for task, of_task in tasks.items() for question in of_task]
        if not order:
            raise HeadsError("there is no item to find heads with; give --items, or --tasks")
        random.Random(seed).shuffle(order)
        self.model, self.seed = model, seed
        self.tasks = [task for task, _ in order]
        self.questions = [question for _, question in order]
        self.heads: list[Head] = [(layer, head) for layer, count in model.heads.items() for head in range(count)]
        self.digest = _digest(order)
        most = max(len(reading.tokens) for question in self.questions for reading in question.readings)
        every = {layer: range(count) for layer, count in model.heads.items()}
        tested = self_test(model, every, min(model.context, max(most, _TESTED_TOKENS)))
        check_trunk(model, self.questions[0].readings[0].tokens[:_CHECKED_TOKENS])
        self._branch_tokens = _BRANCH_TOKENS.get(model.device.type, _BRANCH_TOKENS["cpu"])
        budget = self._branch_tokens // max(model.heads.values()) if tested.packing else 0
        self.packs = list(_in_packs(self.questions, budget))
        self._unfinished = Unfinished(unfinished, self._fingerprint(budget))
        self._rows = self._unfinished.read(2 + len(self.heads))
        ends = np.cumsum([len(pack) for pack in self.packs])
        if len(self._rows) not in (0, *ends):
            raise HeadsError(f"{unfinished} breaks off within a pack of items. Remove it to start again")

    def work(self, items: int | None = None) -> float:
        """Tokens of the first `items` items (default: all), times the passes through all layers that they take."""
        layers = len(self.model.layers)
        passes = sum(count * (layers - layer) for layer, count in self.model.heads.items()) / layers
        return passes * sum(map(_right_tokens, self.questions[:items]))

    @property
    def done(self) -> float:
        """`work` that is measured already."""
        return self.work(len(self._rows))

    def run(
        self, share: float = 0.05, until_stable: bool = False, advance: Callable[[float], None] = lambda more: None
    ) -> HeadSet:
        """The ceil(share × heads) heads whose masking raises the mean loss most, with the whole matrix.

        With `until_stable` fewer items are measured, as soon as the chosen set has settled. `advance` is told more
        `work`. Warnings are logged, and `HeadSet.warnings()` tells them.
        """
        if not 0 < share <= 1:
            raise HeadsError(f"share is {share}; need 0 < share ≤ 1")
        settling, end = Settling(), 0
        for pack in self.packs:
            end += len(pack)
            if end > len(self._rows):
                self._rows = np.concatenate([self._rows, self._measure(pack, advance)])
                self._unfinished.keep(self._rows)
            if until_stable and settling.is_due(end):
                mean = (self._rows[:end, 2:] - self._rows[:end, 1:2]).mean(0)
                if settling.has_settled(end, top_heads(self._matrix(mean), share)):
                    break
        found = self._found(self._rows[:end], share, until_stable)
        self._unfinished.remove()
        for warning in found.warnings():
            _log.warning(warning)
        return found

    def _measure(self, questions: Sequence[Question], advance: Callable[[float], None]) -> Rows:
        model, device = self.model, self.model.device
        readings = [reading for question in questions for reading in question.readings]
        body = model.forward([reading.tokens for reading in readings])
        at_N, target_N = (torch.from_numpy(x_N).to(device) for x_N in predictions(readings))
        losses, firsts = (
            [values[0] for values in by_reading(readings, x_BN.cpu().numpy())]
            for x_BN in model.output.losses_and_firsts(body, at_N, target_N)
        )
        accuracy_I = [accuracy for _, accuracy in outcomes(questions, losses, firsts)]
        right = [question.right_answer() for question in questions]
        readings = [reading for question in right for reading in question.readings]
        at_N, target_N = (torch.from_numpy(x_N).to(device) for x_N in predictions(readings))
        trunk = Trunk(model, [reading.tokens for reading in readings])

        def losses_of(body: object) -> Rows:
            return answer_losses(right, model.output.losses(body, at_N, target_N).cpu().numpy())

        columns = [np.array([accuracy_I]), losses_of(trunk.output)]
        tokens = sum(len(reading.tokens) for reading in readings)
        rows = max(1, self._branch_tokens // tokens)
        for layer, count in model.heads.items():
            for heads in np.array_split(range(count), -(-count // rows)):
                columns += [losses_of(body) for body in _branches(trunk, layer, [[int(head)] for head in heads])]
                advance(len(heads) * tokens * (len(model.layers) - layer) / len(model.layers))
        return np.concatenate(columns).T

    def _found(self, rows: Rows, share: float, until_stable: bool) -> HeadSet:
        rise_IH = rows[:, 2:] - rows[:, 1:2]
        mean_H = rise_IH.mean(0)
        error_H = rise_IH.std(0, ddof=1) / len(rows) ** 0.5 if len(rows) > 1 else np.full_like(mean_H, np.nan)
        scores = self._matrix(mean_H)
        return HeadSet(
            heads=tuple(top_heads(scores, share)),
            model=asdict(self.model.identity),
            method="ablation",
            parameters={"share": share, "until_stable": until_stable, "items": len(self.questions)},
            seed=self.seed,
            n_samples=len(rows),
            tasks=self._of_tasks(rows),
            items_digest=self.digest,
            scores=scores,
            standard_errors=self._matrix(error_H),
            versions=_versions(),
        )

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

    def _matrix(self, value_H: NDArray[np.float64]) -> Matrix:
        values = np.full((max(self.model.heads) + 1, max(self.model.heads.values())), np.nan)
        for (layer, head), value in zip(self.heads, value_H, strict=True):
            values[layer, head] = value
        return as_matrix(values)

    def _fingerprint(self, budget: int) -> str:
        model = self.model
        about = (asdict(model.identity), str(model.dtype), model.device.type, self.digest, budget, _versions())
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def ablate_heads(
    model: LanguageModel,
    tasks: Mapping[str, Sequence[Question]],
    *,
    share: float = 0.05,
    seed: int = 0,
    until_stable: bool = False,
    unfinished: str | None = None,
) -> HeadSet:
    """The heads that `tasks` need most. Parameters and errors: see `Ablation`, and its `run`."""
    return Ablation(model, tasks, seed, unfinished).run(share, until_stable)


def _branches(trunk: Trunk, layer: int, heads: list[list[int]]) -> Iterator[object]:
    """The branch with a row for each of `heads`, or as many smaller ones as the memory asks for."""
    try:
        body = trunk.branch(layer, heads)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(heads) == 1:
            raise ModelError(
                f"the memory does not suffice for a pass of {trunk.output.last_hidden_state.shape[1]:,} tokens; lower "
                "--context"
            ) from error
    else:
        yield body
        return
    half = len(heads) // 2
    yield from _branches(trunk, layer, heads[:half])
    yield from _branches(trunk, layer, heads[half:])


def _in_packs(questions: Sequence[Question], budget: int) -> Iterator[list[Question]]:
    """Questions in their order, in packs of at most `budget` tokens; a longer one is a pack alone."""
    pack: list[Question] = []
    for question in questions:
        if pack and sum(map(_right_tokens, [*pack, question])) > budget:
            yield pack
            pack = []
        pack.append(question)
    yield pack


def _right_tokens(question: Question) -> int:
    return sum(len(reading.tokens) for reading in question.right_answer().readings)


def _digest(order: Sequence[tuple[str, Question]]) -> str:
    digest = hashlib.sha256()
    for task, question in order:
        digest.update(json.dumps([task, asdict(question)]).encode())
    return digest.hexdigest()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("attention-influence", "torch", "transformers")}
