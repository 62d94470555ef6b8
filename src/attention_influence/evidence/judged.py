"""What a judge's verdicts say of rankings: shares, and what else than the documents may have decided them."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from scipy.stats import ttest_ind
from sklearn.metrics import cohen_kappa_score

from attention_influence.evidence.statistics import Interval, share_difference_interval, share_interval
from attention_influence.judging.prompt import QUESTIONS, Question
from attention_influence.judging.verdicts import Verdict

RANDOM = "random"
"""The ranking that others are compared with."""
LENGTHS = ("short", "middle", "long")
_FEWEST = 2  # probabilities on each side, for an interval


@dataclass(frozen=True)
class Judged:
    """A document with what the judge said of it. Shares are those of the first verdict."""

    domain: str
    rankings: tuple[str, ...]
    """The choices that it was drawn from."""
    characters: int
    verdicts: tuple[Verdict, ...]
    """One for each repeat."""

    def answer(self, question: Question, repeat: int = 0) -> bool | None:
        answers = self.verdicts[repeat].answers
        return None if answers is None else answers[question]

    def probability(self, question: Question) -> float | None:
        """The mean over repeats, so that both orders of the questions have the same part in two of them."""
        values = [one.probabilities[question] for one in self.verdicts if one.probabilities is not None]
        return sum(values) / len(values) if values else None


@dataclass(frozen=True)
class Share:
    """Of some documents, those that the judge answers a question about with true."""

    question: Question
    documents: int
    """With an answer."""
    unanswered: int
    share: float | None
    interval: Interval
    """95%."""
    probability: float | None
    """Mean P(true), of a judge that gives it."""


@dataclass(frozen=True)
class Difference:
    """One share minus another."""

    share: float | None
    interval: Interval
    """95%."""
    probability: float | None
    probability_interval: Interval
    """95%, by Welch's t."""


@dataclass(frozen=True)
class RankingShare:
    """A ranking's share in one domain, or in all of them, and how much more it is than the random choice's."""

    domain: str | None
    """None: the documents of all domains together."""
    ranking: str
    share: Share
    more_than_random: Difference | None


@dataclass(frozen=True)
class LengthShare:
    """A ranking's share among documents of one third of their domain by length, all judged documents of it counted."""

    ranking: str
    length: str
    share: Share
    more_than_random: Difference | None


@dataclass(frozen=True)
class OrderEffect:
    """A question asked first and asked second, each of about half of all documents, by chance."""

    question: Question
    first: Share
    second: Share
    difference: Difference
    """First minus second."""


@dataclass(frozen=True)
class Repeated:
    """Agreement between repeats, whose orders of the questions alternate."""

    question: Question
    documents: int
    """Pairs of answers."""
    same: float | None
    kappa: float | None
    """Cohen's, the mean over pairs of repeats; None where a repeat always answers alike."""


def ranking_shares(documents: Sequence[Judged], rankings: Sequence[str]) -> list[RankingShare]:
    """All domains together, then each domain, every ranking in its order, each question."""
    domains: list[str | None] = [None, *sorted({one.domain for one in documents})]
    found = []
    for domain in domains:
        of_domain = [one for one in documents if domain in (None, one.domain)]
        for name in rankings:
            found += [RankingShare(domain, name, *both) for both in _beside_random(of_domain, name, rankings)]
    return found


def length_shares(documents: Sequence[Judged], rankings: Sequence[str]) -> list[LengthShare]:
    """Every ranking, each third by length, each question."""
    thirds = _thirds(documents)
    found = []
    for name in rankings:
        for number, length in enumerate(LENGTHS):
            some = [one for one, third in zip(documents, thirds, strict=True) if third == number]
            found += [LengthShare(name, length, *both) for both in _beside_random(some, name, rankings)]
    return found


def order_effects(documents: Sequence[Judged]) -> list[OrderEffect]:
    """Of each question, by the first verdicts."""
    documents = [replace(one, verdicts=one.verdicts[:1]) for one in documents]
    found = []
    for question in QUESTIONS:
        asked_first = [one for one in documents if one.verdicts[0].first == question]
        asked_second = [one for one in documents if one.verdicts[0].first != question]
        found.append(
            OrderEffect(
                question,
                _share(question, asked_first),
                _share(question, asked_second),
                _difference(question, asked_first, asked_second),
            )
        )
    return found


