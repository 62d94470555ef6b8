"""The section on a judge: whether what rankings pick is more educational, and reasons more, than a random choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from attention_influence.judging.prompt import QUESTIONS
from attention_influence.store.reader import ScoreStore

MOST_DOMAINS = 12


@dataclass(frozen=True)
class QuestionShares:
    """One question: rows as `judge` writes them, all domains together first."""

    question: str
    rows: Sequence[Mapping[str, Any]]
    has_probabilities: bool


@dataclass(frozen=True)
class LengthRow:
    """One question by length."""

    question: str
    ranking: str
    shares: Sequence[Mapping[str, Any]]
    """Of short, middle and long documents."""


@dataclass(frozen=True)
class Judge:
    """Without a record, nothing is known."""

    record: Mapping[str, Any] | None
    """As `judge` writes it."""
    of_other_scores: bool
    """Whether its store has another fingerprint than this one."""
    questions: tuple[QuestionShares, ...]
    by_length: tuple[LengthRow, ...]
    left_out: int
    """Domains that are not shown."""


def judge_section(record: Mapping[str, Any] | None, store: ScoreStore) -> Judge:
    """The section, beside the scores of a store."""
    if record is None:
        return Judge(None, False, (), (), 0)
    domains = list(dict.fromkeys(one["domain"] for one in record["shares"]))
    shown = set(domains[: 1 + MOST_DOMAINS])
    rows = [one for one in record["shares"] if one["domain"] in shown]
    return Judge(
        record,
        record.get("fingerprint") != store.run.get("fingerprint"),
        tuple(_question(name, rows) for name in QUESTIONS),
        tuple(
            LengthRow(question, ranking, [one["share"] for one in _of(question, record["by_length"], ranking)])
            for question in QUESTIONS
            for ranking in record["rankings"]
        ),
        len(domains) - len(shown),
    )


def _question(question: str, rows: Sequence[Mapping[str, Any]]) -> QuestionShares:
    own = _of(question, rows)
    return QuestionShares(question, own, any(one["share"]["probability"] is not None for one in own))


def _of(question: str, rows: Sequence[Mapping[str, Any]], ranking: str | None = None) -> list[Mapping[str, Any]]:
    return [one for one in rows if one["share"]["question"] == question and ranking in (None, one["ranking"])]
