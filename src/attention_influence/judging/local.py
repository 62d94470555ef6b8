"""A judge that needs no endpoint: a local causal model's P(true) for each question, under the same prompt.

The questions are answered in their order, as a decoder that may only write the form would do: the second is asked
after the more probable answer to the first.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from attention_influence.errors import ModelError
from attention_influence.judging.prompt import QUESTIONS, Prompt, Question
from attention_influence.judging.verdicts import Verdict
from attention_influence.model.language_model import LanguageModel
from attention_influence.tasks.items import Choices, tokenize
from attention_influence.tasks.outcomes import predictions

_ANSWERS = (" true", " false")
_FORM = "\n\n\n\n{" + ", ".join(f'"{question}": false' for question in QUESTIONS)
# Texts that are joined may have a few tokens more than they have apart.
_SPARE_TOKENS = 16


class LocalJudge:
    """Asks a loaded model, one request at a time."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    @property
    def identity(self) -> Mapping[str, Any]:
        about = self._model.identity
        return {
            "kind": "local",
            "model": about.name,
            "weights": about.weights,
            "tokenizer": about.tokenizer,
            "dtype": str(self._model.dtype).removeprefix("torch."),
        }

    async def ask(self, prompt: Prompt) -> Verdict:
        """Raises ModelError where the model's context is too short for the questions alone."""
        document = self._fitting(prompt)
        text = f"{prompt.system}\n\n{prompt.before}{document}{prompt.after}\n\n{{"
        probabilities: dict[Question, float] = {}
        for question in prompt.order:
            text += f'"{question}":'
            probabilities[question] = self._probability(text)
            text += f"{_ANSWERS[probabilities[question] <= 0.5]}, "
        return Verdict(
            "answered",
            prompt.first,
            {question: value > 0.5 for question, value in probabilities.items()},
            probabilities,
            shortened=len(document) < len(prompt.document),
        )

    async def close(self) -> None:
        pass

    def _fitting(self, prompt: Prompt) -> str:
        """The document, or as much of its beginning as fits into the model's context with the questions."""
        tokens = self._model.tokens
        around = sum(map(len, tokens.encode([prompt.system, prompt.before, prompt.after, _FORM])))
        room = self._model.context - around - _SPARE_TOKENS
        if room < 1:
            raise ModelError(
                f"{self._model.identity.name} has a context of {self._model.context:,} tokens, and the questions alone "
                f"take {around + _SPARE_TOKENS:,}. Judge with another model"
            )
        _, offsets = tokens.encode_with_offsets(prompt.document)
        return prompt.document if len(offsets) <= room else prompt.document[: offsets[room - 1][1]]

    def _probability(self, text: str) -> float:
        """P(true) of true or false, by the loss of either after the text."""
        question = tokenize(Choices("judge", text, _ANSWERS, right=0), self._model.tokens, self._model.context)
        assert question is not None
        body = self._model.forward([reading.tokens for reading in question.readings])
        at_N, target_N = (torch.from_numpy(x_N).to(self._model.device) for x_N in predictions(question.readings))
        losses_BN, _ = self._model.output.losses_and_firsts(body, at_N, target_N)
        choice_N = [number for reading in question.readings for number in reading.choice]
        true, false = np.bincount(choice_N, losses_BN[0].double().cpu().numpy(), len(_ANSWERS))
        return float(1 / (1 + np.exp(np.clip(true - false, -500, 500))))