def agreement(documents: Sequence[Judged]) -> list[Repeated]:
    """Of each question; none where nothing was asked twice."""
    repeats = max((len(one.verdicts) for one in documents), default=1)
    return [_agreement(question, documents, repeats) for question in QUESTIONS] if repeats > 1 else []


def one_sided(documents: Sequence[Judged], most: float = 0.95) -> list[Question]:
    """Questions that the judge answers alike for more than that share of the documents."""
    shares = {question: _share(question, documents).share for question in QUESTIONS}
    return [question for question, share in shares.items() if share is not None and not 1 - most <= share <= most]


def _beside_random(
    documents: Sequence[Judged], name: str, rankings: Sequence[str]
) -> Iterator[tuple[Share, Difference | None]]:
    own = [one for one in documents if name in one.rankings]
    random = [one for one in documents if RANDOM in one.rankings]
    is_compared = RANDOM in rankings and name != RANDOM
    for question in QUESTIONS:
        yield _share(question, own), _difference(question, own, random) if is_compared else None


def _answers(question: Question, documents: Sequence[Judged]) -> list[bool]:
    return [answer for one in documents if (answer := one.answer(question)) is not None]


def _probabilities(question: Question, documents: Sequence[Judged]) -> list[float]:
    return [value for one in documents if (value := one.probability(question)) is not None]


def _share(question: Question, documents: Sequence[Judged]) -> Share:
    answers, probabilities = _answers(question, documents), _probabilities(question, documents)
    return Share(
        question,
        len(answers),
        len(documents) - len(answers),
        sum(answers) / len(answers) if answers else None,
        share_interval(sum(answers), len(answers)),
        float(np.mean(probabilities)) if probabilities else None,
    )


def _difference(question: Question, a: Sequence[Judged], b: Sequence[Judged]) -> Difference:
    answers = [_answers(question, side) for side in (a, b)]
    shares = [sum(side) / len(side) for side in answers if side]
    values = [_probabilities(question, side) for side in (a, b)]
    interval = None
    if all(len(side) >= _FEWEST for side in values) and any(np.ptp(side) > 0 for side in values):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a side whose values are all equal is meant
            found = ttest_ind(*values, equal_var=False).confidence_interval()
        interval = float(found.low), float(found.high)
    return Difference(
        shares[0] - shares[1] if len(shares) == 2 else None,
        share_difference_interval(sum(answers[0]), len(answers[0]), sum(answers[1]), len(answers[1])),
        float(np.mean(values[0]) - np.mean(values[1])) if all(values) else None,
        interval,
    )


def _thirds(documents: Sequence[Judged]) -> list[int]:
    """0, 1 or 2 for each document: the third of its domain, by characters."""
    by_domain: dict[str, list[int]] = {}
    for place in sorted(range(len(documents)), key=lambda place: documents[place].characters):
        by_domain.setdefault(documents[place].domain, []).append(place)
    thirds = [0] * len(documents)
    for places in by_domain.values():
        for rank, place in enumerate(places):
            thirds[place] = rank * len(LENGTHS) // len(places)
    return thirds


def _agreement(question: Question, documents: Sequence[Judged], repeats: int) -> Repeated:
    same = total = 0
    kappas = []
    for a, b in combinations(range(repeats), 2):
        pairs = [(one.answer(question, a), one.answer(question, b)) for one in documents if len(one.verdicts) > b]
        known = [pair for pair in pairs if None not in pair]
        if not known:
            continue
        first, second = zip(*known, strict=True)
        total += len(known)
        same += sum(x == y for x, y in known)
        if len({*first}) == 2 and len({*second}) == 2:
            kappas.append(float(cohen_kappa_score(first, second)))
    return Repeated(question, total, same / total if total else None, float(np.mean(kappas)) if kappas else None)
