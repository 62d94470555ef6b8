"""Questions that share a forward pass, and what identifies them."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from attention_influence.tasks.items import Question


def in_packs(questions: Sequence[Question], budget: int) -> Iterator[list[Question]]:
    """Questions in their order, in packs of at most `budget` tokens of right answers; a longer one is a pack alone."""
    pack: list[Question] = []
    room = budget
    for question in questions:
        tokens = right_tokens(question)
        if pack and tokens > room:
            yield pack
            pack, room = [], budget
        pack.append(question)
        room -= tokens
    if pack:
        yield pack


def right_tokens(question: Question) -> int:
    """Tokens of the right answer with its prompt."""
    return sum(len(reading.tokens) for reading in question.right_answer().readings)


def digest_of(named: Sequence[tuple[str, Question]]) -> str:
    """sha256 of (task, question) pairs in their order."""
    digest = hashlib.sha256()
    for task, question in named:
        digest.update(json.dumps([task, asdict(question)]).encode())
    return digest.hexdigest()
