"""Items of a task: a prompt with its answer, or with choices; the user's own ones; as the model reads them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attention_influence.corpus import parse_object
from attention_influence.errors import CorpusError
from attention_influence.heads.probes import Probe
from attention_influence.model.tokens import Tokens
from attention_influence.scoring.scorer import MAX_DOCUMENT_TOKENS
from attention_influence.scoring.windows import cut


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


def of_probe(probe: Probe) -> Question:
    """The question of a retrieval probe."""
    at = tuple(i - 1 for i in probe.answer)
    return Question((Reading(probe.tokens[:-1], at, tuple(probe.tokens[i] for i in probe.answer), (0,) * len(at)),))


def of_document(text: str, tokens: Tokens, context: int) -> Question | None:
    """All of a document to be predicted, in the windows in which it would be scored.

    None for less than two tokens, and for a document that is certain to be too long to be scored.
    """
    if tokens.surely_more_than(MAX_DOCUMENT_TOKENS, text):
        return None
    bos = () if tokens.bos is None else (tokens.bos,)
    ids = tokens.encode([text])[0]
    windows = [(*bos, *ids[part.start : part.stop]) for part in cut(len(ids), context, bool(bos))]
    readings = [Reading(w[:-1], tuple(range(len(w) - 1)), w[1:], (0,) * (len(w) - 1)) for w in windows if len(w) > 1]
    return Question(tuple(readings)) if readings else None


def read_items(paths: Sequence[str]) -> list[Item | Choices]:
    """The user's own items from JSON lines: {"task", "prompt", "answer"}, or {"task", "prompt", "choices", "answer"}
    with the index of the right choice. Raises CorpusError that names file and line."""
    items: list[Item | Choices] = []
    for path in paths:
        try:
            lines = Path(path).read_bytes().split(b"\n")
        except OSError as error:
            raise CorpusError(f"{path}: {error.strerror}; give --items a file of JSON lines") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                items.append(_item(line, f"{path}, line {number}"))
    return items


def _item(line: bytes, where: str) -> Item | Choices:
    record: Any = parse_object(line)[0]
    if record is None:
        raise CorpusError(f"{where} is not a JSON object; write one item a line")
    for key in ("task", "prompt"):
        if not isinstance(record.get(key), str):
            raise CorpusError(f'{where}: "{key}" must be a text')
    task, prompt, answer = record["task"], record["prompt"], record.get("answer")
    if "choices" not in record:
        if not isinstance(answer, str) or not answer:
            raise CorpusError(f'{where}: "answer" must be a text; with "choices" it is the index of the right one')
        return Item(task, prompt, answer)
    choices = record["choices"]
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(c, str) and c for c in choices):
        raise CorpusError(f'{where}: "choices" must be a list of at least two texts')
    if type(answer) is not int or not 0 <= answer < len(choices):
        raise CorpusError(f'{where}: "answer" is {json.dumps(answer)}; it is the index of a choice, from 0')
    return Choices(task, prompt, tuple(choices), answer)
