"""Items of a task: a prompt with its answer, or with choices; the user's own ones; as the model reads them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_influence.corpus.json_lines import parse_object
from attention_influence.errors import CorpusError
from attention_influence.model.tokens import Tokens
from attention_influence.storage.filesystems import read_file


@dataclass(frozen=True)
class Item:
    """A prompt and the answer that follows it, with whatever stands between them in front of the answer."""

    task: str
    prompt: str
    answer: str


@dataclass(frozen=True)
class Choices:
    """A prompt and the choices that may follow it; the model picks the one of lowest loss."""

    task: str
    prompt: str
    choices: tuple[str, ...]
    right: int
    by_length: bool = False
    """Whether a choice's loss is that of a mean token (length-normalised), not of all its tokens together."""


@dataclass(frozen=True)
class Reading:
    """One window, and the tokens that are to be predicted from its positions."""

    tokens: tuple[int, ...]
    """With the tokenizer's BOS, if it adds one; without a last token from which nothing is to be predicted."""
    at: tuple[int, ...]
    """Positions that predict; a position may stand several times."""
    targets: tuple[int, ...]
    """What follows each of them."""
    choice: tuple[int, ...]
    """The choice that each target belongs to."""


@dataclass(frozen=True)
class Question:
    """An item as the model reads it."""

    readings: tuple[Reading, ...]
    right: int = 0
    by_length: bool = False
    n_choices: int = 1
    """1 where the answer is given and not chosen."""

    def right_answer(self) -> "Question":
        """The right answer alone, as if there were no other choices."""
        readings = []
        for reading in self.readings:
            of_right = [i for i, choice in enumerate(reading.choice) if choice == self.right]
            if of_right:
                at, targets = (tuple(side[i] for i in of_right) for side in (reading.at, reading.targets))
                readings.append(Reading(reading.tokens, at, targets, (0,) * len(of_right)))
        return Question(tuple(readings))


def tokenize(item: Item | Choices, tokens: Tokens, context: int) -> Question | None:
    """The item's question, or None where it does not fit into `context` tokens, BOS included, or an answer is empty.

    Prompt and answer are tokenized as one string; a token belongs to the answer when any of its characters does.
    Choices that differ in their last token only (letters) share one window.
    """
    chosen = (item.answer,) if isinstance(item, Item) else item.choices
    bos = () if tokens.bos is None else (tokens.bos,)
    windows: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for number, answer in enumerate(chosen):
        ids, offsets = tokens.encode_with_offsets(item.prompt + answer)
        row = (*bos, *ids)
        in_answer = [
            i + len(bos) for i, (low, high) in enumerate(offsets) if high > max(low, len(item.prompt)) and i + len(bos)
        ]
        if not in_answer or len(row) > context:
            return None
        windows.setdefault(row[:-1], []).extend((i - 1, row[i], number) for i in in_answer)
    readings = [Reading(window, *zip(*targets, strict=True)) for window, targets in windows.items()]
    if isinstance(item, Item):
        return Question(tuple(readings))
    return Question(tuple(readings), item.right, item.by_length, len(item.choices))


def read_items(paths: Sequence[str]) -> list[Item | Choices]:
    """The user's own items from JSON lines: {"prompt", "answer"}, or {"prompt", "choices", "answer"} with the right
    choice or its index; and "task", by default the file's name. Raises CorpusError that names file and line."""
    items: list[Item | Choices] = []
    for path in paths:
        try:
            lines = read_file(path).split(b"\n")
        except OSError as error:
            raise CorpusError(
                f"{path}: {error.strerror or type(error).__name__}; give --items a file of JSON lines"
            ) from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                items.append(_item(line, f"{path}, line {number}", Path(path).stem))
    return items


def _item(line: bytes, where: str, default_task: str) -> Item | Choices:
    record: Any = parse_object(line)[0]
    if record is None:
        raise CorpusError(f"{where} is not a JSON object; write one item a line")
    task, prompt, answer = record.get("task", default_task), record.get("prompt"), record.get("answer")
    for key, text in (("task", task), ("prompt", prompt)):
        if not isinstance(text, str):
            raise CorpusError(f'{where}: "{key}" must be a text')
    if "choices" not in record:
        if not isinstance(answer, str) or not answer:
            raise CorpusError(f'{where}: "answer" must be a text; with "choices" it is the right one, or its index')
        return Item(task, prompt, answer)
    choices = record["choices"]
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        raise CorpusError(f'{where}: "choices" must be a list of at least two texts')
    if len(set(choices)) < len(choices):
        raise CorpusError(f'{where}: two of the "choices" are the same')
    right = choices.index(answer) if answer in choices else answer
    if type(right) is not int or not 0 <= right < len(choices):
        raise CorpusError(
            f'{where}: "answer" is {json.dumps(answer)}; it is one of the "choices", or the index of one, from 0'
        )
    return Choices(task, prompt, tuple(choices), right)
